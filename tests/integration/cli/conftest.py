"""One devnet for all commands, and one whose agents the tests run themselves."""

from collections.abc import Iterator

import pytest

from comity.compiler import load_artifacts
from comity.devnet.deploy import ENDPOINT_CONTRACTS
from tests.integration.cli.shell import Shell, open_devnet


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    load_artifacts([*ENDPOINT_CONTRACTS, "Attestation", "Guestbook"])


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory, _compiled: None) -> Iterator[Shell]:
    with open_devnet(tmp_path_factory.mktemp("devnet"), "--instant") as opened:
        yield opened


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory, _compiled: None) -> Iterator[Shell]:
    """Without attestors and relayer."""
    with open_devnet(tmp_path_factory.mktemp("bare"), "--no-agents") as opened:
        yield opened
