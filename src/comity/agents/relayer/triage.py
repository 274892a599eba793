"""What becomes of envelopes that the Gate would refuse now: each is put off with its cause, and hardly ever given up.

A provider may lie, and a verifier may revert with any words it likes, the Gate's own among them. So nothing final comes
of a reason before a quorum of providers hears it from the Gate itself, in a call that asks no verifier.
Spec section 7; twin: contracts/Gate.vy.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from comity.agents.relayer.gate import GateView
from comity.agents.relayer.options import compute_retry_wait, compute_wait
from comity.agents.relayer.planner import Candidate
from comity.agents.relayer.runs import Run
from comity.chain.bindings import Branch, classify_revert
from comity.chain.codec import BlockRef
from comity.chain.rpc import RpcError
from comity.core.types import Gas, Lane, Seconds
from comity.store.port import DeliveryState, Store

_PROBE_BATCH: Final = 25
_WAIT_SECONDS: Final = 2
_NOT_OPEN: Final = "gate: unknown lane"

log = structlog.get_logger(__name__)

Call = tuple[bytes, Gas]


class Triage:
    """Puts one lane's envelopes off."""

    def __init__(self, name: str, lane: Lane, store: Store, gate: GateView) -> None:
        self._name = name
        self._lane = lane
        self._store = store
        self._gate = gate

    def defer(self, candidates: Sequence[Candidate], cause: str, wait: Seconds, *, costs_attempt: bool = False) -> None:
        """Put envelopes off for the same time."""
        due = Seconds(int(time.time()) + wait)
        nonces = [candidate.nonce for candidate in candidates]
        self._store.defer_envelopes(self._lane, nonces, cause, due, costs_attempt=costs_attempt)

    def wait(self, candidates: Sequence[Candidate], cause: str) -> None:
        """Put off what comes right by itself."""
        now = int(time.time())
        self._defer_each([(each, compute_wait(_WAIT_SECONDS, now - each.seen_at)) for each in candidates], cause)

    def retry(self, candidates: Sequence[Candidate], cause: str, *, at_once: bool = False) -> None:
        """Put off what failed, the longer the more often it did; `at_once` makes nothing of the first failure."""
        waits = [
            (each, Seconds(0) if at_once and not each.attempts else compute_retry_wait(each.attempts))
            for each in candidates
        ]
        self._defer_each(waits, cause, costs_attempt=True)

    def find_undecided(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Find which have no outcome yet."""
        rows = [(each, self._store.load_dispatch(self._lane, each.nonce)) for each in candidates]
        return [each for each, row in rows if row and row.state is DeliveryState.PENDING]

    async def probe(self, run: Run, candidates: Sequence[Candidate]) -> set[int]:
        """Rehearse some envelopes of a run one by one, put off those that are refused, and return their nonces."""
        refused: set[int] = set()
        for start in range(0, len(candidates), _PROBE_BATCH):
            batch = candidates[start : start + _PROBE_BATCH]
            try:
                reasons = await self._gate.rehearse([run.encode_alone(candidate) for candidate in batch])
            except RpcError as error:
                # Else one that no provider executes would be asked about for ever, and hold up all others.
                self.retry(batch, f"cannot be rehearsed: {error.message}")
                refused.update(candidate.nonce for candidate in batch)
                continue
            for candidate, reason in zip(batch, reasons, strict=True):
                if reason is not None:
                    await self.put_off(candidate, reason, run.encode_unproven([candidate]))
                    refused.add(candidate.nonce)
        return refused

    async def put_off(self, candidate: Candidate, reason: str, unproven: Call, *, block: BlockRef = "latest") -> None:
        """Deal with one envelope that the Gate would refuse now; `unproven` is the call that asks no verifier.

        Raises:
            Unavailable: it would be given up, and the providers do not agree.
        """
        match find_branch(reason):
            case Branch.RACE:
                self.defer([candidate], reason, Seconds(1))
            case Branch.DROP if await self.find_own_branch(unproven, block=block) is Branch.DROP:
                self._store.bury_envelope(self._lane, candidate.nonce, reason)
                log.error("envelope.buried", lane=self._name, nonce=candidate.nonce, reason=reason)
            case Branch.DROP | Branch.HALT | Branch.RETRY | Branch.REGAS:
                self.retry([candidate], reason)
            case _:
                self.wait([candidate], reason)

    async def find_own_branch(self, unproven: Call, *, block: BlockRef = "latest") -> Branch | None:
        """Find what a quorum hears from the Gate itself; None when it would take the call.

        Raises:
            Unavailable: the providers do not agree.
        """
        data, gas = unproven
        reason = await self._gate.confirm(data, gas, block=block)
        return None if reason is None else find_branch(reason)

    def _defer_each(
        self, waits: Iterable[tuple[Candidate, Seconds]], cause: str, *, costs_attempt: bool = False
    ) -> None:
        together: dict[Seconds, list[Candidate]] = {}
        for candidate, wait in waits:
            together.setdefault(wait, []).append(candidate)
        with self._store.transaction():
            for wait, candidates in together.items():
                self.defer(candidates, cause, wait, costs_attempt=costs_attempt)


def find_branch(reason: str) -> Branch:
    """Find what to do about a revert: a lane that is not open yet will be, unlike other contradictions."""
    return Branch.PAUSE if reason == _NOT_OPEN else classify_revert(reason).branch
