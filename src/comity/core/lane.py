"""Lanes: the id, the two accumulators and their words; pure hashing that trusts nobody.

    lane = keccak256(abi.encode(uint256 origin, bytes32 router, uint256 destination, bytes32 gate))
    seed = low 216 bits of keccak256(abi.encode(bytes32 lane, uint256 direction))
    accumulator' = low 216 bits of keccak256(accumulator as 32 bytes ‖ entry as 32 bytes)
    word = nonce << 216 | accumulator

Spec: spec/lane.md. Twin: contracts/core/lane.vy.
"""

from collections.abc import Iterable

from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.types import Accumulator, Address32, ChainId, Direction, Lane, Word

SNAPSHOT_INTERVAL = 64
"""Every word whose nonce is a multiple of this is kept, so no proof needs more entries after its run."""

NONCE_BITS = 40
ACCUMULATOR_BITS = 216
MAX_NONCE = (1 << NONCE_BITS) - 1

_ACCUMULATOR_BYTES = ACCUMULATOR_BITS // 8
_ACCUMULATOR_MASK = (1 << ACCUMULATOR_BITS) - 1
_SKIPPED = 32 - _ACCUMULATOR_BYTES
_PADDING = bytes(_SKIPPED)
_ENTRY_BYTES = 32


class LaneError(Invalid):
    """Not a value that a lane can hold; the subclasses say why."""


class NonceOutOfRange(LaneError):
    """The nonce does not fit 40 bits, or would grow past them."""


class AccumulatorOutOfRange(LaneError):
    """The accumulator is zero or wider than 216 bits; a lane that was never opened has a zero word."""


class EntryLengthMismatch(LaneError):
    """An entry is not 32 bytes."""


class RunEmpty(LaneError):
    """A run without entries proves nothing."""


class LaneFieldInvalid(LaneError):
    """A part of the lane's id is not of its type."""


def compute_lane(origin: ChainId, router: Address32, destination: ChainId, gate: Address32) -> Lane:
    """Compute the id of the lane from the Router on `origin` to the Gate on `destination`.

    Raises: LaneFieldInvalid.
    """
    for name, chain in (("origin", origin), ("destination", destination)):
        if not 0 < chain < 1 << 256:
            raise LaneFieldInvalid("chain id", field=name, value=chain)
    for name, address in (("router", router), ("gate", gate)):
        if len(address) != 32 or not any(address):
            raise LaneFieldInvalid("lane address must be 32 bytes and not zero", field=name, value=address)
    return Lane(keccak(origin.to_bytes(32, "big") + router + destination.to_bytes(32, "big") + gate))


def compute_seed(lane: Lane, direction: Direction) -> Accumulator:
    """Compute the accumulator at which a direction of an opened lane starts, at nonce 0."""
    return Accumulator(int.from_bytes(keccak(lane + direction.to_bytes(32, "big"))[_SKIPPED:], "big"))


def extend(accumulator: Accumulator, entry: bytes) -> Accumulator:
    """Hash one entry (an envelope id or a receipt's entry) into the accumulator.

    Raises: AccumulatorOutOfRange, EntryLengthMismatch.
    """
    _validate_accumulator(accumulator)
    return _fold(accumulator, (entry,))


def pack_word(nonce: int, accumulator: Accumulator) -> Word:
    """Pack a nonce and an accumulator into a word.

    Raises: NonceOutOfRange, AccumulatorOutOfRange.
    """
    if not 0 <= nonce <= MAX_NONCE:
        raise NonceOutOfRange("nonce does not fit 40 bits", nonce=nonce)
    _validate_accumulator(accumulator)
    return Word(nonce << ACCUMULATOR_BITS | accumulator)


def unpack_word(word: Word) -> tuple[int, Accumulator]:
    """Split a word into its nonce and accumulator; the zero word of an unopened lane is refused.

    Raises: NonceOutOfRange, AccumulatorOutOfRange.
    """
    nonce, accumulator = word >> ACCUMULATOR_BITS, Accumulator(word & _ACCUMULATOR_MASK)
    if not 0 <= nonce <= MAX_NONCE:
        raise NonceOutOfRange("nonce does not fit 40 bits", nonce=nonce)
    _validate_accumulator(accumulator)
    return nonce, accumulator


def extend_word(word: Word, entry: bytes) -> Word:
    """Append one entry: the next nonce and the accumulator that contains the entry.

    Raises: LaneError; NonceOutOfRange when the lane is full.
    """
    nonce, accumulator = unpack_word(word)
    return pack_word(nonce + 1, extend(accumulator, entry))


def compute_word(before: Accumulator, first_nonce: int, entries: Iterable[bytes], suffix: Iterable[bytes] = ()) -> Word:
    """Hash a run forward from the accumulator before it, over its entries and those that follow, to the word.

    `first_nonce` is the position of the first entry, at least 1.

    Raises: LaneError; RunEmpty when there are no entries.
    """
    _validate_accumulator(before)
    run, after = tuple(entries), tuple(suffix)
    if not run:
        raise RunEmpty("run has no entries", suffix=len(after))
    if first_nonce < 1:
        raise NonceOutOfRange("positions start at 1", nonce=first_nonce)
    return pack_word(first_nonce + len(run) + len(after) - 1, _fold(before, run + after))


def _fold(accumulator: Accumulator, entries: Iterable[bytes]) -> Accumulator:
    state = accumulator.to_bytes(32, "big")
    for entry in entries:
        if len(entry) != _ENTRY_BYTES:
            raise EntryLengthMismatch("entry length", expected=_ENTRY_BYTES, actual=len(entry))
        state = _PADDING + keccak(state + entry)[_SKIPPED:]
    return Accumulator(int.from_bytes(state, "big"))


def _validate_accumulator(accumulator: Accumulator) -> None:
    if not 0 < accumulator <= _ACCUMULATOR_MASK:
        raise AccumulatorOutOfRange("accumulator is zero or wider than 216 bits", accumulator=accumulator)
