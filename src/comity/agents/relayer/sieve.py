"""Sorts a window of the backlog: what can be delivered now, what has expired, and what is put off with its cause.

Trusts the store for outcomes and one provider for receivers' policies; both are hints, and the Gate decides. Waiting
costs no attempt. Spec sections 5 and 7.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass

import structlog

from comity.agents.relayer.gate import TIERED, GateView
from comity.agents.relayer.options import compute_wait
from comity.agents.relayer.planner import (
    ANY_POLICY,
    Candidate,
    Expired,
    Hindrance,
    find_dependency_hindrance,
    find_time_hindrance,
    needs_receiver_policy,
)
from comity.core.envelope import Envelope, decode
from comity.core.errors import Invalid
from comity.core.types import Address, Lane, Seconds
from comity.store.port import DeliveryRecord, DeliveryState, Store

_DEPENDENCY_SECONDS = 3
_POLICY_SECONDS = 5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sorted:
    """A window, sorted; both in order of nonce."""

    deliverable: list[Candidate]
    expired: list[Candidate]


class Sieve:
    """Sorts for one lane."""

    def __init__(self, store: Store, lane: Lane, gate: GateView) -> None:
        self._store = store
        self._lane = lane
        self._gate = gate

    async def sort(self, window: Sequence[DeliveryRecord], now: Seconds, chain_time: Seconds) -> Sorted:
        """Sort a window and put off what must wait; `now` is this machine's clock, `chain_time` the destination's."""
        decoded = [(record, envelope) for record in window if (envelope := self._decode(record))]
        bound = [to_receiver(envelope) for _, envelope in decoded if needs_receiver_policy(envelope)]
        policies = await self._gate.fetch_policies(self._lane, bound)
        found = Sorted([], [])
        hindered: dict[Hindrance, list[int]] = {}
        reachable: set[int] = set()
        for record, envelope in decoded:
            policy = policies[to_receiver(envelope)] if needs_receiver_policy(envelope) else ANY_POLICY
            candidate = _build(record, envelope, policy, reachable)
            try:
                hindrance = find_time_hindrance(envelope, chain_time) or self._find_hindrance(candidate, now)
            except Expired:
                found.expired.append(candidate)
                continue
            if hindrance:
                hindered.setdefault(hindrance, []).append(envelope.nonce)
                continue
            reachable.add(envelope.nonce)
            found.deliverable.append(candidate)
        with self._store.transaction():
            for hindrance, nonces in hindered.items():
                due = Seconds(now + hindrance.wait)
                self._store.defer_envelopes(self._lane, nonces, hindrance.cause, due, costs_attempt=False)
        return found

    def _decode(self, record: DeliveryRecord) -> Envelope | None:
        try:
            return decode(record.dispatch.envelope)
        except Invalid as error:
            # The Router emits canonical envelopes only: this one is another Router's, or another version's.
            log.error("envelope.refused", lane=self._lane, nonce=record.dispatch.nonce, error=error)
            self._store.bury_envelope(self._lane, record.dispatch.nonce, str(error))
            return None

    def _find_hindrance(self, candidate: Candidate, now: Seconds) -> Hindrance | None:
        age = now - candidate.seen_at
        if candidate.receiver_policy == 0:
            return Hindrance("receiver has no policy", compute_wait(_POLICY_SECONDS, age))
        if not candidate.envelope.depends_on or candidate.awaits:
            return None
        dependency = self._store.load_dispatch(self._lane, candidate.envelope.depends_on)
        return find_dependency_hindrance(
            dependency.outcome if dependency and dependency.state is DeliveryState.DECIDED else None,
            is_known=dependency is not None,
            wait=compute_wait(_DEPENDENCY_SECONDS, age),
        )


def to_receiver(envelope: Envelope) -> Address:
    """Read the account that a receiver's 32 bytes stand for."""
    return Address(envelope.receiver[12:])


def _build(record: DeliveryRecord, envelope: Envelope, policy: int | None, reachable: Set[int]) -> Candidate:
    return Candidate(
        nonce=envelope.nonce,
        id=record.dispatch.id,
        encoding=record.dispatch.envelope,
        envelope=envelope,
        receiver_policy=ANY_POLICY if policy == TIERED else policy,
        is_tiered=policy == TIERED,
        awaits=envelope.depends_on if envelope.depends_on in reachable else 0,
        attempts=record.attempts,
        seen_at=record.dispatch.seen_at,
    )
