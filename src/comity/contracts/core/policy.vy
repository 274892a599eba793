# pragma version 0.4.3
"""
@title policy
@license MIT
@notice Which sets of verifiers suffice, in one word: threshold (16) | optional mask (120) | required mask (120). Pure.
        Spec: spec/verification.md. Twin: comity/core/policy.py.
"""

MASK: constant(uint256) = 2**120 - 1
OPTIONAL_SHIFT: constant(uint256) = 120
THRESHOLD_SHIFT: constant(uint256) = 240

# 0x55…, 0x33…, 0x0f…, 0x01…: the masks of a parallel bit count over 120 bits.
PAIRS: constant(uint256) = (2**120 - 1) // 3
QUADS: constant(uint256) = (2**120 - 1) // 5
OCTETS: constant(uint256) = (2**120 - 1) // 17
ONES: constant(uint256) = (2**120 - 1) // 255


@internal
@pure
def _count(mask: uint256) -> uint256:
    """
    @notice Number of set bits of a 120-bit mask.
    """
    rest: uint256 = mask - ((mask >> 1) & PAIRS)
    rest = (rest & QUADS) + ((rest >> 2) & QUADS)
    rest = (rest + (rest >> 4)) & OCTETS
    return unsafe_mul(rest, ONES) >> 112 & 255


@internal
@pure
def _mask(word: uint256) -> uint256:
    """
    @notice Every verifier that the policy names.
    """
    return (word | (word >> OPTIONAL_SHIFT)) & MASK


@internal
@pure
def _is_wellformed(word: uint256) -> bool:
    """
    @notice Refuses the empty set, overlapping masks, an unreachable threshold, and a second spelling of a meaning.
    """
    required: uint256 = word & MASK
    optional: uint256 = (word >> OPTIONAL_SHIFT) & MASK
    threshold: uint256 = word >> THRESHOLD_SHIFT
    if threshold == 0:
        return optional == 0 and required != 0
    return required & optional == 0 and threshold <= self._count(optional)


@internal
@pure
def _is_satisfied(word: uint256, verified: uint256) -> bool:
    """
    @param verified The mask of verifiers that accepted; the word must be well-formed.
    """
    required: uint256 = word & MASK
    if required & verified != required:
        return False
    threshold: uint256 = word >> THRESHOLD_SHIFT
    if threshold == 0:
        return True
    return self._count((word >> OPTIONAL_SHIFT) & MASK & verified) >= threshold


@internal
@pure
def _implies(stronger: uint256, weaker: uint256) -> bool:
    """
    @notice Whether every set that satisfies `stronger` satisfies `weaker`; exact for well-formed words.
    """
    optional: uint256 = (stronger >> OPTIONAL_SHIFT) & MASK
    threshold: uint256 = stronger >> THRESHOLD_SHIFT
    required: uint256 = stronger & MASK
    forced: uint256 = required
    if threshold == self._count(optional):
        forced |= optional
    if weaker & MASK & ~forced != 0:
        return False
    wanted: uint256 = (weaker >> OPTIONAL_SHIFT) & MASK
    sure: uint256 = self._count(wanted & required)
    outside: uint256 = self._count(optional & ~wanted)
    if threshold > outside:
        sure += threshold - outside
    return sure >= weaker >> THRESHOLD_SHIFT
