"""One lane's deliveries: takes from the backlog, plans a run, rehearses it, sends it, and deals with what is refused.

Trusts nobody: a wrong hint costs time or gas, and outcomes are learned only from the Gate's own logs. An envelope that
cannot be delivered now is put off and never holds up the others. Spec section 7; twin: contracts/Gate.vy.
"""

import asyncio
import json
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

import structlog

from comity.agents.relayer.backlog import Backlog
from comity.agents.relayer.chooser import Chooser
from comity.agents.relayer.courier import Courier, Purpose
from comity.agents.relayer.feed import ChainFeed
from comity.agents.relayer.gate import GateView
from comity.agents.relayer.options import RelayOptions
from comity.agents.relayer.planner import Candidate, Limits
from comity.agents.relayer.proofs import ProofDesk, ProofSource
from comity.agents.relayer.runs import Run
from comity.agents.relayer.sieve import Sieve
from comity.agents.relayer.triage import Triage, find_branch
from comity.agents.runner import failpoint
from comity.chain.bindings import Branch, encode_expire
from comity.core.errors import ComityError, ConfigError, Invalid, NotReady, Rejected, Unavailable
from comity.core.types import Direction, Gas, Hash32, Lane, Seconds
from comity.store.port import HaltRecord, LaneRecord, Store
from comity.telemetry import Metrics

_AGENT: Final = "relayer"
_PAUSE_SECONDS: Final = 10.0
_LONGEST_PAUSE: Final = 60.0
_UNSEEN: Final = "sent, and its block is not seen yet"
_UNSEEN_SECONDS: Final = Seconds(10)
_UNPAID_SECONDS: Final = Seconds(60)
_EXPIRE_GAS: Final = 400_000
_EXPIRE_BYTE_GAS: Final = 60
_NOT_MINE_TO_EXPIRE: Final = Seconds(600)

log = structlog.get_logger(__name__)


