"""Receipts: what the Gate records of an envelope's outcome; pure encoding that trusts nobody.

    0 type hash | 32 origin u48 | 38 beneficiary (20) | 58 position u40 | 63 outcome u8 | 64 envelope id | 96 result

The type hash is keccak256("Receipt(uint256 receipt,bytes32 id,bytes32 result)"). Four words, which the EVM hashes at
the least cost; the second is also what the Gate's `Decided` event carries. An envelope starts with 0x01 and is longer,
so no preimage is both. Spec: spec/lane.md, "Receipt". Twin: contracts/Gate.vy, `_append`.
"""

import struct
from dataclasses import dataclass

from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.lane import MAX_NONCE
from comity.core.types import Address, ChainId, EnvelopeId, Hash32, Outcome

RECEIPT_TYPEHASH = keccak(b"Receipt(uint256 receipt,bytes32 id,bytes32 result)")
MAX_ORIGIN = (1 << 48) - 1
NO_RESULT = Hash32(bytes(32))
"""The result of an envelope that produced none."""

_FORMAT = struct.Struct(">32sHI20sBIB32s32s")
RECEIPT_BYTES = _FORMAT.size


class ReceiptError(Invalid):
    """Not a canonical receipt; the subclasses say why."""


class ReceiptLengthMismatch(ReceiptError):
    """The receipt is not exactly 128 bytes, a hash in it not 32, or its beneficiary not 20."""


class ReceiptTypeMismatch(ReceiptError):
    """The first word is not the type hash of a receipt."""


class OriginOutOfRange(ReceiptError):
    """The origin is zero or does not fit 48 bits."""


class OutcomeUnknown(ReceiptError):
    """The outcome is none of the five."""


class PositionOutOfRange(ReceiptError):
    """The position is zero or does not fit 40 bits."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The terminal outcome of one envelope, at one position of the lane's receipts."""

    origin: ChainId
    """Names the lane: a Gate has one from each origin."""
    outcome: Outcome
    position: int
    """In the direction of receipts, from 1; not the envelope's nonce."""
    envelope_id: EnvelopeId
    beneficiary: Address
    """Account on the origin that earned the fee (untrusted: the deliverer chose it)."""
    result: Hash32
    """keccak-256 of the reply or of the failure's reason; zero when there is none."""

    def encode(self) -> bytes:
        """Encode as 128 bytes.

        Raises: ReceiptError.
        """
        if not 1 <= self.origin <= MAX_ORIGIN:
            raise OriginOutOfRange("receipt origin", origin=self.origin)
        if not 1 <= self.position <= MAX_NONCE:
            raise PositionOutOfRange("receipt position", position=self.position)
        if self.outcome not in _OUTCOMES:
            raise OutcomeUnknown("receipt outcome", outcome=self.outcome)
        for name, size in (("envelope_id", 32), ("beneficiary", 20), ("result", 32)):
            if len(getattr(self, name)) != size:
                raise ReceiptLengthMismatch("receipt field", field=name, expected=size, actual=len(getattr(self, name)))
        origin, position = divmod(self.origin, 1 << 32), divmod(self.position, 1 << 32)
        return _FORMAT.pack(
            RECEIPT_TYPEHASH,
            *origin,
            self.beneficiary,
            *position,
            self.outcome,
            self.envelope_id,
            self.result,
        )

    @property
    def entry(self) -> Hash32:
        """What the lane's accumulator hashes in."""
        return keccak(self.encode())


def decode(encoding: bytes) -> Receipt:
    """Read a receipt; the strict inverse of `Receipt.encode`.

    Raises: ReceiptError.
    """
    if len(encoding) != RECEIPT_BYTES:
        raise ReceiptLengthMismatch("receipt length", expected=RECEIPT_BYTES, actual=len(encoding))
    fields = _FORMAT.unpack(encoding)
    typehash, origin_high, origin_low, beneficiary, position_high, position_low, outcome, envelope_id, result = fields
    if typehash != RECEIPT_TYPEHASH:
        raise ReceiptTypeMismatch("receipt type", expected=RECEIPT_TYPEHASH, actual=typehash)
    if outcome not in _OUTCOMES:
        raise OutcomeUnknown("receipt outcome", outcome=outcome)
    origin, position = origin_high << 32 | origin_low, position_high << 32 | position_low
    if origin == 0:
        raise OriginOutOfRange("receipt origin", origin=origin)
    if position == 0:
        raise PositionOutOfRange("receipt position", position=position)
    return Receipt(ChainId(origin), _OUTCOMES[outcome], position, envelope_id, beneficiary, result)


def compute_result(result: bytes) -> Hash32:
    """Compute a receipt's result from the bytes that were replied or that the failure carried."""
    return keccak(result) if result else NO_RESULT


_OUTCOMES = {int(outcome): outcome for outcome in Outcome}
