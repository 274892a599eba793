# pragma version 0.4.3
"""
@title harness_lane
@license MIT
@notice For tests: the functions of core/lane.vy, many values in one call.
"""

from comity.contracts.core import lane as lane_module

MANY: constant(uint256) = 1024


struct Ends:
    origin: uint256
    router: bytes32
    destination: uint256
    gate: bytes32


struct Checkpoint:
    lane: bytes32
    direction: uint256
    word: uint256


@external
@pure
def constants() -> (uint256, uint256, uint256, uint256, uint256):
    """
    @return Both directions, the interval of snapshots, the last nonce, the mask of accumulators.
    """
    return (
        lane_module.DISPATCHES,
        lane_module.RECEIPTS,
        lane_module.SNAPSHOT_INTERVAL,
        lane_module.MAX_NONCE,
        lane_module.ACCUMULATOR_MASK,
    )


@external
@pure
def compute_lanes(all_ends: DynArray[Ends, MANY]) -> DynArray[bytes32, MANY]:
    """
    @notice The ids of lanes.
    """
    lanes: DynArray[bytes32, MANY] = []
    for ends: Ends in all_ends:
        lanes.append(lane_module._compute_lane(ends.origin, ends.router, ends.destination, ends.gate))
    return lanes


@external
@pure
def compute_seeds(lanes: DynArray[bytes32, MANY], direction: uint256) -> DynArray[uint256, MANY]:
    """
    @notice The seeds of one direction of lanes.
    """
    seeds: DynArray[uint256, MANY] = []
    for lane: bytes32 in lanes:
        seeds.append(lane_module._compute_seed(lane, direction))
    return seeds


@external
@pure
def fold(accumulator: uint256, entries: DynArray[bytes32, MANY]) -> DynArray[uint256, MANY]:
    """
    @notice The accumulators after each of the entries.
    """
    accumulators: DynArray[uint256, MANY] = []
    state: uint256 = accumulator
    for entry: bytes32 in entries:
        state = lane_module._extend(state, entry)
        accumulators.append(state)
    return accumulators


@external
@pure
def compute_digests(checkpoints: DynArray[Checkpoint, MANY]) -> DynArray[bytes32, MANY]:
    """
    @notice The digests of checkpoints.
    """
    digests: DynArray[bytes32, MANY] = []
    for checkpoint: Checkpoint in checkpoints:
        digests.append(lane_module._compute_digest(checkpoint.lane, checkpoint.direction, checkpoint.word))
    return digests
