"""Deliveries, the arguments of the Gate's `deliver`: a run of entries, the entries after it, the proofs of its word.

Body: pad_length u16 | proofs_length u24 | proof_count u8 | suffix_count u16 | entry_count u16 | pad_length zero bytes
      | proofs: verifier u8, length u16, bytes each, verifiers strictly ascending; together proofs_length bytes
      | suffix entries, 32 bytes each
      | entries: length u16 and an envelope's bytes, or length 0 and a bare 32-byte entry

Trusts nobody: whether the word was ever held is for the verifiers to say.
Spec: spec/envelope.md, "Delivery". Twin: contracts/Gate.vy.
"""

import struct
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from comity.core.envelope import FIXED_BYTES, compute_id, read_nonce
from comity.core.errors import Invalid
from comity.core.lane import ACCUMULATOR_BITS, compute_word
from comity.core.policy import MAX_VERIFIERS
from comity.core.types import Accumulator, Address32, Hash32, Word

MAX_PROOFS = 8
MAX_ENTRIES = 128
MAX_SUFFIX = 256
READ_WINDOWS = (288, 512, 736, 960, 1312)
"""The Gate reads a proof or an envelope in the smallest of these windows that holds it, ending where the part ends."""
MAX_PART_BYTES = READ_WINDOWS[-1]
"""Of each envelope and of each proof."""
BODY_OFFSET = 4 + 4 * 32
"""Where the body's bytes begin in the calldata of `deliver(uint256,bytes32,bytes)`."""

_ENTRY_BYTES = 32
_HEADER = struct.Struct(">HBHBHH")
HEADER_BYTES = _HEADER.size
_U16 = struct.Struct(">H")
_PROOF_HEADER = struct.Struct(">BH")
_ZERO = Address32(bytes(32))


class DeliveryError(Invalid):
    """Not a canonical delivery; the subclasses say why."""


class DeliveryLengthMismatch(DeliveryError):
    """The body ends early or late, or a part of it is too short to be what it is."""


class DeliveryPadNotZero(DeliveryError):
    """The padding contains something."""


class DeliveryVerifiersNotAscending(DeliveryError):
    """Verifiers are out of order, repeated or not registrable."""


class DeliveryTooLarge(DeliveryError):
    """More entries, proof or envelope than the Gate takes."""


class DeliveryWithoutEnvelope(DeliveryError):
    """The run holds no envelope, so nothing would be delivered and its position is unknown."""


class DeliveryNonceMismatch(DeliveryError):
    """An envelope's nonce is not its position in the run."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A run of a lane's dispatches with what is needed to check it."""

    before: Accumulator
    """The lane's accumulator before the run."""
    beneficiary: Address32 = _ZERO
    """Account on the origin that earns the fees; zero for the caller."""
    proofs: Mapping[int, bytes] = field(default_factory=dict)
    """By the index of the verifier that it is for."""
    entries: tuple[bytes, ...] = ()
    """Each an envelope's bytes, or the bare 32-byte id of one that is not delivered here."""
    suffix: tuple[Hash32, ...] = ()
    """The entries that follow the run, up to the word."""

    def __post_init__(self) -> None:
        _validate(self)

    @property
    def word(self) -> Word:
        """The word that the run ends in, which the proofs must show to have been held.

        Raises: LaneError.
        """
        return compute_word(self.before, self.first_nonce, map(compute_entry, self.entries), self.suffix)

    @property
    def first_nonce(self) -> int:
        """The position of the run's first entry, by its first envelope."""
        index = next(i for i, entry in enumerate(self.entries) if is_envelope(entry))
        return read_nonce(self.entries[index]) - index


def is_envelope(entry: bytes) -> bool:
    """Say whether an entry of a run is an envelope's bytes rather than a bare 32-byte id."""
    return len(entry) != _ENTRY_BYTES


def compute_entry(entry: bytes) -> bytes:
    """Compute the 32 bytes that the lane hashed in for an entry of a run."""
    return compute_id(entry) if is_envelope(entry) else entry


def encode_body(delivery: Delivery, pad_length: int | None = None) -> bytes:
    """Encode the `body` argument of `deliver`, by default with as little padding as the Gate needs.

    Raises: DeliveryTooLarge.
    """
    proofs = [_PROOF_HEADER.pack(verifier, len(proof)) + proof for verifier, proof in sorted(delivery.proofs.items())]
    entries = [_U16.pack(len(entry) if is_envelope(entry) else 0) + entry for entry in delivery.entries]
    if pad_length is None:
        pad_length = _compute_pad_length(delivery)
    _validate_size("pad bytes", pad_length, 0xFFFF)
    proofs_length = sum(map(len, proofs))
    header = _HEADER.pack(
        pad_length, proofs_length >> 16, proofs_length & 0xFFFF, len(proofs), len(delivery.suffix), len(entries)
    )
    return b"".join((header, bytes(pad_length), *proofs, *delivery.suffix, *entries))


