# pragma version 0.4.3
# pragma evm-version prague
"""
@title WordKeeper
@license MIT
@notice For tests: keeps words and snapshots in the slots of Router and Gate, and obeys anybody, also against the protocol.
"""

event Dispatched:
    id: indexed(bytes32)
    lane: indexed(bytes32)
    envelope: Bytes[64]

words: public(HashMap[bytes32, uint256])
snapshots: public(HashMap[bytes32, HashMap[uint256, uint256]])


@external
def set_word(lane: bytes32, word: uint256):
    self.words[lane] = word
    log Dispatched(id=empty(bytes32), lane=lane, envelope=b"")


@external
def set_snapshot(lane: bytes32, nonce: uint256, word: uint256):
    self.snapshots[lane][nonce] = word
