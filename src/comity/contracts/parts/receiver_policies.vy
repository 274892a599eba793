# pragma version 0.4.3
"""
@title receiver_policies
@license MIT
@notice The weakest policy under which each receiver takes calls from each lane: one word, or up to 4 tiers that are chosen
        by a valuation which the receiver itself provides. Set by the receiver or its live owner. Spec: spec/verification.md.
"""

from ..core import policy as policy_module

MAX_TIERS: constant(uint256) = 4
# Stands in place of a policy where there are tiers; never a well-formed policy.
TIERED: constant(uint256) = max_value(uint256)

struct Tier:
    minimum: uint256
    policy: uint256

event PolicySet:
    lane: indexed(bytes32)
    receiver: indexed(address)
    policy: uint256

event TiersSet:
    lane: indexed(bytes32)
    receiver: indexed(address)
    tiers: DynArray[Tier, MAX_TIERS]


# lane -> receiver -> policy, TIERED, or 0 for no calls
policy_of: public(HashMap[bytes32, HashMap[address, uint256]])
tiers: HashMap[bytes32, HashMap[address, DynArray[Tier, MAX_TIERS]]]


@external
@view
def tiers_of(lane: bytes32, receiver: address) -> DynArray[Tier, MAX_TIERS]:
    return self.tiers[lane][receiver]


@internal
def _set_policy(lane: bytes32, receiver: address, policy: uint256, registered: uint256):
    """
    @param registered The mask of registered verifiers.
    """
    self._authenticate(receiver)
    assert policy == 0 or self._names_only(policy, registered), "gate: policy is not well-formed"
    self.policy_of[lane][receiver] = policy
    log PolicySet(lane=lane, receiver=receiver, policy=policy)


@internal
def _set_tiers(lane: bytes32, receiver: address, tiers: DynArray[Tier, MAX_TIERS], registered: uint256):
    """
    @param tiers Ascending by minimum, the first from 0.
    """
    self._authenticate(receiver)
    assert len(tiers) != 0 and tiers[0].minimum == 0, "gate: tiers start at 0"
    previous: uint256 = 0
    for i: uint256 in range(len(tiers), bound=MAX_TIERS):
        assert i == 0 or tiers[i].minimum > previous, "gate: tiers not ascending"
        previous = tiers[i].minimum
        assert self._names_only(tiers[i].policy, registered), "gate: policy is not well-formed"
    self.tiers[lane][receiver] = tiers
    self.policy_of[lane][receiver] = TIERED
    log TiersSet(lane=lane, receiver=receiver, tiers=tiers)


@internal
@view
def _choose(lane: bytes32, receiver: address, valuation: uint256) -> uint256:
    """
    @notice The policy of the highest tier whose minimum the valuation reaches.
    """
    chosen: uint256 = 0
    for tier: Tier in self.tiers[lane][receiver]:
        if valuation < tier.minimum:
            break
        chosen = tier.policy
    return chosen


@internal
@pure
def _names_only(policy: uint256, registered: uint256) -> bool:
    return policy_module._is_wellformed(policy) and policy_module._mask(policy) & ~registered == 0


@internal
@view
def _authenticate(receiver: address):
    """
    @notice The receiver itself, or whoever its owner() names at this moment.
    """
    assert receiver != empty(address), "gate: zero receiver"
    if msg.sender != receiver:
        success: bool = False
        answer: Bytes[32] = b""
        success, answer = raw_call(
            receiver, method_id("owner()"), max_outsize=32, is_static_call=True, revert_on_failure=False
        )
        assert success and len(answer) == 32, "gate: not the receiver or its owner"
        assert convert(answer, uint256) == convert(msg.sender, uint256), "gate: not the receiver or its owner"
