"""Interoperable addresses: one account, one encoding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core import interop_address
from comity.core.interop_address import (
    EIP155,
    MAX_EIP155_CHAIN_ID,
    SOLANA,
    InteropAddress,
    InteropAddressError,
    caip2,
    chain_id_from_caip2,
    decode,
)

ACCOUNT = b"\xd4" * 20

chain_ids = st.integers(1, MAX_EIP155_CHAIN_ID)
evm_addresses = st.builds(InteropAddress.from_evm, chain_ids, st.none() | st.binary(min_size=20, max_size=20))


@given(evm_addresses)
def test_decode_inverts_encode(address):
    assert decode(address.encode()) == address
    assert InteropAddress.from_caip2(address.caip2, address.address) == address


@given(evm_addresses, st.data())
def test_any_changed_byte_is_refused_or_seen(address, data):
    encoding = address.encode()
    offset = data.draw(st.integers(0, len(encoding) - 1))
    change = data.draw(st.integers(1, 255))
    altered = encoding[:offset] + bytes([encoding[offset] ^ change]) + encoding[offset + 1 :]
    try:
        other = decode(altered)
    except InteropAddressError:
        return
    assert other != address
    assert other.encode() == altered


@given(st.binary(max_size=80))
def test_whatever_decodes_encodes_to_itself(encoding):
    try:
        address = decode(b"\0\1\0\0" + encoding)
    except InteropAddressError:
        return
    assert address.encode() == b"\0\1\0\0" + encoding


@given(chain_ids)
def test_caip2_inverts(chain_id):
    assert chain_id_from_caip2(caip2(chain_id)) == chain_id


@pytest.mark.parametrize("chain_id", [0, -1, MAX_EIP155_CHAIN_ID + 1, 1 << 255])
def test_chain_ids_without_a_known_text_are_not_invented(chain_id):
    with pytest.raises(interop_address.InteropChainUnnamed):
        caip2(chain_id, known=["starknet:SN_MAIN"])


def test_other_namespaces_are_recognised_among_known_texts():
    chain_id = chain_id_from_caip2("starknet:SN_MAIN")
    assert chain_id > MAX_EIP155_CHAIN_ID
    assert caip2(chain_id, known=["eip155:1", "starknet:SN_MAIN"]) == "starknet:SN_MAIN"


def test_an_address_without_an_eip155_chain_has_no_chain_id():
    for address in (InteropAddress(EIP155, b"", ACCOUNT), InteropAddress(SOLANA, b"\1" * 32, b"")):
        with pytest.raises(interop_address.InteropChainUnnamed):
            _ = address.chain_id
    with pytest.raises(interop_address.InteropChainUnnamed):
        InteropAddress.from_caip2("starknet:SN_MAIN")


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ((EIP155, b"\0\1", ACCOUNT), interop_address.InteropReferenceNotMinimal),
        ((EIP155, b"\1", ACCOUNT[1:]), interop_address.InteropLengthMismatch),
        ((EIP155, b"", b""), interop_address.InteropEmpty),
        ((0x10000, b"\1", ACCOUNT), interop_address.InteropLengthMismatch),
        ((0x9999, bytes(256), b""), interop_address.InteropLengthMismatch),
    ],
)
def test_what_has_no_encoding_is_refused(parts, error):
    with pytest.raises(error):
        InteropAddress(*parts)
