"""The envelope's encoding is canonical and injective, whatever the sender chose."""

from dataclasses import fields, replace

import pytest
from core_strategies import envelopes
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core import envelope
from comity.core.envelope import Condition, Envelope, EnvelopeError, Flags, compute_id, decode

PLAIN = Envelope(
    lane=b"\1" * 32,
    nonce=7,
    flags=Flags.RETRYABLE,
    sender=b"\2" * 32,
    receiver=b"\3" * 32,
    deliver_before=100,
    gas_limit=1,
    policy=1,
    return_policy=1,
    refund_to=b"\4" * 32,
    payload=b"payload",
)


@given(envelopes())
def test_decode_inverts_encode(fields_):
    encoding = fields_.encode()
    assert decode(encoding) == fields_
    assert fields_.id == compute_id(encoding)
    assert envelope.read_nonce(encoding) == fields_.nonce


@settings(max_examples=30)
@given(envelopes(), st.integers(1, 255))
def test_any_changed_byte_is_refused_or_seen(fields_, change):
    """What still decodes re-encodes to itself: no byte is ignored."""
    encoding = fields_.encode()
    for offset in range(len(encoding)):
        altered = encoding[:offset] + bytes([encoding[offset] ^ change]) + encoding[offset + 1 :]
        try:
            other = decode(altered)
        except EnvelopeError:
            continue
        assert other != fields_
        assert other.encode() == altered
        assert other.id != fields_.id


@given(envelopes(), st.data())
def test_any_shorter_or_longer_encoding_is_refused(fields_, data):
    encoding = fields_.encode()
    cut = data.draw(st.integers(0, len(encoding) - 1))
    with pytest.raises(envelope.EnvelopeLengthMismatch):
        decode(encoding[:cut])
    with pytest.raises(envelope.EnvelopeLengthMismatch):
        decode(encoding + data.draw(st.binary(min_size=1, max_size=40)))


@given(envelopes(), envelopes())
def test_equal_ids_mean_equal_fields(one, other):
    assert (one.id == other.id) == (one == other)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_shifting_bytes_between_neighbouring_fields_changes_the_id(joined, data):
    """Calldata, the next condition's calldata and the payload hold the same bytes, split elsewhere."""
    cuts = [sorted(data.draw(st.integers(0, len(joined))) for _ in range(2)) for _ in range(2)]
    one, other = (
        replace(
            PLAIN,
            conditions=(Condition(b"\5" * 32, 0, 1, joined[:a]), Condition(b"\5" * 32, 0, 1, joined[a:b])),
            payload=joined[b:],
        )
        for a, b in cuts
    )
    assert (one.id == other.id) == (cuts[0] == cuts[1])


def test_the_fixed_part_has_246_bytes():
    assert envelope.FIXED_BYTES == 246
    assert len(replace(PLAIN, payload=b"").encode()) == 246


