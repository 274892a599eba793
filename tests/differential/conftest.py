"""One chain, of the id that the vectors use, with the harness contracts."""

import json

import pytest

from comity.core.types import ChainId
from tests.contracts.chain import Chain
from tests.differential.harness import Harness
from tests.differential.samples import VECTORS

CHAIN = ChainId(31338)
"""Where the attestation vectors are checked."""


@pytest.fixture(scope="session")
async def chain():
    async with Chain.start(CHAIN) as running:
        yield running


@pytest.fixture(scope="session")
def deploy_harness(chain):
    async def deploy(name: str) -> Harness:
        return Harness(chain, await chain.create(f"harness_{name}"))

    return deploy


@pytest.fixture(scope="session")
def vectors():
    return {path.stem: json.loads(path.read_text()) for path in VECTORS.glob("*.json")}
