"""Ids and units as types, so that a lane is never passed where an id is meant."""

from enum import IntEnum
from typing import NewType

ChainId = NewType("ChainId", int)
"""EIP-155 id, or outside `eip155` the keccak-256 of the CAIP-2 string."""

Lane = NewType("Lane", bytes)
"""32 bytes: keccak-256 of origin, router, destination, gate."""

EnvelopeId = NewType("EnvelopeId", bytes)
"""32 bytes: keccak-256 of the envelope's encoding."""

Address32 = NewType("Address32", bytes)
"""32 bytes, left-padded when the chain's addresses are shorter."""

Address = NewType("Address", bytes)
"""20 bytes: an account on an EVM chain."""

Hash32 = NewType("Hash32", bytes)
"""32 bytes: a keccak-256 digest."""

Word = NewType("Word", int)
"""A direction of a lane in one storage word: nonce (40 bits) | accumulator (216 bits)."""

Accumulator = NewType("Accumulator", int)
"""216 bits; never zero."""

Wei = NewType("Wei", int)
Gas = NewType("Gas", int)
Seconds = NewType("Seconds", int)


class Direction(IntEnum):
    """Which of a lane's two sequences a word belongs to."""

    DISPATCHES = 0
    RECEIPTS = 1


class Outcome(IntEnum):
    """How an envelope ended; the wire value in a receipt."""

    EXECUTED = 1
    FAILED = 2
    CANCELLED = 3
    FILLED = 4
    EXPIRED = 5


def to_address32(address: bytes) -> Address32:
    """Left-pad an address to 32 bytes."""
    return Address32(address.rjust(32, b"\0"))
