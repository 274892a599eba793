"""Random histories: dispatches, blocks, shallow reorgs of both chains and restarts of agents, in any order.

In the end every envelope of the canonical origin is decided once in the canonical destination, and nothing else is, and
no word was signed that is not in the chain.
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from comity.chain.bindings import DISPATCHED
from comity.core.lane import unpack_word
from comity.core.types import Direction, EnvelopeId, Outcome
from tests.integration.stack.crew import (
    Crew,
    SteppedRelayer,
    assert_signed_is_canonical,
    open_crew,
    open_relayer,
    with_attestors,
)
from tests.integration.stack.world import FINALIZED_DEPTH, World

STEPS: Final = 40
SEEDS: Final = 3
SOAK_SEEDS: Final = 20
SOAK_STEPS: Final = 120


class History:
    """One random course of events, the same for the same seed."""

    def __init__(self, world: World, seed: int, folder: Path, stack: AsyncExitStack) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.said: list[str] = []
        self.dispatched: set[EnvelopeId] = set()
        self.crew: Crew
        self.relayer: SteppedRelayer
        self._folder = folder
        self._agents = stack
        self._events: dict[Callable[[], Awaitable[None]], int] = {
            self.dispatch: 6,
            self.mine_origin: 4,
            self.mine_destination: 2,
            self.reorg_origin: 3,
            self.reorg_destination: 3,
            self.attest: 5,
            self.follow: 3,
            self.work: 4,
            self.restart: 1,
        }

    async def play(self, steps: int) -> None:
        await self.restart()
        for event in self.random.choices(list(self._events), list(self._events.values()), k=steps):
            self.said.append(event.__name__)
            await event()

    async def dispatch(self) -> None:
        for _ in range(self.random.randint(1, 3)):
            self.dispatched.add((await self.world.dispatch(self.random.randbytes(8))).id)

    async def mine_origin(self) -> None:
        await self.world.origin.mine(self.random.randint(1, 4))

    async def mine_destination(self) -> None:
        await self.world.destination.mine(self.random.randint(1, 4))

    async def reorg_origin(self) -> None:
        await self.world.origin.reorg(self.random.randint(1, FINALIZED_DEPTH))

    async def reorg_destination(self) -> None:
        await self.world.destination.reorg(self.random.randint(1, FINALIZED_DEPTH))

    async def attest(self) -> None:
        await self.crew.attest()

    async def follow(self) -> None:
        await self.relayer.follow()

    async def work(self) -> None:
        await self.relayer.work()

    async def restart(self) -> None:
        """The next process of every agent."""
        await self._agents.aclose()
        self.crew = await self._agents.enter_async_context(open_crew(self.world.config, self._folder))
        config = with_attestors(self.world.config, self.crew.urls)
        path = self._folder / "relayer.sqlite"
        self.relayer = await self._agents.enter_async_context(open_relayer(config, path))

    async def settle(self) -> None:
        """Let everything become final and be delivered."""
        for _ in range(2):
            await self.world.origin.mine(FINALIZED_DEPTH)
            await self.crew.attest()
            await self.relayer.work()
            await self.world.destination.mine(FINALIZED_DEPTH)

    async def verify(self) -> None:
        world, relayer = self.world, self.relayer
        assert relayer.fallen == {}
        assert [halt for store in (relayer.store, *self.crew.stores) for halt in store.load_halts()] == []
        await assert_signed_is_canonical(world, self.crew)
        logs = await world.origin.rpc.fetch_logs(world.router, (DISPATCHED,), 0, "latest")
        canonical = {EnvelopeId(log.topics[1]) for log in logs}
        assert canonical <= self.dispatched
        outcomes = {each: await world.fetch_outcomes(each) for each in self.dispatched}
        assert outcomes == {each: [Outcome.EXECUTED] if each in canonical else [] for each in self.dispatched}
        assert await world.count_entries() == len(canonical)
        nonce, _ = unpack_word(await world.fetch_word(Direction.DISPATCHES))
        assert relayer.store.load_dispatch_head(world.lane) == nonce == len(canonical)
        position, accumulator = unpack_word(await world.fetch_word(Direction.RECEIPTS))
        assert relayer.store.load_receipt_head(world.lane) == position
        assert [row.accumulator for row in relayer.store.load_receipts(world.lane, position, position)] == (
            [accumulator] if position else []
        )


async def run_history(world: World, seed: int, folder: Path, steps: int) -> None:
    async with AsyncExitStack() as stack:
        history = History(world, seed, folder, stack)
        try:
            await history.play(steps)
            await history.settle()
            await history.verify()
        except BaseException as error:
            error.add_note(f"seed {seed}: {' '.join(history.said)}")
            raise


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.threat("F6")
async def test_every_history_ends_with_every_canonical_envelope_decided_once(
    world: World, tmp_path: Path, seed: int
) -> None:
    await run_history(world, seed, tmp_path, STEPS)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(SEEDS, SEEDS + SOAK_SEEDS))
async def test_every_long_history_ends_with_every_canonical_envelope_decided_once(
    world: World, tmp_path: Path, seed: int
) -> None:
    await run_history(world, seed, tmp_path, SOAK_STEPS)
