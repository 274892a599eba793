"""The receipt's encoding is canonical, and never an envelope's."""

from dataclasses import replace

import pytest
from core_strategies import envelopes, receipts
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core import envelope, receipt
from comity.core.receipt import Receipt, decode
from comity.core.types import Outcome

EXECUTED = Receipt(7, Outcome.EXECUTED, 1, b"\1" * 32, b"\2" * 20, b"\3" * 32)


@given(receipts)
def test_decode_inverts_encode(fields):
    assert len(fields.encode()) == receipt.RECEIPT_BYTES == 128
    assert decode(fields.encode()) == fields


@settings(max_examples=30)
@given(receipts, st.integers(1, 255))
def test_any_changed_byte_is_refused_or_seen(fields, change):
    encoding = fields.encode()
    for offset in range(len(encoding)):
        altered = encoding[:offset] + bytes([encoding[offset] ^ change]) + encoding[offset + 1 :]
        try:
            other = decode(altered)
        except receipt.ReceiptError:
            continue
        assert other.encode() == altered
        assert other.entry != fields.entry


@given(receipts, envelopes())
def test_no_bytes_are_both_a_receipt_and_an_envelope(fields, sent):
    with pytest.raises(envelope.EnvelopeError):
        envelope.decode(fields.encode())
    with pytest.raises(receipt.ReceiptError):
        decode(sent.encode())
    assert fields.encode()[0] != sent.encode()[0]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"position": 0}, receipt.PositionOutOfRange),
        ({"position": 1 << 40}, receipt.PositionOutOfRange),
        ({"outcome": 6}, receipt.OutcomeUnknown),
        ({"envelope_id": b"\1" * 31}, receipt.ReceiptLengthMismatch),
        ({"beneficiary": b"\1" * 32}, receipt.ReceiptLengthMismatch),
        ({"origin": 0}, receipt.OriginOutOfRange),
        ({"origin": 1 << 48}, receipt.OriginOutOfRange),
        ({"result": b""}, receipt.ReceiptLengthMismatch),
    ],
)
def test_encode_refuses_what_decode_would_refuse(change, error):
    with pytest.raises(error):
        replace(EXECUTED, **change).encode()
