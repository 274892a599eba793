"""What waits on one lane, and whose turn it is: oldest first, newest every few turns, near deadlines before both.

Nothing here grows with the backlog: envelopes stream from the store in windows, and of the nearest deadlines a fixed
number is kept in memory. A restart rebuilds it. Trusts the store.
"""

import heapq
from collections.abc import Iterable
from typing import Final

from comity.core.envelope import DELIVER_BEFORE_SHIFT
from comity.core.lane import MAX_NONCE
from comity.core.types import Lane, Seconds
from comity.store.port import DeliveryRecord, Store

WINDOW: Final = 160
"""Envelopes looked at to form one run."""
_KEPT_DEADLINES: Final = 4096
_NEWEST_EVERY: Final = 4


class Backlog:
    """The undecided envelopes of one lane."""

    def __init__(self, store: Store, lane: Lane, *, urgent_seconds: Seconds) -> None:
        self._store = store
        self._lane = lane
        self._urgent_seconds = urgent_seconds
        self._deadlines: list[tuple[int, int]] = []
        self._seen = 0
        self._position = 0
        self._turn = 0
        self._is_in_order = True
        self._in_flight: set[tuple[int, int]] = set()

    def hold(self, first: int, last: int) -> None:
        """Leave some nonces out while a transaction that decides them is in flight."""
        self._in_flight.add((first, last))

    def release(self, first: int, last: int) -> None:
        """Put nonces back whose transaction has ended."""
        self._in_flight.discard((first, last))
        self._position = min(self._position, first - 1)

    def is_held(self, nonce: int) -> bool:
        """Say whether a transaction in flight is about this nonce."""
        return any(first <= nonce <= last for first, last in self._in_flight)

    def load_window(self, now: Seconds, chain_time: Seconds) -> list[DeliveryRecord]:
        """Load what is due for the next run: consecutive pending envelopes, lowest nonce first.

        `now` is this machine's clock, `chain_time` the destination's.
        """
        self._learn_deadlines()
        urgent = self._find_urgent(now, chain_time)
        self._is_in_order = False
        if urgent:
            return self._load(now, urgent - 1)
        self._turn += 1
        if self._turn % _NEWEST_EVERY == 0:
            newest = self._load(now, max(self._position, self._seen - WINDOW))
            if newest:
                return newest
        self._is_in_order = True
        window = self._load(now, self._position)
        if not window and self._position:
            self._position = 0
            window = self._load(now, 0)
        if window:
            self._position = window[-1].dispatch.nonce
        return window

    def resume_from(self, nonce: int) -> None:
        """Start the next window in order here: what came after it in the last one was not used."""
        if self._is_in_order:
            self._position = nonce - 1

    def _load(self, now: Seconds, after: int) -> list[DeliveryRecord]:
        found: list[DeliveryRecord] = []
        while len(found) < WINDOW:
            page = self._store.load_pending(self._lane, now, limit=WINDOW, after=after)
            found += [record for record in page if not self.is_held(record.dispatch.nonce)]
            if len(page) < WINDOW:
                break
            after = page[-1].dispatch.nonce
        return found[:WINDOW]

    def _learn_deadlines(self) -> None:
        """Note the deadlines of what came since the last look."""
        head = self._store.load_dispatch_head(self._lane)
        if head == self._seen:
            return
        rows = self._store.load_dispatches(self._lane, self._seen + 1, head)
        self._keep((_read_deadline(row.envelope), row.nonce) for row in rows)
        self._seen = head

    def _keep(self, deadlines: Iterable[tuple[int, int]]) -> None:
        for deadline in deadlines:
            heapq.heappush(self._deadlines, deadline)
            if len(self._deadlines) > 2 * _KEPT_DEADLINES:
                self._deadlines = heapq.nsmallest(_KEPT_DEADLINES, self._deadlines)

    def _find_urgent(self, now: Seconds, chain_time: Seconds) -> int | None:
        """Take the nearest deadline, if it is near and its envelope is due; it is offered once."""
        while self._deadlines and self._deadlines[0][0] <= chain_time + self._urgent_seconds:
            _, nonce = heapq.heappop(self._deadlines)
            if self.is_held(nonce):
                continue
            due = self._store.load_pending(self._lane, now, limit=1, after=nonce - 1)
            if due and due[0].dispatch.nonce == nonce:
                return nonce
        return None


def _read_deadline(encoding: bytes) -> int:
    """Read `deliver_before` from the head word of an encoded envelope."""
    return int.from_bytes(encoding[:32], "big") >> DELIVER_BEFORE_SHIFT & MAX_NONCE
