# pragma version 0.4.3
"""
@title lane
@license MIT
@notice The one-word lane: a nonce and an accumulator that commits to every entry so far. Pure.
        Spec: spec/lane.md. Twin: comity/core/lane.py.
"""

DISPATCHES: constant(uint256) = 0
RECEIPTS: constant(uint256) = 1

# A word that crosses a multiple of this nonce is kept for ever as a snapshot.
SNAPSHOT_INTERVAL: constant(uint256) = 64

ACCUMULATOR_BITS: constant(uint256) = 216
ACCUMULATOR_MASK: constant(uint256) = 2**216 - 1
MAX_NONCE: constant(uint256) = 2**40 - 1

# keccak256("Checkpoint(bytes32 lane,uint8 direction,uint256 word)")
CHECKPOINT_TYPEHASH: constant(bytes32) = keccak256("Checkpoint(bytes32 lane,uint8 direction,uint256 word)")


@internal
@pure
def _compute_lane(origin: uint256, router: bytes32, destination: uint256, gate: bytes32) -> bytes32:
    return keccak256(abi_encode(origin, router, destination, gate))


@internal
@pure
def _compute_seed(lane: bytes32, direction: uint256) -> uint256:
    """
    @notice The word of an opened lane before its first entry: nonce 0 and a non-zero accumulator.
    """
    seed: uint256 = convert(keccak256(abi_encode(lane, direction)), uint256) & ACCUMULATOR_MASK
    assert seed != 0  # dev: 2^-216
    return seed


@internal
@pure
def _extend(accumulator: uint256, entry: bytes32) -> uint256:
    """
    @notice The low 216 bits of keccak256(accumulator as 32 bytes, entry as 32 bytes).
    @param accumulator Below 2^216.
    """
    return convert(keccak256(abi_encode(accumulator, entry)), uint256) & ACCUMULATOR_MASK


@internal
@pure
def _compute_digest(lane: bytes32, direction: uint256, word: uint256) -> bytes32:
    """
    @notice The digest of the checkpoint, which every verifier returns and every caller compares.
    """
    return keccak256(abi_encode(CHECKPOINT_TYPEHASH, lane, direction, word))
