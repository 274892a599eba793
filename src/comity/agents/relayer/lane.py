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
from comity.agents.relayer.courier import Courier, Purpose
from comity.agents.relayer.feed import ChainFeed
from comity.agents.relayer.gate import Clock, GateView
from comity.agents.relayer.options import RelayOptions, compute_retry_wait, compute_wait
from comity.agents.relayer.planner import Candidate, Limits, select_run
from comity.agents.relayer.proofs import REACH, ProofDesk, ProofSource, ProvenWord
from comity.agents.relayer.runs import Run, is_true, load_run
from comity.agents.relayer.sieve import Sieve
from comity.agents.runner import failpoint
from comity.chain.bindings import Branch, classify_revert, encode_expire
from comity.core.delivery import MAX_ENTRIES
from comity.core.errors import ComityError, Invalid, NotReady, Rejected, Unavailable
from comity.core.lane import MAX_NONCE
from comity.core.types import Direction, Gas, Hash32, Seconds
from comity.store.port import DeliveryState, HaltRecord, LaneRecord, Store
from comity.telemetry import Metrics

_AGENT: Final = "relayer"
_PAUSE_SECONDS: Final = 10.0
_LONGEST_PAUSE: Final = 60.0
_PROOF_SECONDS: Final = 2
_PROBE_BATCH: Final = 25
_EXPIRE_GAS: Final = 400_000
_EXPIRE_BYTE_GAS: Final = 60
_NOT_MINE_TO_EXPIRE: Final = 600

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
        self._proofs = ProofDesk(lane.lane, sources, poll_seconds=options.poll_seconds)
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._envelopes = options.envelopes
        self._paused_until = 0.0
        self._failures = 0
        self._has_jumped = False
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
                except (Unavailable, NotReady) as error:
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
        run, is_waiting = await self._choose(found.deliverable, clock, now)
        if run is None:
            return not is_waiting
        self._has_jumped = False
        self._backlog.resume_from(run.selection.last + 1)
        purpose = Purpose("deliver", self._lane, run.selection.first, run.selection.last)
        self._launch(purpose, self._deliver(run, purpose))
        return True

    # ------------------------------------------------------------------------------------------------------- choosing

    async def _choose(self, candidates: list[Candidate], clock: Clock, now: Seconds) -> tuple[Run | None, bool]:
        """Choose the next run, with nothing in it that is known to fail; and without one, whether proofs must come."""
        limits = Limits(clock.gas_limit, self._envelopes)
        probed: set[int] = set()
        while candidates:
            words = await self._find_words(candidates[0].nonce)
            selection = select_run(candidates, words, limits)
            if selection is None:
                if not words and not candidates[0].awaits:
                    return None, not self._jump(candidates[0].nonce, now)
                self._wait_for_proof(candidates.pop(0), now)
                continue
            try:
                run = load_run(self._store, self._lane, selection, self._options.beneficiary)
            except Invalid as error:
                self._note_error("run.overtaken", error)  # by a reorg, while others were asked
                return None, True
            suspects = [each for each in selection.chosen if each.attempts and each.nonce not in probed]
            if not suspects:
                return run, False
            probed.update(each.nonce for each in suspects)
            refused = await self._probe(run, suspects)
            candidates = [each for each in candidates if each.nonce not in refused]
        return None, False

    async def _find_words(self, first: int) -> list[ProvenWord]:
        """Find the true words under which a run from `first` could go, with the proofs that live verifiers accept."""
        last = first + REACH - 1
        if self._proofs.is_stale(first, first + MAX_ENTRIES - 1):
            await self._proofs.fetch(first)
        live = await self._gate.fetch_live(self._proofs.indices)
        found: list[ProvenWord] = []
        for proven in self._proofs.find(first, last):
            row = self._store.load_dispatch(self._lane, proven.nonce)
            if row is None:
                continue
            if not is_true(row.dispatch, proven):
                log.error("word.contradicted", lane=self.name, nonce=proven.nonce, word=hex(proven.word))
                self._proofs.discard(proven.word)
                continue
            proofs = {index: proof for index, proof in proven.proofs.items() if live >> index & 1}
            if proofs:
                found.append(ProvenWord(proven.nonce, proven.word, proofs))
        return found

    def _jump(self, first: int, now: Seconds) -> bool:
        """Nothing within reach of the oldest envelope is proved: go on with newer ones, if they are; once a round."""
        newer = [] if self._has_jumped else self._proofs.find(first + REACH, MAX_NONCE)
        after = newer[0].nonce - REACH if newer else first - 1
        self._has_jumped = bool(newer) and bool(self._store.load_pending(self._lane, now, limit=1, after=after))
        self._backlog.resume_from(after + 1 if self._has_jumped else first)
        return self._has_jumped

    def _wait_for_proof(self, candidate: Candidate, now: Seconds) -> None:
        cause = "dependency undecided" if candidate.awaits else "policy not satisfied by the proofs at hand"
        self._defer([candidate], cause, compute_wait(_PROOF_SECONDS, now - candidate.seen_at))

    async def _probe(self, run: Run, candidates: Sequence[Candidate]) -> set[int]:
        """Rehearse some envelopes of a run one by one, put off those that are refused, and return their nonces."""
        refused: set[int] = set()
        for start in range(0, len(candidates), _PROBE_BATCH):
            batch = candidates[start : start + _PROBE_BATCH]
            reasons = await self._gate.rehearse([run.encode_alone(candidate) for candidate in batch])
            for candidate, reason in zip(batch, reasons, strict=True):
                if reason is not None:
                    self._put_off(candidate, reason)
                    refused.add(candidate.nonce)
        return refused

    # ------------------------------------------------------------------------------------------------------ delivering

    def _launch(self, purpose: Purpose, work: Coroutine[Any, Any, None]) -> None:
        self._backlog.hold(purpose.first, purpose.last)
        self._tasks.add(asyncio.create_task(self._guard(purpose, work), name=str(purpose)))

    async def _guard(self, purpose: Purpose, work: Coroutine[Any, Any, None]) -> None:
        """Do one transaction's work; whatever comes of it, its envelopes go back to the backlog, decided or not."""
        try:
            await work
            self._failures = 0
        except ComityError as error:
            self._note_error("delivery.failed", error, purpose=purpose.action, first=purpose.first, last=purpose.last)
            self._back_off()
        finally:
            work.close()
            self._backlog.release(purpose.first, purpose.last)
            self.wake()

    async def _deliver(self, run: Run, purpose: Purpose) -> None:
        data, gas = run.encode()
        [reason] = await self._gate.rehearse([(data, gas)])
        failpoint("relayer.rehearsed")
        if reason is not None:
            await self._on_refused(run, reason)
            return
        try:
            receipt = await self._courier.send(self._gate.address, data, gas, purpose)
            block_number, gas_used = receipt.block_number, receipt.gas_used
        except Rejected as error:
            # Somebody else was first, or the state moved between rehearsal and block.
            self._count_error(classify_revert(error.reason).branch)
            log.info("run.lost", lane=self.name, first=purpose.first, last=purpose.last, reason=error.reason)
            await self._feed.wait_for(error.values.get("block_number") or await self._gate.fetch_block_number())
            return
        await self._feed.wait_for(block_number)
        self._envelopes = min(2 * self._envelopes, self._options.envelopes)
        left = self._find_undecided(run.selection.chosen)
        log.info(
            "run.delivered",
            lane=self.name,
            first=purpose.first,
            last=purpose.last,
            envelopes=len(run.selection.chosen) - len(left),
            gas=gas_used,
        )
        # Why the Gate left them is not in its logs: they are probed before they join another run.
        self._defer(left, "left undecided by a run", Seconds(0), costs_attempt=True)

    async def _on_refused(self, run: Run, reason: str) -> None:
        branch = classify_revert(reason).branch
        self._count_error(branch)
        chosen = run.selection.chosen
        log.info("run.refused", lane=self.name, first=chosen[0].nonce, envelopes=len(chosen), reason=reason)
        match branch:
            case Branch.HALT:
                self.halt(Invalid("the Gate refuses every delivery", reason=reason, gate=self._gate.address))
            case Branch.PAUSE:
                self._gate.forget_verifiers()
                self._pause(_PAUSE_SECONDS)
            case Branch.REPROVE:
                self._proofs.discard(run.selection.proven.word)
                self._pause(1.0)
            case Branch.REGAS if len(chosen) > 1:
                self._envelopes = max(1, len(chosen) // 2)
            case _:
                await self._isolate(run, reason)

    async def _isolate(self, run: Run, reason: str) -> None:
        """Find which envelopes of a refused run are at fault, and put those off."""
        await self._feed.wait_for(await self._gate.fetch_block_number())
        left = self._find_undecided(run.selection.chosen)
        if len(run.selection.chosen) == 1:
            for candidate in left:
                self._put_off(candidate, reason)
        elif left and not await self._probe(run, left):
            self._envelopes = max(1, len(run.selection.chosen) // 2)

    def _put_off(self, candidate: Candidate, reason: str) -> None:
        """Deal with one envelope that the Gate would refuse now."""
        match classify_revert(reason).branch:
            case Branch.RACE:
                self._defer([candidate], reason, Seconds(1))
            case Branch.DROP:
                self._store.bury_envelope(self._lane, candidate.nonce, reason)
                log.error("envelope.buried", lane=self.name, nonce=candidate.nonce, reason=reason)
            case Branch.RETRY | Branch.REGAS:
                self._defer([candidate], reason, compute_retry_wait(candidate.attempts), costs_attempt=True)
            case _:
                self._defer([candidate], reason, compute_wait(_PROOF_SECONDS, int(time.time()) - candidate.seen_at))

    def _find_undecided(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        rows = [(each, self._store.load_dispatch(self._lane, each.nonce)) for each in candidates]
        return [each for each, row in rows if row and row.state is DeliveryState.PENDING]

    # -------------------------------------------------------------------------------------------------------- expiring

    def _expire(self, candidates: Sequence[Candidate], now: Seconds) -> None:
        if not self._options.expire:
            self._defer(candidates, "deadline passed", Seconds(_NOT_MINE_TO_EXPIRE))
            return
        for candidate in candidates:
            if len(self._tasks) >= self._options.pipeline:
                return
            purpose = Purpose("expire", self._lane, candidate.nonce, candidate.nonce)
            self._launch(purpose, self._send_expiry(candidate, purpose))

    async def _send_expiry(self, candidate: Candidate, purpose: Purpose) -> None:
        data = encode_expire(candidate.encoding, self._options.beneficiary)
        gas = Gas(_EXPIRE_GAS + _EXPIRE_BYTE_GAS * len(candidate.encoding))
        # The newest block may be older than the deadline although the next one is not.
        [reason] = await self._gate.rehearse([(data, gas)], block="pending")
        if reason is not None:
            self._put_off(candidate, reason)
            return
        receipt = await self._courier.send(self._gate.address, data, gas, purpose)
        await self._feed.wait_for(receipt.block_number)
        log.info("envelope.expired", lane=self.name, nonce=candidate.nonce)

    # --------------------------------------------------------------------------------------------------- housekeeping

    def _finish_earlier(self) -> None:
        """Wait for what an earlier process sent, with its envelopes held back meanwhile."""
        for tx_hash, purpose in self._courier.load_unfinished().items():
            if purpose.lane == self._lane:
                self._launch(purpose, self._finish(tx_hash))

    async def _finish(self, tx_hash: Hash32) -> None:
        block_number = await self._courier.resume(tx_hash)
        if block_number is not None:
            await self._feed.wait_for(block_number)

    def _defer(
        self, candidates: Sequence[Candidate], cause: str, wait: Seconds, *, costs_attempt: bool = False
    ) -> None:
        due = Seconds(int(time.time()) + wait)
        nonces = [candidate.nonce for candidate in candidates]
        self._store.defer_envelopes(self._lane, nonces, cause, due, costs_attempt=costs_attempt)

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
