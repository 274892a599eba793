# pragma version 0.4.3
"""
@title interop_address
@license MIT
@notice ERC-7930 interoperable addresses, version 1, strict, for eip155 chains. Pure.
        Spec: spec/envelope.md. Twin: comity/core/interop_address.py.
"""

# version 0x0001, chain type 0x0000 (eip155)
PREFIX: constant(uint256) = 65536
# Bytes of a chain id; the largest in use has four.
MAX_REFERENCE: constant(uint256) = 8
MAX_LENGTH: constant(uint256) = 4 + 1 + MAX_REFERENCE + 1 + 20


struct Account:
    chain_id: uint256
    account: address


@internal
@pure
def _decode(text: Bytes[MAX_LENGTH]) -> Account:
    """
    @notice An account on an eip155 chain; every other or non-minimal form reverts.
    """
    size: uint256 = len(text)
    assert size > 26, "address: too short"
    head: uint256 = convert(slice(text, 0, 5), uint256)
    reference: uint256 = head & 255
    assert head >> 8 == PREFIX, "address: not an eip155 account of version 1"
    assert reference != 0 and reference <= MAX_REFERENCE, "address: no chain reference"
    assert size == 26 + reference, "address: wrong length"
    assert convert(slice(text, 5 + reference, 1), uint256) == 20, "address: not 20 bytes"
    account: address = convert(convert(slice(text, 6 + reference, 20), bytes20), address)
    chain_id: uint256 = convert(slice(text, 5, MAX_REFERENCE), uint256) >> (8 * (MAX_REFERENCE - reference))
    assert chain_id >> (8 * (reference - 1)) != 0, "address: chain reference is not minimal"
    assert account != empty(address), "address: zero account"
    return Account(chain_id=chain_id, account=account)


@internal
@pure
def _encode_chain(chain_id: uint256) -> Bytes[32]:
    """
    @notice Everything that precedes the 20 bytes of an account on this chain.
    @param chain_id Below 2^64.
    """
    reference: uint256 = 1
    for i: uint256 in range(1, MAX_REFERENCE):
        if chain_id >> (8 * i) == 0:
            break
        reference += 1
    text: uint256 = (PREFIX << 8 | reference) << (8 * reference) | chain_id
    return slice(convert((text << 8 | 20) << (8 * (26 - reference)), bytes32), 0, 6 + reference)
