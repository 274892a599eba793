"""Receipts: what the Gate records of an envelope's outcome; pure encoding that trusts nobody.

    0 tag 0x81 | 1 zeros | 26 position u40 | 31 outcome u8 | 32 envelope id | 64 beneficiary | 96 result    (128 bytes)

Four words, which the EVM hashes at the least cost. An envelope starts with 0x01, so no preimage is both.
Spec: spec/lane.md, "Receipt". Twin: contracts/Gate.vy, `_append`.
"""

import struct
from dataclasses import dataclass

from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.lane import MAX_NONCE
from comity.core.types import Address32, EnvelopeId, Hash32, Outcome

RECEIPT_TAG = 0x81
NO_RESULT = Hash32(bytes(32))
"""The result of an envelope that produced none."""

_FORMAT = struct.Struct(">B25sBIB32s32s32s")
_ZEROS = bytes(25)
RECEIPT_BYTES = _FORMAT.size


class ReceiptError(Invalid):
    """Not a canonical receipt; the subclasses say why."""


class ReceiptLengthMismatch(ReceiptError):
    """The receipt is not exactly 128 bytes, or a hash in it not 32."""


class ReceiptTagMismatch(ReceiptError):
    """The first byte is not that of a receipt of this version, or the zeros after it are not."""


class OutcomeUnknown(ReceiptError):
    """The outcome is none of the five."""


class PositionOutOfRange(ReceiptError):
    """The position is zero or does not fit 40 bits."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The terminal outcome of one envelope, at one position of the lane's receipts."""

    outcome: Outcome
    position: int
    """In the direction of receipts, from 1; not the envelope's nonce."""
    envelope_id: EnvelopeId
    beneficiary: Address32
    """Account on the origin that earned the fee (untrusted: the deliverer chose it)."""
    result: Hash32
    """keccak-256 of the reply or of the failure's reason; zero when there is none."""

    def encode(self) -> bytes:
        """Encode as 128 bytes.

        Raises: ReceiptError.
        """
        if not 1 <= self.position <= MAX_NONCE:
            raise PositionOutOfRange("receipt position", position=self.position)
        if self.outcome not in _OUTCOMES:
            raise OutcomeUnknown("receipt outcome", outcome=self.outcome)
        for name in ("envelope_id", "beneficiary", "result"):
            if len(getattr(self, name)) != 32:
                raise ReceiptLengthMismatch("receipt field", field=name, expected=32, actual=len(getattr(self, name)))
        high, low = self.position >> 32, self.position & 0xFFFFFFFF
        return _FORMAT.pack(
            RECEIPT_TAG, _ZEROS, high, low, self.outcome, self.envelope_id, self.beneficiary, self.result
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
    tag, zeros, high, low, outcome, envelope_id, beneficiary, result = _FORMAT.unpack(encoding)
    if tag != RECEIPT_TAG or zeros != _ZEROS:
        raise ReceiptTagMismatch("receipt tag", expected=RECEIPT_TAG, actual=encoding[:26])
    if outcome not in _OUTCOMES:
        raise OutcomeUnknown("receipt outcome", outcome=outcome)
    position = high << 32 | low
    if position == 0:
        raise PositionOutOfRange("receipt position", position=position)
    return Receipt(_OUTCOMES[outcome], position, envelope_id, beneficiary, result)


def compute_result(result: bytes) -> Hash32:
    """Compute a receipt's result from the bytes that were replied or that the failure carried."""
    return keccak(result) if result else NO_RESULT


_OUTCOMES = {int(outcome): outcome for outcome in Outcome}
