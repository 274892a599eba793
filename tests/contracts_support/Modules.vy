# pragma version 0.4.3
"""
@title Modules
@license MIT
@notice For tests: opens the pure modules to calls.
"""

from comity.contracts.core import envelope
from comity.contracts.core import interop_address
from comity.contracts.core import lane
from comity.contracts.core import policy


@external
@pure
def compute_id(encoding: Bytes[24576]) -> bytes32:
    return keccak256(encoding)


@external
@pure
def is_canonical_head(head: uint256) -> bool:
    return envelope._is_canonical_head(head)


@external
@pure
def is_canonical_settlement(flags: uint256, settlement: uint256) -> bool:
    return envelope._is_canonical_settlement(flags, settlement)


@external
@pure
def compute_lane(origin: uint256, router: bytes32, destination: uint256, gate: bytes32) -> bytes32:
    return lane._compute_lane(origin, router, destination, gate)


@external
@pure
def compute_seed(id: bytes32, direction: uint256) -> uint256:
    return lane._compute_seed(id, direction)


@external
@pure
def extend(accumulator: uint256, entry: bytes32) -> uint256:
    return lane._extend(accumulator, entry)


@external
@pure
def compute_digest(id: bytes32, direction: uint256, word: uint256) -> bytes32:
    return lane._compute_digest(id, direction, word)


@external
@pure
def count(mask: uint256) -> uint256:
    return policy._count(mask)


@external
@pure
def mask(word: uint256) -> uint256:
    return policy._mask(word)


@external
@pure
def is_wellformed(word: uint256) -> bool:
    return policy._is_wellformed(word)


@external
@pure
def is_satisfied(word: uint256, verified: uint256) -> bool:
    return policy._is_satisfied(word, verified)


@external
@pure
def implies(stronger: uint256, weaker: uint256) -> bool:
    return policy._implies(stronger, weaker)


@external
@pure
def decode_address(text: Bytes[interop_address.MAX_LENGTH]) -> (uint256, address):
    account: interop_address.Account = interop_address._decode(text)
    return account.chain_id, account.account


@external
@pure
def encode_address(chain_id: uint256, account: address) -> Bytes[32]:
    return interop_address._encode(chain_id, account)
