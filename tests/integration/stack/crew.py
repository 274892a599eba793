"""The real agents, moved one round at a time, so that a test knows what each of them has seen.

Attestors serve their real API on loopback; the relayer is the one that runs, with its parts driven by the test.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from comity.agents.assembly import build_attestor, build_quorum, build_relayer
from comity.agents.attestor import Attestor
from comity.agents.relayer import Relayer
from comity.agents.relayer.feed import ChainFeed
from comity.agents.relayer.lane import LaneRelay
from comity.chain.follower import ChainChanged, FinalityViolated
from comity.chain.quorum import ProviderQuorum
from comity.chain.signer import LocalSigner
from comity.config import Config
from comity.core.errors import ComityError, Invalid, NotReady, Unavailable
from comity.core.types import Address, ChainId, Direction, Seconds
from comity.devnet.devnet import derive_signer
from comity.store.port import AttestationRecord, Store
from comity.store.sqlite import SqliteStore
from comity.telemetry import Metrics
from tests.integration.stack.world import MAIN, RELAYER, World

_ROUNDS: Final = 400
_IDLE_ROUNDS: Final = 6
_PAUSE_SECONDS: Final = 0.01
_PATIENCE_SECONDS: Final = 20.0


class Crew:
    """The attestors of one set."""

    def __init__(self, attestors: Sequence[Attestor], stores: Sequence[Store], signers: Sequence[LocalSigner]) -> None:
        self.attestors = list(attestors)
        self.stores = list(stores)
        self.signers = list(signers)

    @property
    def urls(self) -> list[str]:
        return [attestor.api.url for attestor in self.attestors]

    async def attest(self, *chains: ChainId) -> list[ComityError]:
        """One round of every attestor on these chains, or on all; what kept some from signing."""
        found: list[ComityError] = []
        for attestor in self.attestors:
            for chain in chains or tuple(attestor.health):
                try:
                    await attestor.attest(chain)
                except ComityError as error:
                    found.append(error)
        return found

    @asynccontextmanager
    async def restarted(self, config: Config) -> AsyncIterator["Crew"]:
        """The next process of each, over the same store."""
        async with AsyncExitStack() as stack:
            yield await _assemble(stack, config, self.stores, self.signers)

    def load_signed(self, world: World, direction: Direction = Direction.DISPATCHES) -> list[AttestationRecord]:
        """Everything that any of them has ever signed for this direction."""
        return [
            record
            for store in self.stores
            for record in store.load_attestations(world.lane, direction, min_nonce=0, max_nonce=2**40 - 1, limit=10_000)
        ]


async def assert_signed_is_canonical(world: World, crew: Crew) -> None:
    """Every word that was ever signed stands in the canonical chain, in the block in which its signer found it."""
    for direction in Direction:
        for attested in {record.attested for record in crew.load_signed(world, direction)}:
            held = (
                await world.fetch_snapshot(direction, attested.nonce, attested.height)
                if attested.snapshot
                else await world.fetch_word(direction, attested.height)
            )
            assert attested.word == held


@asynccontextmanager
async def open_crew(
    config: Config, folder: Path, set_name: str = MAIN, *, members: Sequence[int] | None = None, role: str = ""
) -> AsyncIterator[Crew]:
    """Run the APIs of a set's attestors, or of some of them; their providers are the configuration's.

    `role` names their keys, where those are not called after the set.
    """
    chosen = range(len(config.sets[set_name].members)) if members is None else members
    async with AsyncExitStack() as stack:
        stores: list[SqliteStore] = []
        for index in chosen:
            stores.append(SqliteStore(folder / f"{role or set_name}-{index}.sqlite"))
            stack.callback(stores[-1].close)
        signers = [derive_signer(f"{role or set_name} attestor", index) for index in chosen]
        yield await _assemble(stack, config, stores, signers)


async def _assemble(
    stack: AsyncExitStack, config: Config, stores: Sequence[Store], signers: Sequence[LocalSigner]
) -> Crew:
    quorums = await _open_quorums(stack, config)
    attestors: list[Attestor] = []
    for store, signer in zip(stores, signers, strict=True):
        attestor = build_attestor(config, quorums, signer, store, Metrics(), listen=("127.0.0.1", 0))
        await stack.enter_async_context(attestor.api.serve())
        attestors.append(attestor)
    return Crew(attestors, stores, signers)


async def _open_quorums(stack: AsyncExitStack, config: Config) -> Mapping[str, ProviderQuorum]:
    quorums = {name: build_quorum(chain) for name, chain in config.chains.items()}
    for quorum in quorums.values():
        stack.push_async_callback(quorum.close)
    return quorums


def with_attestors(config: Config, urls: Sequence[str], set_name: str = MAIN, **changes: Any) -> Config:
    """The configuration with a set's attestors, and other changes to the set."""
    changed = msgspec.structs.replace(config.sets[set_name], attestors=list(urls), **changes)
    return msgspec.structs.replace(config, sets={**config.sets, set_name: changed})