def test_the_largest_envelope_is_as_long_as_its_bound():
    asset = envelope.Asset(bytes(32), 1, bytes(32), 1)
    condition = Condition(b"\5" * 32, 0, 1, bytes(1024))
    largest = replace(PLAIN, assets=(asset,) * 4, conditions=(condition,) * 4, payload=bytes(16384))
    assert len(largest.encode()) == envelope.MAX_ENVELOPE_BYTES
    assert decode(largest.encode()) == largest


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"nonce": 0}, envelope.EnvelopeNonceOutOfRange),
        ({"nonce": 1 << 40}, envelope.EnvelopeFieldTooWide),
        ({"deliver_before": 1 << 40}, envelope.EnvelopeFieldTooWide),
        ({"gas_limit": 1 << 32}, envelope.EnvelopeFieldTooWide),
        ({"gas_limit": -1}, envelope.EnvelopeFieldTooWide),
        ({"fee": 1 << 128}, envelope.EnvelopeFieldTooWide),
        ({"depends_on": 7}, envelope.EnvelopeDependencyNotEarlier),
        ({"deliver_after": 101}, envelope.EnvelopeWindowEmpty),
        ({"flags": Flags(128)}, envelope.EnvelopeFlagsUnknown),
        ({"flags": Flags.CALLBACK}, envelope.EnvelopeCallbackMismatch),
        ({"callback_gas": 1}, envelope.EnvelopeCallbackMismatch),
        ({"failed_share_bps": 10_001}, envelope.EnvelopeShareTooLarge),
        ({"policy": 0}, envelope.EnvelopePolicyIllFormed),
        ({"return_policy": 1 << 256}, envelope.EnvelopePolicyIllFormed),
        ({"receiver": bytes(32)}, envelope.EnvelopeFieldZero),
        ({"refund_to": PLAIN.sender}, envelope.EnvelopeRefundToSender),
        ({"refund_to": b"\4" * 20}, envelope.EnvelopeFieldTooWide),
        ({"receiver": b"\3" * 20}, envelope.EnvelopeFieldTooWide),
        ({"payload": bytes(16385)}, envelope.EnvelopeTooLarge),
        ({"assets": (envelope.Asset(bytes(20), 1, bytes(32), 1),)}, envelope.EnvelopeFieldTooWide),
        ({"assets": (envelope.Asset(bytes(32), 1 << 256, bytes(32), 1),)}, envelope.EnvelopeFieldTooWide),
        ({"conditions": (Condition(b"\5" * 20, 0, 1),)}, envelope.EnvelopeFieldTooWide),
        ({"conditions": (Condition(b"\5" * 32, 0, 1 << 256),)}, envelope.EnvelopeFieldTooWide),
        ({"conditions": (Condition(b"\5" * 32, 2, 1),)}, envelope.EnvelopeConditionEmpty),
    ],
)
def test_encode_refuses_what_decode_would_refuse(change, error):
    with pytest.raises(error) as raised:
        replace(PLAIN, **change).encode()
    assert raised.value.values


@given(envelopes())
def test_terms_are_the_head_without_what_the_router_fills_in(fields_):
    head = int.from_bytes(fields_.encode()[:32], "big")
    filled = 1 << 248 | fields_.nonce << 200 | len(fields_.payload)
    assert envelope.compute_terms(fields_) == head - filled


@pytest.mark.parametrize("change", [{"gas_limit": 1 << 32}, {"gas_limit": -1}, {"callback_gas": 1 << 32}])
def test_router_arguments_are_refused_where_a_field_would_spill_into_its_neighbour(change):
    for compute in (envelope.compute_terms, envelope.compute_settlement):
        with pytest.raises(envelope.EnvelopeFieldTooWide):
            compute(replace(PLAIN, **change))


def test_nonce_is_not_read_from_what_is_too_short():
    with pytest.raises(envelope.EnvelopeLengthMismatch):
        envelope.read_nonce(PLAIN.encode()[:245])


def test_every_field_of_the_envelope_changes_the_id():
    asset = envelope.Asset(b"\6" * 32, 1, b"\7" * 32, 2)
    base = replace(
        PLAIN, flags=Flags.CALLBACK, callback_gas=5, assets=(asset,), conditions=(Condition(b"\5" * 32, 0, 1),)
    )
    changed = {
        "flags": Flags.CALLBACK | Flags.RETRYABLE,
        "assets": (replace(asset, amount_out=3),),
        "conditions": (Condition(b"\5" * 32, 0, 2),),
        "payload": b"other",
        **{name: b"\x99" * 32 for name in ("lane", "sender", "receiver", "refund_to")},
        **{name: 2 for name in ("policy", "return_policy", "fee", "failed_share_bps", "callback_gas", "gas_limit")},
        **{"nonce": 8, "deliver_after": 1, "deliver_before": 101, "depends_on": 6},
    }
    assert set(changed) == {field.name for field in fields(Envelope)}
    ids = {replace(base, **{name: value}).id for name, value in changed.items()}
    assert len(ids | {base.id}) == len(changed) + 1
