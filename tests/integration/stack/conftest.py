"""A world for each test, its agents, and the contracts compiled once."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from comity.compiler import load_artifacts
from comity.devnet.deploy import ENDPOINT_CONTRACTS
from tests.integration.stack.crew import Crew, SteppedRelayer, open_crew, open_relayer, with_attestors
from tests.integration.stack.world import World, build_world


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    load_artifacts([*ENDPOINT_CONTRACTS, "Attestation", "Guestbook", "Notebook"])


@pytest.fixture
async def world(request: pytest.FixtureRequest, _compiled: None) -> AsyncIterator[World]:
    """Finality is `finalized`, unless the test is parametrized indirectly with another rule."""
    async with build_world(getattr(request, "param", "finalized")) as built:
        yield built


@pytest.fixture
async def crew(world: World, tmp_path: Path) -> AsyncIterator[Crew]:
    """The attestors of the main set; the world's configuration knows where they are from now on."""
    async with open_crew(world.config, tmp_path) as opened:
        world.config = with_attestors(world.config, opened.urls)
        await world.client.adopt(world.config)
        yield opened


OpenRelayer = Callable[[], AbstractAsyncContextManager[SteppedRelayer]]


@pytest.fixture
async def relayer(world: World, crew: Crew, tmp_path: Path) -> AsyncIterator[SteppedRelayer]:
    """One process of a relayer over the world's own providers."""
    async with open_relayer(world.config, tmp_path / "relayer.sqlite") as opened:
        yield opened