def decode_body(before: Accumulator, beneficiary: Address32, body: bytes) -> Delivery:
    """Read the arguments of `deliver` back; the strict inverse of `encode_body`, whatever the length of the padding.

    The envelopes are not decoded: only their sizes and nonces are checked.

    Raises: DeliveryError.
    """
    reader = _Reader(body)
    pad_length, high, low, proof_count, suffix_count, entry_count = _HEADER.unpack(reader.take(HEADER_BYTES))
    if any(reader.take(pad_length)):
        raise DeliveryPadNotZero("padding", pad_length=pad_length)
    _validate_size("proofs", proof_count, MAX_PROOFS)
    _validate_size("suffix entries", suffix_count, MAX_SUFFIX)
    _validate_size("entries", entry_count, MAX_ENTRIES)
    proofs = _decode_proofs(reader.take(high << 16 | low), proof_count)
    suffix = tuple(Hash32(reader.take(_ENTRY_BYTES)) for _ in range(suffix_count))
    entries = tuple(_take_entry(reader) for _ in range(entry_count))
    reader.finish()
    return Delivery(before, beneficiary, proofs, entries, suffix)


def _compute_pad_length(delivery: Delivery) -> int:
    """Compute how far the parts must be pushed back so that no window reaches before the calldata."""
    end, missing = BODY_OFFSET + HEADER_BYTES, 0
    for _, proof in sorted(delivery.proofs.items()):
        end += _PROOF_HEADER.size + len(proof)
        missing = max(missing, _window(len(proof)) - end)
    end += _ENTRY_BYTES * len(delivery.suffix)
    for entry in delivery.entries:
        end += _U16.size + len(entry)
        if is_envelope(entry):
            missing = max(missing, _window(len(entry)) - end)
    return missing


def _window(length: int) -> int:
    return READ_WINDOWS[bisect_left(READ_WINDOWS, length)]


def _decode_proofs(section: bytes, count: int) -> dict[int, bytes]:
    reader = _Reader(section)
    proofs: dict[int, bytes] = {}
    previous = -1
    for _ in range(count):
        verifier, length = _PROOF_HEADER.unpack(reader.take(_PROOF_HEADER.size))
        if verifier <= previous:
            raise DeliveryVerifiersNotAscending("verifiers", verifier=verifier, previous=previous)
        proofs[verifier] = reader.take(length)
        previous = verifier
    reader.finish()
    return proofs


def _take_entry(reader: "_Reader") -> bytes:
    length = reader.take_u16()
    if length == 0:
        return reader.take(_ENTRY_BYTES)
    if length < FIXED_BYTES:
        raise DeliveryLengthMismatch("envelope in a run is too short", least=FIXED_BYTES, actual=length)
    return reader.take(length)


class _Reader:
    """Takes a body apart from the front."""

    __slots__ = ("_body", "_offset")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._offset = 0

    def take(self, length: int) -> bytes:
        end = self._offset + length
        if end > len(self._body):
            raise DeliveryLengthMismatch("body ends early", least=end, actual=len(self._body))
        part = self._body[self._offset : end]
        self._offset = end
        return part

    def take_u16(self) -> int:
        return int.from_bytes(self.take(_U16.size), "big")

    def finish(self) -> None:
        if self._offset != len(self._body):
            raise DeliveryLengthMismatch("body goes on after its end", expected=self._offset, actual=len(self._body))


def _validate(delivery: Delivery) -> None:
    if not 0 < delivery.before < 1 << ACCUMULATOR_BITS:
        raise DeliveryLengthMismatch("accumulator before the run", before=delivery.before)
    if len(delivery.beneficiary) != 32:
        raise DeliveryLengthMismatch("beneficiary", expected=32, actual=len(delivery.beneficiary))
    _validate_size("proofs", len(delivery.proofs), MAX_PROOFS)
    for verifier, proof in delivery.proofs.items():
        if not 0 <= verifier < MAX_VERIFIERS:
            raise DeliveryVerifiersNotAscending("verifier index", verifier=verifier, most=MAX_VERIFIERS - 1)
        _validate_size("proof bytes", len(proof), MAX_PART_BYTES)
    _validate_size("suffix entries", len(delivery.suffix), MAX_SUFFIX)
    for entry in delivery.suffix:
        if len(entry) != _ENTRY_BYTES:
            raise DeliveryLengthMismatch("suffix entry", expected=_ENTRY_BYTES, actual=len(entry))
    _validate_entries(delivery)


def _validate_entries(delivery: Delivery) -> None:
    _validate_size("entries", len(delivery.entries), MAX_ENTRIES)
    first_nonce: int | None = None
    for index, entry in enumerate(delivery.entries):
        if not is_envelope(entry):
            continue
        if len(entry) < FIXED_BYTES:
            raise DeliveryLengthMismatch("envelope in a run is too short", least=FIXED_BYTES, actual=len(entry))
        _validate_size("envelope bytes", len(entry), MAX_PART_BYTES)
        position = read_nonce(entry) - index
        first_nonce = position if first_nonce is None else first_nonce
        if position != first_nonce:
            raise DeliveryNonceMismatch("nonce in the run", expected=first_nonce + index, actual=position + index)
    if first_nonce is None:
        raise DeliveryWithoutEnvelope("no envelope in the run", entries=len(delivery.entries))
    if first_nonce < 1:
        raise DeliveryNonceMismatch("the run would start before nonce 1", first_nonce=first_nonce)


def _validate_size(what: str, actual: int, most: int) -> None:
    if actual > most:
        raise DeliveryTooLarge(f"too many {what}", most=most, actual=actual)
