# pragma version 0.4.3
"""
@title interop_address
@license MIT
@notice ERC-7930 interoperable addresses, version 1, strict, for eip155 chains. Pure.
        Spec: spec/envelope.md. Twin: comity/core/interop_address.py.
"""

# version 0x0001, chain type 0x0000 (eip155)
PREFIX: constant(uint256) = 65536
# Bytes of a chain id, so that an account fits a word; ids in use have at most five.
MAX_REFERENCE: constant(uint256) = 6
# As long as callers may declare it; only exact lengths decode.
MAX_LENGTH: constant(uint256) = 64


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
def _encode_chain(chain_id: uint256) -> (uint256, uint256):
    """
    @notice The encodings of a chain's accounts: a word to which an account, shifted left, is added.
    @param chain_id Below 2^48.
    @return The word, and the shift in bits; the encoding is the word but for its last shift / 8 bytes.
    """
    reference: uint256 = 1
    for i: uint256 in range(1, MAX_REFERENCE):
        if chain_id >> (i << 3) == 0:
            break
        reference = unsafe_add(reference, 1)
    text: uint256 = (PREFIX << 8 | reference) << (reference << 3) | chain_id
    unused: uint256 = unsafe_sub(MAX_REFERENCE, reference) << 3
    return (text << 8 | 20) << unsafe_add(160, unused), unused


@internal
@pure
def _encode(chain_id: uint256, account: address) -> Bytes[32]:
    word: uint256 = 0
    unused: uint256 = 0
    word, unused = self._encode_chain(chain_id)
    return slice(convert(word | convert(account, uint256) << unused, bytes32), 0, 32 - unused // 8)
