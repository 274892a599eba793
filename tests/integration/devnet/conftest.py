"""Chains for deployments; contracts are compiled once for the whole session."""

import pytest

from comity.compiler import load_artifacts
from comity.devnet.deploy import ENDPOINT_CONTRACTS


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    load_artifacts([*ENDPOINT_CONTRACTS, "Attestation", "Guestbook", "Notebook"])