class LaneRelay:
    """Delivers one lane."""

    def __init__(
        self,
        name: str,
        lane: LaneRecord,
        *,
        store: Store,
        gate: GateView,
        courier: Courier,
        feed: ChainFeed,
        sources: Mapping[int, ProofSource],
        options: RelayOptions,
        metrics: Metrics | None = None,
    ) -> None:
        """`feed` follows the destination; `sources` give proofs by the index of the Gate's verifier."""
        self.name = name
        self.record = lane
        self._lane = lane.lane
        self._store = store
        self._gate = gate
        self._courier = courier
        self._feed = feed
        self._options = options
        self._metrics = metrics
        self._backlog = Backlog(store, lane.lane, urgent_seconds=options.urgent_seconds)
        self._sieve = Sieve(store, lane.lane, gate)
        self._triage = Triage(name, lane.lane, store, gate)
        self._proofs = ProofDesk(lane.lane, sources, poll_seconds=options.poll_seconds)
        self._chooser = Chooser(
            name,
            lane.lane,
            store=store,
            gate=gate,
            backlog=self._backlog,
            proofs=self._proofs,
            triage=self._triage,
            beneficiary=options.beneficiary,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._envelopes = options.envelopes
        self._paused_until = 0.0
        self._failures = 0
        self._is_halted = any(halt.lane == lane.lane for halt in store.load_halts())

    def wake(self) -> None:
        """Look at the backlog again: something changed."""
        self._woken.set()

    def halt(self, error: ComityError) -> None:
        """Stop this lane until an operator decides: its state contradicts itself."""
        self._is_halted = True
        evidence = json.dumps({key: str(value) for key, value in error.values.items()})
        now = Seconds(int(time.time()))
        self._store.save_halt(HaltRecord(self._lane, Direction.DISPATCHES, error.message, evidence, now))
        log.error("lane.halted", lane=self.name, error=error, next_step=error.next_step)
        if self._metrics:
            self._metrics.halted.labels(self.name, Direction.DISPATCHES.name.lower()).set(1)

    def measure(self, metrics: Metrics) -> None:
        """Set the gauges of the backlog."""
        pending, oldest = self._store.load_backlog(self._lane)
        metrics.backlog_envelopes.labels(self.name).set(pending)
        metrics.backlog_age.labels(self.name).set(time.time() - oldest.seen_at if oldest else 0)

    @property
    def in_flight(self) -> int:
        """Transactions being rehearsed, sent or waited for."""
        return len(self._tasks)

    async def drain(self) -> None:
        """Wait until nothing is in flight."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._reap()

    def resume(self) -> None:
        """End a pause."""
        self._paused_until = 0.0

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._finish_earlier()
        try:
            # Else what others delivered long ago would be rehearsed anew.
            await self._feed.caught_up.wait()
            while True:
                try:
                    is_busy = await self.step()
                except ComityError as error:
                    self._note_error("lane.interrupted", error)
                    self._back_off()
                    is_busy = False
                if not is_busy:
                    await self._rest()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tasks.clear()

    async def step(self) -> bool:
        """Start one transaction if there is one to send; False when there is nothing to do but wait."""
        self._reap()
        if len(self._tasks) >= self._options.pipeline:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            return True
        if self._is_halted or time.monotonic() < self._paused_until:
            return False
        clock = await self._gate.fetch_clock()
        now = Seconds(int(time.time()))
        window = self._backlog.load_window(now, clock.now)
        if not window:
            return False
        found = await self._sieve.sort(window, now, clock.now)
        self._expire(found.expired, now)
        if not found.deliverable:
            return True
        run, is_waiting = await self._chooser.choose(found.deliverable, Limits(clock.gas_limit, self._envelopes), now)
        if run is None:
            return not is_waiting
        self._backlog.resume_from(run.selection.last + 1)
        purpose = Purpose("deliver", self._lane, run.selection.first, run.selection.last)
        self._launch(purpose, self._deliver(run, purpose), run.selection.chosen)
        return True

    # ------------------------------------------------------------------------------------------------------ delivering

    def _launch(self, purpose: Purpose, work: Coroutine[Any, Any, None], candidates: Sequence[Candidate] = ()) -> None:
        self._backlog.hold(purpose.first, purpose.last)
        self._tasks.add(asyncio.create_task(self._guard(purpose, work, candidates), name=str(purpose)))

    async def _guard(self, purpose: Purpose, work: Coroutine[Any, Any, None], candidates: Sequence[Candidate]) -> None:
        """Do one transaction's work; whatever comes of it, its envelopes go back to the backlog, decided or not."""
        try:
            await work
            self._failures = 0
        except ComityError as error:
            self._note_error("delivery.failed", error, purpose=purpose.action, first=purpose.first, last=purpose.last)
            self._on_failed(error, candidates)
        finally:
            work.close()
            self._backlog.release(purpose.first, purpose.last)
            self.wake()

    def _on_failed(self, error: ComityError, candidates: Sequence[Candidate]) -> None:
        """Wait, or let others go first: what failed may be the fault of these envelopes."""
        if isinstance(error, Unavailable | NotReady):
            self._back_off()
            return
        if candidates:
            self._envelopes = max(1, len(candidates) // 2)
        if isinstance(error, ConfigError):
            # The account is empty, or these cost more than it holds.
            self._triage.defer(candidates, error.message, _UNPAID_SECONDS)
            self._back_off()
        else:
            self._triage.retry(candidates, error.message)

    async def _deliver(self, run: Run, purpose: Purpose) -> None:
        data, gas = run.encode()
        [reason] = await self._gate.rehearse([(data, gas)])
        failpoint("relayer.rehearsed")
        chosen = run.selection.chosen
        if reason is not None:
            await self._on_refused(run, reason)
            return
        try:
            receipt = await self._courier.send(self._gate.address, data, gas, purpose)
        except Rejected as error:
            await self._on_lost(chosen, error)
            return
        is_seen = await self._learn(receipt.block_number)
        left = self._triage.find_undecided(chosen)
        log.info(
            "run.delivered",
            lane=self.name,
            first=purpose.first,
            last=purpose.last,
            envelopes=len(chosen) - len(left),
            gas=receipt.gas_used,
        )
        if is_seen:
            self._envelopes = min(2 * self._envelopes, self._options.envelopes)
            # Why the Gate left them is not in its logs: they are probed before they join another run.
            self._triage.retry(left, "left undecided by a run", at_once=True)
        else:
            self._triage.defer(left, _UNSEEN, _UNSEEN_SECONDS)

    async def _on_lost(self, chosen: Sequence[Candidate], error: Rejected) -> None:
        """Somebody else was first, or the state moved between rehearsal and block."""
        self._count_error(find_branch(error.reason))
        log.info("run.lost", lane=self.name, first=chosen[0].nonce, last=chosen[-1].nonce, reason=error.reason)
        is_seen = await self._learn(error.values.get("block_number") or await self._gate.fetch_block_number())
        left = self._triage.find_undecided(chosen)
        if is_seen:
            self._triage.retry(left, error.reason or error.message)
        else:
            self._triage.defer(left, _UNSEEN, _UNSEEN_SECONDS)

    async def _learn(self, block_number: int) -> bool:
        """Wait until a block's outcomes are known; False when that takes too long, or one provider made it up."""
        try:
            await self._feed.wait_for(block_number)
        except Unavailable as error:
            self._note_error("block.unseen", error)
            return False
        return True

    async def _on_refused(self, run: Run, reason: str) -> None:
        branch = find_branch(reason)
        self._count_error(branch)
        chosen = run.selection.chosen
        log.info("run.refused", lane=self.name, first=chosen[0].nonce, envelopes=len(chosen), reason=reason)
        match branch:
            case Branch.HALT | Branch.PAUSE:
                await self._on_stopped(run, reason)
            case Branch.REPROVE:
                self._proofs.discard(run.selection.proven.word)
                await self._isolate(run, reason)
            case Branch.REGAS if len(chosen) > 1:
                self._envelopes = max(1, len(chosen) // 2)
            case _:
                await self._isolate(run, reason)

    async def _on_stopped(self, run: Run, reason: str) -> None:
        """Stop the lane if the Gate itself is what refuses; a verifier that says so stops only what needs it."""
        self._gate.forget_verifiers()
        match await self._triage.find_own_branch(run.encode_unproven(run.selection.chosen)):
            case Branch.HALT:
                self.halt(Invalid("the Gate refuses every delivery", reason=reason, gate=self._gate.address))
            case Branch.PAUSE:
                self._pause(_PAUSE_SECONDS)
            case _:
                await self._isolate(run, reason)

    async def _isolate(self, run: Run, reason: str) -> None:
        """Find which envelopes of a refused run are at fault, and put those off."""
        chosen = run.selection.chosen
        await self._learn(await self._gate.fetch_block_number())
        left = self._triage.find_undecided(chosen)
        if find_branch(reason) in (Branch.REPROVE, Branch.PAUSE) and all(map(run.needs_all_proofs, left)):
            self._triage.wait(left, reason)
        elif len(chosen) == 1:
            for candidate in left:
                await self._triage.put_off(candidate, reason, run.encode_unproven(chosen))
        elif left and not await self._triage.probe(run, left):
            self._envelopes = max(1, len(chosen) // 2)

    # -------------------------------------------------------------------------------------------------------- expiring

    def _expire(self, candidates: Sequence[Candidate], now: Seconds) -> None:
        if not self._options.expire:
            self._triage.defer(candidates, "deadline passed", _NOT_MINE_TO_EXPIRE)
            return
        for candidate in candidates:
            if len(self._tasks) >= self._options.pipeline:
                return
            purpose = Purpose("expire", self._lane, candidate.nonce, candidate.nonce)
            self._launch(purpose, self._send_expiry(candidate, purpose), [candidate])

    async def _send_expiry(self, candidate: Candidate, purpose: Purpose) -> None:
        data = encode_expire(candidate.encoding, self._options.beneficiary)
        gas = Gas(_EXPIRE_GAS + _EXPIRE_BYTE_GAS * len(candidate.encoding))
        # The newest block may be older than the deadline although the next one is not.
        [reason] = await self._gate.rehearse([(data, gas)], block="pending")
        if reason is not None:
            await self._triage.put_off(candidate, reason, (data, gas), block="pending")
            return
        receipt = await self._courier.send(self._gate.address, data, gas, purpose)
        if await self._learn(receipt.block_number):
            log.info("envelope.expired", lane=self.name, nonce=candidate.nonce)
        else:
            self._triage.defer([candidate], _UNSEEN, _UNSEEN_SECONDS)

    # --------------------------------------------------------------------------------------------------- housekeeping

    def _finish_earlier(self) -> None:
        """Wait for what an earlier process sent, with its envelopes held back meanwhile."""
        for tx_hash, purpose in self._courier.load_unfinished().items():
            if purpose.lane == self._lane:
                self._launch(purpose, self._finish(tx_hash))

    async def _finish(self, tx_hash: Hash32) -> None:
        block_number = await self._courier.resume(tx_hash)
        if block_number is not None:
            await self._learn(block_number)

    def _back_off(self) -> None:
        self._failures += 1
        self._pause(min(0.25 * 2 ** min(self._failures, 16), _LONGEST_PAUSE))

    def _pause(self, seconds: float) -> None:
        self._paused_until = time.monotonic() + seconds

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._options.poll_seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    def _reap(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()

    def _count_error(self, branch: str) -> None:
        if self._metrics:
            self._metrics.count_error(_AGENT, branch)

    def _note_error(self, event: str, error: ComityError, **values: Any) -> None:
        self._count_error(type(error).__name__.lower())
        log.warning(event, lane=self.name, error=error, next_step=error.next_step, **values)


def clear_halt(store: Store, lane: Lane) -> None:
    """Let a lane be delivered again, by an operator's decision; a relayer that runs must be started anew."""
    for direction in Direction:
        store.clear_halt(lane, direction)
