"""Deliveries: the body is canonical, the word is the lane's, and the Gate's read windows stay inside the calldata."""

from dataclasses import replace

import pytest
from core_strategies import bytes32
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core import delivery
from comity.core.delivery import BODY_OFFSET, READ_WINDOWS, Delivery, decode_body, encode_body
from comity.core.envelope import Envelope
from comity.core.lane import compute_word, extend_word, pack_word

BEFORE = 12345
NOBODY = bytes(32)


def build_envelope(nonce, size=246):
    return Envelope(
        lane=b"\1" * 32,
        nonce=nonce,
        sender=b"\2" * 32,
        receiver=b"\3" * 32,
        deliver_before=100,
        gas_limit=1,
        policy=1,
        return_policy=1,
        refund_to=b"\4" * 32,
        payload=bytes(size - 246),
    ).encode()


@st.composite
def deliveries(draw):
    first = draw(st.integers(1, 1000))
    shapes = draw(st.lists(st.integers(246, 1280) | st.none(), min_size=1, max_size=6).filter(any))
    entries = tuple(build_envelope(first + i, size) if size else draw(bytes32) for i, size in enumerate(shapes))
    proofs = draw(st.dictionaries(st.integers(0, 119), st.binary(max_size=1312), max_size=3))
    suffix = tuple(draw(st.lists(bytes32, max_size=5)))
    return Delivery(draw(st.integers(1, (1 << 216) - 1)), draw(bytes32), proofs, entries, suffix)


RUN = Delivery(
    BEFORE, NOBODY, {1: b"one", 7: b"seven"}, (build_envelope(5), b"\7" * 32, build_envelope(7)), (b"\x08" * 32,)
)


@given(deliveries(), st.integers(0, 300))
def test_decode_inverts_encode_whatever_the_padding(run, pad_length):
    for body in (encode_body(run), encode_body(run, pad_length)):
        decoded = decode_body(run.before, run.beneficiary, body)
        assert decoded == run
        assert encode_body(decoded, int.from_bytes(body[:2], "big")) == body


@settings(max_examples=10)
@given(deliveries(), st.integers(1, 255))
def test_any_changed_byte_is_refused_or_seen(run, change):
    body = encode_body(run)
    for offset in range(len(body)):
        altered = body[:offset] + bytes([body[offset] ^ change]) + body[offset + 1 :]
        try:
            decoded = decode_body(run.before, run.beneficiary, altered)
        except delivery.DeliveryError:
            continue
        assert encode_body(decoded, int.from_bytes(altered[:2], "big")) == altered


@given(deliveries(), st.data())
def test_any_shorter_or_longer_body_is_refused(run, data):
    body = encode_body(run)
    for wrong in (body[: data.draw(st.integers(0, len(body) - 1))], body + b"\0"):
        with pytest.raises(delivery.DeliveryError):
            decode_body(run.before, run.beneficiary, wrong)


@given(deliveries())
def test_every_read_window_lies_inside_the_calldata(run):
    """The Gate reads each proof and envelope in a window that ends where it ends."""
    body = encode_body(run)
    for part in (*run.proofs.values(), *(entry for entry in run.entries if len(entry) != 32)):
        window = min(size for size in READ_WINDOWS if size >= len(part))
        assert BODY_OFFSET + body.rindex(part) + len(part) >= window


@given(deliveries())
def test_padding_is_not_longer_than_needed(run):
    pad = int.from_bytes(encode_body(run)[:2], "big")
    if pad:
        body = encode_body(run, pad - 1)
        ends = []
        cursor = 10 + pad - 1
        for proof in (proof for _, proof in sorted(run.proofs.items())):
            cursor += 3 + len(proof)
            ends.append((cursor, len(proof)))
        cursor += 32 * len(run.suffix)
        for entry in run.entries:
            cursor += 2 + len(entry)
            if len(entry) != 32:
                ends.append((cursor, len(entry)))
        assert cursor == len(body)
        assert any(132 + end < min(w for w in READ_WINDOWS if w >= length) for end, length in ends)


