"""What an agent remembers, as a port: any backend that passes tests/unit/store may stand behind it.

Trusts nobody: rows are what the chain said, and every one can be rebuilt from the chain, except the attested words,
the halts and the signed transactions, which are promises this agent made. Spec: spec/lane.md. Twin: sqlite.py.

The API is synchronous and belongs to one thread. Nothing is loaded whole: ranges stream in pages, so memory does not
grow with the backlog. `transaction()` joins calls into one commit; never await inside it.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from comity.core.types import (
    Accumulator,
    Address,
    Address32,
    ChainId,
    Direction,
    EnvelopeId,
    Hash32,
    Lane,
    Outcome,
    Seconds,
    Word,
)


class DeliveryState(IntEnum):
    """What is left to do for an envelope."""

    PENDING = 0
    DECIDED = 1
    DEAD = 2


class TransactionState(IntEnum):
    """How far a signed transaction got; below FINAL it is open."""

    SIGNED = 0
    BROADCAST = 1
    MINED = 2
    FINAL = 3
    REPLACED = 4
    DROPPED = 5


@dataclass(frozen=True, slots=True)
class LaneRecord:
    """A lane and the four things its id is the hash of."""

    lane: Lane
    origin: ChainId
    router: Address32
    destination: ChainId
    gate: Address32


@dataclass(frozen=True, slots=True)
class DispatchRecord:
    """An envelope the origin's Router dispatched."""

    lane: Lane
    nonce: int
    id: EnvelopeId
    envelope: bytes
    accumulator: Accumulator
    """After this entry."""
    block_number: int
    block_hash: Hash32
    tx_hash: Hash32
    seen_at: Seconds
    """Unix seconds on this machine's clock."""


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """An envelope, and what became of its delivery."""

    dispatch: DispatchRecord
    state: DeliveryState
    outcome: Outcome | None
    """Of the receipt; set exactly when DECIDED."""
    cause: str | None
    """Why it was deferred, or why it is dead."""
    attempts: int
    next_attempt_at: Seconds
    """Unix seconds on this machine's clock; 0 = at once."""


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """A receipt the destination's Gate decided."""

    lane: Lane
    position: int
    envelope_id: EnvelopeId
    outcome: Outcome
    beneficiary: Address32
    result: Hash32
    accumulator: Accumulator
    """After this entry, in the lane's receipts direction."""
    block_number: int
    block_hash: Hash32
    tx_hash: Hash32


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A transaction, saved before it is broadcast; a replacement of the same nonce is a row of its own."""

    hash: Hash32
    chain: ChainId
    sender: Address
    nonce: int
    raw: bytes
    purpose: str
    """What it is for, in the words of the agent that signed it."""
    state: TransactionState = TransactionState.SIGNED
    block_number: int | None = None


@dataclass(frozen=True, slots=True)
class AttestedWord:
    """A word this attestor has promised never to contradict."""

    lane: Lane
    direction: Direction
    nonce: int
    word: Word
    height: int
    """Of the block it was proved in."""
    block_hash: Hash32
    snapshot: bool = False
    """It stood in a snapshot there, not in the word itself."""


@dataclass(frozen=True, slots=True)
class AttestationRecord:
    """A signature over an attested word, for one verifier and one set."""

    attested: AttestedWord
    verify_chain: ChainId
    """The chain of the verifier that checks it."""
    verifier: Address
    set_id: int
    epoch: int
    signer: Address
    signature: bytes
    """64 bytes: r, then y parity and s (EIP-2098)."""


@dataclass(frozen=True, slots=True)
class HaltRecord:
    """A direction of a lane for which this attestor stopped signing, and why."""

    lane: Lane
    direction: Direction
    reason: str
    evidence: str
    """JSON: the words and blocks that disagree."""
    halted_at: Seconds


class Store(Protocol):
    """Everything an agent keeps.

    Raises:
        Invalid: a row contradicts a stored one.
        Unavailable: the database is locked, full, read-only or damaged.
    """

    def close(self) -> None: ...

    def transaction(self) -> AbstractContextManager[None]:
        """Commit everything inside together, or nothing; nested uses join the outermost."""
        ...

    def load_cursor(self, name: str) -> bytes | None: ...
    def save_cursor(self, name: str, value: bytes) -> None: ...

    def save_lane(self, record: LaneRecord) -> None: ...
    def load_lanes(self) -> list[LaneRecord]: ...

    def append_dispatches(self, lane: Lane, records: Sequence[DispatchRecord]) -> int:
        """Append consecutive nonces and return how many were new; rows already stored are compared, not written."""
        ...

    def load_dispatch_head(self, lane: Lane) -> int:
        """Return the highest stored nonce; 0 when none."""
        ...

    def load_dispatch(self, lane: Lane, nonce: int) -> DeliveryRecord | None: ...
    def load_dispatch_by_id(self, envelope_id: EnvelopeId) -> DeliveryRecord | None: ...

    def load_dispatches(self, lane: Lane, first: int, last: int) -> Iterator[DispatchRecord]:
        """Stream the nonces from `first` to `last`, both included, in order."""
        ...

    def revert_dispatches(self, lane: Lane, block_number: int) -> int:
        """Forget what was dispatched above `block_number` of the origin; return how many."""
        ...

    def load_pending(self, lane: Lane, now: Seconds, *, limit: int, after: int = 0) -> list[DeliveryRecord]:
        """Load undecided envelopes that are due, with a nonce above `after`, lowest nonce first."""
        ...

    def load_dead(self, lane: Lane, *, limit: int, after: int = 0) -> list[DeliveryRecord]: ...

    def load_backlog(self, lane: Lane) -> tuple[int, DispatchRecord | None]:
        """Return how many envelopes are pending, and the oldest."""
        ...

    def defer_envelopes(
        self, lane: Lane, nonces: Iterable[int], cause: str, next_attempt_at: Seconds, *, costs_attempt: bool
    ) -> None:
        """Put pending envelopes off; NotReady costs no attempt."""
        ...

    def bury_envelope(self, lane: Lane, nonce: int, reason: str) -> None:
        """Give a pending envelope up; it stays listed until revived or decided."""
        ...

    def revive_envelope(self, lane: Lane, nonce: int) -> None: ...

    def append_receipts(self, lane: Lane, records: Sequence[ReceiptRecord]) -> int:
        """Append consecutive positions, decide their envelopes, and return how many were new."""
        ...

    def load_receipt_head(self, lane: Lane) -> int: ...

    def load_receipt_of(self, lane: Lane, envelope_id: EnvelopeId) -> ReceiptRecord | None:
        """Load the first receipt of an envelope: its outcome."""
        ...

    def load_receipts(self, lane: Lane, first: int, last: int) -> Iterator[ReceiptRecord]: ...

    def revert_receipts(self, lane: Lane, block_number: int) -> int:
        """Forget what was decided above `block_number` of the destination; those envelopes are pending again."""
        ...

    def save_transaction(self, record: TransactionRecord) -> None:
        """Make a signed transaction durable; must return before it is broadcast."""
        ...

    def set_transaction_state(
        self, tx_hash: Hash32, state: TransactionState, block_number: int | None = None
    ) -> None: ...

    def load_transaction(self, tx_hash: Hash32) -> TransactionRecord | None: ...

    def load_open_transactions(self, chain: ChainId, sender: Address) -> list[TransactionRecord]:
        """Load what is signed but not final, in order of nonce, replacements in order of signing."""
        ...

    def load_highest_nonce(self, chain: ChainId, sender: Address) -> int | None: ...

    def reserve_word(self, attested: AttestedWord) -> None:
        """Promise durably never to sign another word of this nonce or height.

        Raises:
            Invalid: another word was promised for this nonce or this height, or the nonce would go backwards.
        """
        ...

    def load_attested_word(self, lane: Lane, direction: Direction, nonce: int) -> AttestedWord | None: ...

    def load_highest_attested_word(self, lane: Lane, direction: Direction) -> AttestedWord | None:
        """Load the one with the highest nonce; snapshots do not count."""
        ...

    def load_attested_words(
        self, lane: Lane, direction: Direction, *, from_height: int, limit: int
    ) -> list[AttestedWord]:
        """Load the words attested at `from_height` or above, highest nonce first."""
        ...

    def save_attestation(self, record: AttestationRecord) -> None:
        """Make a signature durable; its word must have been reserved. Only saved signatures are published."""
        ...

    def load_attestations(
        self,
        lane: Lane,
        direction: Direction,
        *,
        min_nonce: int,
        max_nonce: int,
        limit: int,
        oldest_first: bool = False,
    ) -> list[AttestationRecord]:
        """Load attestations of the nonces from `min_nonce` to `max_nonce`, both included, highest nonce first."""
        ...

    def save_halt(self, record: HaltRecord) -> None:
        """Record why signing stopped; the first reason stays."""
        ...

    def load_halts(self) -> list[HaltRecord]: ...

    def clear_halt(self, lane: Lane, direction: Direction) -> None:
        """Forget a halt: an operator's decision, never an agent's."""
        ...
