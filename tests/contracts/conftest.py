"""The world of the contract tests: deployed once in each test process, and as new for each test."""

import pytest

from tests.contracts.world import Sent, build_world


@pytest.fixture(scope="session")
async def _deployed():
    async with build_world() as world:
        yield world


@pytest.fixture
async def world(_deployed):
    async with _deployed.origin.rolled_back(), _deployed.destination.rolled_back():
        yield _deployed


@pytest.fixture
def sent(world):
    """The lane's dispatches; the Gate has seen none."""
    return Sent(world.lane)
