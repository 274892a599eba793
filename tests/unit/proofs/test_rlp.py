"""RLP has one encoding for each value, and `decode` refuses every other."""

import json
from pathlib import Path

import pytest
import rlp as reference
from hypothesis import given
from hypothesis import strategies as st

from comity.proofs import rlp

items = st.recursive(st.binary(max_size=70), lambda child: st.lists(child, max_size=5), max_leaves=30)


@given(items)
def test_encode_agrees_with_the_reference(item):
    encoded = rlp.encode(item)
    assert encoded == reference.encode(item)
    assert rlp.decode(encoded) == item


@given(st.binary(max_size=80))
def test_decode_accepts_exactly_what_the_reference_accepts(encoded):
    try:
        expected = reference.decode(encoded, strict=True)
    except reference.DecodingError:
        with pytest.raises(rlp.RlpError):
            rlp.decode(encoded)
    else:
        assert rlp.decode(encoded) == expected
        assert rlp.encode(expected) == encoded


@given(items, st.data())
def test_decode_is_injective_under_mutation(item, data):
    encoded = bytearray(rlp.encode(item))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    try:
        decoded = rlp.decode(bytes(encoded))
    except rlp.RlpError:
        return
    assert rlp.encode(decoded) == encoded


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("", "nothing"),
        ("8100", "a single byte below 0x80 with a length"),
        ("817f", "the largest such byte"),
        ("b800", "a long form of length 0"),
        ("b837" + "00" * 55, "a long form of a short length"),
        ("b90038" + "00" * 56, "a length with a leading zero"),
        ("f80180", "a long list of a short length"),
        ("f90038" + "80" * 56, "a list's length with a leading zero"),
        ("8180" + "00", "a trailing byte"),
        ("c0c0", "a trailing list"),
        ("83aabb", "a short string cut short"),
        ("b838" + "00" * 55, "a long string cut short"),
        ("b9", "a length cut short"),
        ("c28281", "an item that is longer than the whole"),
        ("c4c1820102", "an item that is longer than its list and not than the whole"),
        ("bfffffffffffffffff" + "00", "a length beyond memory"),
    ],
)
def test_decode_refuses(encoded, why):
    with pytest.raises(rlp.RlpError):
        rlp.decode(bytes.fromhex(encoded))


def test_lists_nest_to_a_bound_instead_of_exhausting_the_stack():
    nested = []
    for _ in range(rlp.MAX_DEPTH - 1):
        nested = [nested]
    assert rlp.decode(rlp.encode(nested)) == nested
    with pytest.raises(rlp.RlpError, match="nested too deeply"):
        rlp.decode(rlp.encode([nested]))


@given(st.integers(0, 2**256 - 1))
def test_integers_are_minimal(value):
    payload = rlp.from_int(value)
    assert payload[:1] != b"\0"
    assert rlp.to_int(payload) == value
    with pytest.raises(rlp.RlpError):
        rlp.to_int(b"\0" + payload, 33)


def test_integers_are_bounded_unsigned_byte_strings():
    assert rlp.to_int(b"\xff" * 32) == 2**256 - 1
    for payload, maximum in ((b"\1" + bytes(32), 32), (b"\1" + bytes(8), 8), ([], 32)):
        with pytest.raises(rlp.RlpError):
            rlp.to_int(payload, maximum)
    with pytest.raises(rlp.RlpError):
        rlp.from_int(-1)


def _to_item(value):
    if isinstance(value, list):
        return [_to_item(child) for child in value]
    if isinstance(value, str) and value[:1] == "#":
        return rlp.from_int(int(value[1:]))
    return rlp.from_int(value) if isinstance(value, int) else value.encode()


def test_official_vectors_encode_and_decode(mpt_vectors: Path):
    vectors = json.loads((mpt_vectors / "ethereum_tests/RLPTests/rlptest.json").read_text())
    assert len(vectors) > 20
    for name, vector in vectors.items():
        encoded, item = bytes.fromhex(vector["out"].removeprefix("0x")), _to_item(vector["in"])
        assert rlp.encode(item) == encoded, name
        assert rlp.decode(encoded) == item, name


def test_official_invalid_vectors_are_all_refused(mpt_vectors: Path):
    vectors = json.loads((mpt_vectors / "ethereum_tests/RLPTests/invalidRLPTest.json").read_text())
    assert len(vectors) > 10
    for name, vector in vectors.items():
        with pytest.raises(rlp.RlpError):
            pytest.fail(f"{name}: {rlp.decode(bytes.fromhex(vector['out'].removeprefix('0x')))}")