def test_word_is_that_of_the_lane_one_entry_at_a_time():
    word = pack_word(4, BEFORE)
    for entry in (*map(delivery.compute_entry, RUN.entries), *RUN.suffix):
        word = extend_word(word, entry)
    assert RUN.word == word
    assert RUN.first_nonce == 5


def test_position_is_that_of_the_first_envelope_even_behind_bare_entries():
    run = replace(RUN, entries=(b"\6" * 32, b"\7" * 32, build_envelope(3)), suffix=())
    assert run.first_nonce == 1
    assert run.word == compute_word(BEFORE, 1, map(delivery.compute_entry, run.entries))


def test_order_of_proofs_does_not_matter_but_on_the_wire_it_ascends():
    assert encode_body(replace(RUN, proofs={7: b"seven", 1: b"one"})) == encode_body(RUN)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"before": 0}, delivery.DeliveryLengthMismatch),
        ({"before": 1 << 216}, delivery.DeliveryLengthMismatch),
        ({"beneficiary": bytes(20)}, delivery.DeliveryLengthMismatch),
        ({"entries": ()}, delivery.DeliveryWithoutEnvelope),
        ({"entries": (b"\7" * 32,)}, delivery.DeliveryWithoutEnvelope),
        ({"entries": (build_envelope(5), build_envelope(7))}, delivery.DeliveryNonceMismatch),
        ({"entries": (build_envelope(5), build_envelope(5))}, delivery.DeliveryNonceMismatch),
        ({"entries": (b"\7" * 32, build_envelope(1))}, delivery.DeliveryNonceMismatch),
        ({"entries": (build_envelope(5)[:245],)}, delivery.DeliveryLengthMismatch),
        ({"entries": tuple(build_envelope(n) for n in range(1, 130))}, delivery.DeliveryTooLarge),
        ({"entries": (build_envelope(5, 1313),)}, delivery.DeliveryTooLarge),
        ({"suffix": (bytes(32),) * 257}, delivery.DeliveryTooLarge),
        ({"suffix": (bytes(31),)}, delivery.DeliveryLengthMismatch),
        ({"proofs": {120: b""}}, delivery.DeliveryVerifiersNotAscending),
        ({"proofs": {0: bytes(1313)}}, delivery.DeliveryTooLarge),
        ({"proofs": dict.fromkeys(range(9), b"")}, delivery.DeliveryTooLarge),
    ],
)
def test_impossible_deliveries_are_refused(change, error):
    with pytest.raises(error) as raised:
        replace(RUN, **change)
    assert raised.value.values


def test_verifiers_out_of_order_are_refused():
    body = bytearray(encode_body(RUN, 0))
    assert body[10] == 1
    for repeated in (7, 8):
        body[10] = repeated
        with pytest.raises(delivery.DeliveryVerifiersNotAscending):
            decode_body(BEFORE, NOBODY, bytes(body))


def test_a_bare_entry_has_one_encoding():
    body = encode_body(RUN, 0)
    bare = b"\0\0" + b"\7" * 32
    assert body.count(bare) == 1
    with pytest.raises(delivery.DeliveryLengthMismatch):
        decode_body(BEFORE, NOBODY, body.replace(bare, b"\0\x20" + b"\7" * 32))


def test_padding_that_hides_something_is_refused():
    body = bytearray(encode_body(RUN, 5))
    body[12] = 1
    with pytest.raises(delivery.DeliveryPadNotZero):
        decode_body(BEFORE, NOBODY, bytes(body))


@pytest.mark.parametrize(
    ("fits", "too_long"),
    [
        ({"entries": (build_envelope(5, 1312),)}, {"entries": (build_envelope(5, 1313),)}),
        ({"proofs": {0: bytes(1312)}}, {"proofs": {0: bytes(1313)}}),
    ],
)
def test_a_part_is_at_most_what_the_gate_reads(fits, too_long):
    replace(RUN, **fits)
    with pytest.raises(delivery.DeliveryTooLarge):
        replace(RUN, **too_long)
