"""Turns the logs of a Router and of a Gate into rows, and rebuilds both accumulators of the lane from them.

Trusts a provider for availability only: the emitter is compared, an envelope is hashed again, entries are put in
order of their nonce, and what was rebuilt is compared with the word that the contract holds.
Spec section 2; twins: contracts/Router.vy and contracts/Gate.vy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from comity.chain.bindings import (
    DECIDED,
    DISPATCHED,
    FAILED,
    REPLIED,
    Decided,
    Dispatched,
    decode_decided,
    decode_dispatched,
    decode_result,
)
from comity.chain.codec import Log
from comity.core.envelope import compute_id, read_nonce
from comity.core.errors import Invalid, NotReady
from comity.core.lane import ACCUMULATOR_BITS, compute_seed, extend, pack_word
from comity.core.receipt import NO_RESULT, Receipt, compute_result
from comity.core.types import Accumulator, Address, Direction, Hash32, Lane, Seconds, Word
from comity.store.port import DispatchRecord, LaneRecord, ReceiptRecord, Store


class WordMismatch(Invalid):
    """The contract holds another word than its logs add up to: the lane halts."""


class LogsMissing(NotReady):
    """A number is missing between the entries stored and those given: ask again, or ask another provider."""


class Index(Protocol):
    """One direction of a lane, as its logs tell it."""

    direction: Direction
    lane: Lane
    contract: Address
    """Which emits the logs and holds the word."""

    @property
    def word(self) -> Word:
        """What the contract must hold after the logs indexed so far."""
        ...

    @property
    def block_number(self) -> int:
        """Of the last entry; 0 when there is none."""
        ...

    def index(self, logs: Sequence[Log], now: Seconds) -> int:
        """Store what the logs say, in one commit, and return how many entries were new."""
        ...

    def revert(self, block_number: int) -> int:
        """Forget what came above a block and return how many entries that were."""
        ...


def verify_word(index: Index, held: Word) -> None:
    """Compare the rebuilt word with the one that the contract held at the end of the same block.

    Raises:
        LogsMissing: entries are missing at the end.
        WordMismatch: the logs and the state contradict each other.
    """
    if held == index.word or (held == 0 and index.word >> ACCUMULATOR_BITS == 0):
        return  # a lane that is not open yet has no entries
    nonce, indexed = held >> ACCUMULATOR_BITS, index.word >> ACCUMULATOR_BITS
    if nonce > indexed:
        raise LogsMissing("the newest logs are missing", indexed=indexed, held=nonce)
    raise WordMismatch(
        "the contract's word is not what its logs add up to",
        next_step="find the lying provider, move the store away and start again",
        direction=index.direction.name,
        rebuilt=hex(index.word),
        held=hex(held),
    )


@dataclass(frozen=True, slots=True)
class _Head:
    """The last entry stored, kept so as not to ask the store for each batch."""

    nonce: int
    accumulator: Accumulator
    block_number: int = 0


class DispatchIndex:
    """Envelopes that the Router dispatched on one lane."""

    direction = Direction.DISPATCHES

    def __init__(self, store: Store, lane: LaneRecord) -> None:
        self._store = store
        self.lane = lane.lane
        self.contract = Address(lane.router[12:])
        self._head = self._load_head()

    @property
    def word(self) -> Word:
        return pack_word(self._head.nonce, self._head.accumulator)

    @property
    def block_number(self) -> int:
        return self._head.block_number

    def index(self, logs: Sequence[Log], now: Seconds) -> int:
        """Raises: Invalid for an envelope that is not its id; LogsMissing for a gap."""
        emitted = [(decode_dispatched(log), log) for log in _select(logs, self.contract, DISPATCHED)]
        found = [(_read_nonce(event), event, log) for event, log in emitted if event.lane == self.lane]
        rows: list[DispatchRecord] = []
        head = self._head
        for nonce, event, log in sorted(found, key=lambda entry: entry[0]):
            if nonce <= head.nonce:
                continue
            _expect_next(nonce, head.nonce)
            head = _Head(nonce, extend(head.accumulator, event.id), log.block_number)
            rows.append(self._build(event, log, head, now))
        fresh = self._store.append_dispatches(self.lane, rows) if rows else 0
        self._head = head
        return fresh

    def revert(self, block_number: int) -> int:
        gone = self._store.revert_dispatches(self.lane, block_number)
        self._head = self._load_head()
        return gone

    def _build(self, event: Dispatched, log: Log, head: _Head, now: Seconds) -> DispatchRecord:
        return DispatchRecord(
            lane=self.lane,
            nonce=head.nonce,
            id=event.id,
            envelope=event.envelope,
            accumulator=head.accumulator,
            block_number=log.block_number,
            block_hash=log.block_hash,
            tx_hash=log.transaction_hash,
            seen_at=now,
        )

    def _load_head(self) -> _Head:
        nonce = self._store.load_dispatch_head(self.lane)
        if nonce == 0:
            return _Head(0, compute_seed(self.lane, self.direction))
        [last] = self._store.load_dispatches(self.lane, nonce, nonce)
        return _Head(nonce, last.accumulator, last.block_number)


class ReceiptIndex:
    """Receipts that the Gate recorded on one lane, whoever delivered."""

    direction = Direction.RECEIPTS

    def __init__(self, store: Store, lane: LaneRecord) -> None:
        self._store = store
        self.lane = lane.lane
        self._origin = lane.origin
        self.contract = Address(lane.gate[12:])
        self._head = self._load_head()

    @property
    def word(self) -> Word:
        return pack_word(self._head.nonce, self._head.accumulator)

    @property
    def block_number(self) -> int:
        return self._head.block_number

    def index(self, logs: Sequence[Log], now: Seconds) -> int:
        """Raises: Invalid for a log of another layout; LogsMissing for a gap."""
        results: dict[tuple[bytes, bytes], Hash32] = {
            (log.transaction_hash, log.topics[1]): compute_result(decode_result(log).content)
            for log in _select(logs, self.contract, REPLIED, FAILED)
        }
        decided = [(decode_decided(log), log) for log in _select(logs, self.contract, DECIDED)]
        rows: list[ReceiptRecord] = []
        head = self._head
        for event, log in sorted(decided, key=lambda pair: pair[0].position):
            if event.origin != self._origin or event.position <= head.nonce:
                continue
            _expect_next(event.position, head.nonce)
            result = results.get((log.transaction_hash, event.id), NO_RESULT)
            head = _Head(
                event.position, extend(head.accumulator, _build_receipt(event, result).entry), log.block_number
            )
            rows.append(self._build(event, log, result, head.accumulator))
        fresh = self._store.append_receipts(self.lane, rows) if rows else 0
        self._head = head
        return fresh

    def revert(self, block_number: int) -> int:
        gone = self._store.revert_receipts(self.lane, block_number)
        self._head = self._load_head()
        return gone

    def _build(self, event: Decided, log: Log, result: Hash32, accumulator: Accumulator) -> ReceiptRecord:
        return ReceiptRecord(
            lane=self.lane,
            position=event.position,
            envelope_id=event.id,
            outcome=event.outcome,
            beneficiary=event.beneficiary,
            result=result,
            accumulator=accumulator,
            block_number=log.block_number,
            block_hash=log.block_hash,
            tx_hash=log.transaction_hash,
        )

    def _load_head(self) -> _Head:
        position = self._store.load_receipt_head(self.lane)
        if position == 0:
            return _Head(0, compute_seed(self.lane, self.direction))
        [last] = self._store.load_receipts(self.lane, position, position)
        return _Head(position, last.accumulator, last.block_number)


def _build_receipt(event: Decided, result: Hash32) -> Receipt:
    return Receipt(
        origin=event.origin,
        outcome=event.outcome,
        position=event.position,
        envelope_id=event.id,
        beneficiary=Address(event.beneficiary[12:]),
        result=result,
    )


def _select(logs: Iterable[Log], contract: Address, *topics: Hash32) -> list[Log]:
    """Keep what this contract itself emitted: anybody can emit the same bytes from elsewhere."""
    return [log for log in logs if log.address == contract and log.topics and log.topics[0] in topics]


def _read_nonce(event: Dispatched) -> int:
    """Read an envelope's nonce, once it is known to be the one whose id was announced."""
    computed = compute_id(event.envelope)
    if computed != event.id:
        raise Invalid("the envelope is not its id's", announced=event.id, computed=computed)
    return read_nonce(event.envelope)


def _expect_next(nonce: int, head: int) -> None:
    if nonce != head + 1:
        raise LogsMissing("logs are missing", expected=head + 1, found=nonce)
