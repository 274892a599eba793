"""The relayer: follows every chain, and delivers every lane, each independent of the others' troubles.

Trusts nobody, and nobody needs to trust it: it can delay, not decide. All of its state is in the store, so that it may
be killed at any moment. Spec sections 2, 5 and 7.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import structlog

from comity.agents.relayer.courier import Courier
from comity.agents.relayer.feed import ChainFeed
from comity.agents.relayer.gate import GateView
from comity.agents.relayer.indexer import DispatchIndex, Index, ReceiptIndex
from comity.agents.relayer.lane import LaneRelay
from comity.agents.relayer.options import RelayOptions
from comity.agents.relayer.proofs import ProofSource
from comity.agents.relayer.providers import FailoverRpc
from comity.chain.follower import ChainChanged, Cursor, FinalityViolated, Follower
from comity.chain.quorum import ProviderQuorum
from comity.chain.signer import TransactionSigner
from comity.core.errors import ComityError, Invalid
from comity.core.finality import FinalityRule
from comity.core.types import Address, ChainId
from comity.store.port import LaneRecord, Store
from comity.telemetry import Metrics

_FIRST_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 30.0
_GAUGE_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RelayedChain:
    """A chain that lanes begin or end on."""

    name: str
    id: ChainId
    source: ProviderQuorum
    finality: FinalityRule
    start_block: int = 1
    """No event of the deployment is older."""


@dataclass(frozen=True, slots=True)
class RelayedLane:
    """A lane to deliver."""

    name: str
    """The operator's, for logs and metrics."""
    record: LaneRecord
    sources: Mapping[int, ProofSource]
    """Of proofs, by the index of the destination's verifier."""


class Relayer:
    """Delivers lanes until cancelled."""

    name = "relayer"

    def __init__(
        self,
        chains: Sequence[RelayedChain],
        lanes: Sequence[RelayedLane],
        signer: TransactionSigner,
        store: Store,
        *,
        options: RelayOptions,
        metrics: Metrics | None = None,
    ) -> None:
        self._chains = {chain.id: chain for chain in chains}
        self._lanes = tuple(lanes)
        self._signer = signer
        self._store = store
        self._options = options
        self._metrics = metrics
        self._relays: list[LaneRelay] = []

    async def run(self) -> None:
        """Work until cancelled; what is in flight is found again by the next run."""
        async with AsyncExitStack() as stack:
            for lane in self._lanes:
                self._store.save_lane(lane.record)
                for source in lane.sources.values():
                    stack.push_async_callback(source.close)
            for chain in self._chains.values():
                stack.push_async_callback(chain.source.close)
            feeds = {chain.id: self._build_feed(chain) for chain in self._chains.values()}
            ends = {lane.record.destination: Address(lane.record.gate[12:]) for lane in self._lanes}
            couriers = {chain: self._build_courier(self._chains[chain]) for chain in ends}
            gates = {chain: self._build_gate(self._chains[chain], gate) for chain, gate in ends.items()}
            for courier in couriers.values():
                stack.push_async_callback(courier.close)
            self._relays = [
                self._build_relay(lane, feeds, couriers[lane.record.destination], gates[lane.record.destination])
                for lane in self._lanes
            ]
            try:
                async with asyncio.TaskGroup() as group:
                    for feed in feeds.values():
                        group.create_task(self._supervise(f"follow {feed.name}", feed.run))
                    for relay in self._relays:
                        group.create_task(self._supervise(f"deliver {relay.name}", relay.run))
                    group.create_task(self._observe(couriers))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _supervise(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Keep one part going; its outage, or the fall of its chain, stops no other part."""
        backoff = _FIRST_BACKOFF
        while True:
            try:
                await work()
                return
            except (FinalityViolated, ChainChanged) as error:
                log.error("part.halted", part=what, error=error, next_step=error.next_step)
                return
            except ComityError as error:
                log.warning("part.interrupted", part=what, error=error, next_step=error.next_step, seconds=backoff)
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LONGEST_BACKOFF)

    def _build_feed(self, chain: RelayedChain) -> ChainFeed:
        indexes: list[Index] = [
            DispatchIndex(self._store, lane.record) for lane in self._lanes if lane.record.origin == chain.id
        ]
        indexes += [
            ReceiptIndex(self._store, lane.record) for lane in self._lanes if lane.record.destination == chain.id
        ]
        return ChainFeed(
            chain.name,
            lambda: self._build_follower(chain),
            chain.source,
            indexes,
            halt=self._halt,
            changed=self._wake,
            start_block=chain.start_block,
            poll_seconds=self._options.poll_seconds,
        )

    def _build_follower(self, chain: RelayedChain) -> Follower:
        key = f"relayer/{chain.id}"

        def load_cursor() -> Cursor | None:
            encoded = self._store.load_cursor(key)
            return None if encoded is None else Cursor.decode(encoded)

        return Follower(
            chain.source,
            finality=chain.finality,
            start_block=chain.start_block,
            poll_seconds=self._options.poll_seconds,
            load_cursor=load_cursor,
            save_cursor=lambda cursor: self._store.save_cursor(key, cursor.encode()),
        )

    def _build_courier(self, chain: RelayedChain) -> Courier:
        return Courier(
            self._store,
            FailoverRpc(chain.source.providers),
            self._signer,
            chain=chain.id,
            max_fee_per_gas_cap=self._options.max_fee_per_gas,
            poll_seconds=min(self._options.poll_seconds, 1.0),
        )

    def _build_gate(self, chain: RelayedChain, gate: Address) -> GateView:
        return GateView(gate, chain.source, self._signer.address)

    def _build_relay(
        self, lane: RelayedLane, feeds: Mapping[ChainId, ChainFeed], courier: Courier, gate: GateView
    ) -> LaneRelay:
        return LaneRelay(
            lane.name,
            lane.record,
            store=self._store,
            gate=gate,
            courier=courier,
            feed=feeds[lane.record.destination],
            sources=lane.sources,
            options=self._options,
            metrics=self._metrics,
        )

    def _halt(self, index: Index, error: Invalid) -> None:
        for relay in self._relays:
            if relay.record.lane == index.lane:
                relay.halt(error)

    def _wake(self) -> None:
        for relay in self._relays:
            relay.wake()

    async def _observe(self, couriers: Mapping[ChainId, Courier]) -> None:
        """Keep the gauges fresh."""
        while self._metrics:
            for relay in self._relays:
                relay.measure(self._metrics)
            for chain, courier in couriers.items():
                self._metrics.nonce_gap.labels(self._chains[chain].name).set(courier.in_flight)
            await asyncio.sleep(_GAUGE_SECONDS)