def with_providers(config: Config, chain: str, urls: Sequence[str]) -> Config:
    """The configuration with other providers of a chain."""
    changed = msgspec.structs.replace(config.chains[chain], rpc=list(urls))
    return msgspec.structs.replace(config, chains={**config.chains, chain: changed})


class SteppedRelayer:
    """A relayer that does nothing by itself; `work` lets it do all that it can do now."""

    def __init__(self, feeds: Mapping[ChainId, ChainFeed], relay: LaneRelay, store: Store) -> None:
        self.feeds = feeds
        self.relay = relay
        self.store = store
        self.fallen: dict[ChainId, Invalid] = {}
        """By chain: why it is followed no longer."""

    async def work(self, *, follow: bool = True) -> None:
        """Let every wait on this machine's clock be over, then work until nothing moves any more.

        Without `follow` the chains are not looked at meanwhile, as when a provider is slow to tell of a reorg.
        """
        self.make_due()
        self.relay.resume()
        idle = 0
        for _ in range(_ROUNDS):
            moved = await self.follow() if follow else False
            try:
                moved |= await self.relay.step()
            except (Unavailable, NotReady):
                moved = False
            if self.relay.in_flight:
                await self._drain()
                moved = True
            idle = 0 if moved else idle + 1
            if idle > _IDLE_ROUNDS:
                return
            if idle:
                await asyncio.sleep(_PAUSE_SECONDS)
        raise AssertionError("the relayer never comes to rest")

    async def follow(self) -> bool:
        """Index whatever is new; True when something was."""
        moved = False
        for chain, feed in self.feeds.items():
            while chain not in self.fallen and await self._step(chain, feed):
                moved = True
        return moved

    async def _step(self, chain: ChainId, feed: ChainFeed) -> bool:
        try:
            return await feed.step()
        except (Unavailable, NotReady):
            # As a restart does: what the interrupted step did not acknowledge is told again.
            feed._follower = feed._start()
        except (FinalityViolated, ChainChanged) as error:
            self.fallen[chain] = error
        return False

    async def _drain(self) -> None:
        draining = asyncio.create_task(self.relay.drain())
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not draining.done():
                    await self.follow()
                    await asyncio.wait([draining], timeout=_PAUSE_SECONDS)
            await draining
        finally:
            draining.cancel()

    def make_due(self) -> None:
        """Let the waits between attempts be over."""
        lane, after = self.relay.record.lane, 0
        while rows := self.store.load_pending(lane, Seconds(2**40), limit=100, after=after):
            for row in rows:
                cause, due = row.cause or "", Seconds(0)
                self.store.defer_envelopes(lane, [row.dispatch.nonce], cause, due, costs_attempt=False)
            after = rows[-1].dispatch.nonce


@asynccontextmanager
async def open_relayer(config: Config, path: Path) -> AsyncIterator[SteppedRelayer]:
    """Start a relayer's process over a store; opened again over the same one, it is the next process."""
    store = SqliteStore(path)
    relayer = build_relayer(config, RELAYER, store, Metrics())
    async with AsyncExitStack() as stack:
        stack.callback(store.close)
        yield await _take_apart(stack, relayer, store)


async def _take_apart(stack: AsyncExitStack, relayer: Relayer, store: Store) -> SteppedRelayer:
    """What `Relayer.run` puts together, with nothing running."""
    [lane] = relayer._lanes
    store.save_lane(lane.record)
    for source in lane.sources.values():
        stack.push_async_callback(source.close)
    for chain in relayer._chains.values():
        stack.push_async_callback(chain.source.close)
    feeds = {chain.id: relayer._build_feed(chain) for chain in relayer._chains.values()}
    destination = relayer._chains[lane.record.destination]
    courier = relayer._build_courier(destination)
    stack.push_async_callback(courier.close)
    gate = relayer._build_gate(destination, Address(lane.record.gate[12:]))
    relay = relayer._build_relay(lane, feeds, courier, gate)
    relayer._relays = [relay]
    return SteppedRelayer(feeds, relay, store)
