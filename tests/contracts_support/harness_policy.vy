# pragma version 0.4.3
"""
@title harness_policy
@license MIT
@notice For tests: the functions of core/policy.vy, many values in one call. Bit i of a row answers for the i-th value.
"""

from comity.contracts.core import policy

MANY: constant(uint256) = 2048
ROW: constant(uint256) = 256


@external
@pure
def count(masks: DynArray[uint256, MANY]) -> DynArray[uint256, MANY]:
    """
    @notice The numbers of set bits.
    """
    counts: DynArray[uint256, MANY] = []
    for mask: uint256 in masks:
        counts.append(policy._count(mask))
    return counts


@external
@pure
def mask(words: DynArray[uint256, MANY]) -> DynArray[uint256, MANY]:
    """
    @notice The verifiers that policies name.
    """
    masks: DynArray[uint256, MANY] = []
    for word: uint256 in words:
        masks.append(policy._mask(word))
    return masks


@external
@pure
def is_wellformed(words: DynArray[uint256, MANY]) -> DynArray[bool, MANY]:
    """
    @notice Which words are policies.
    """
    verdicts: DynArray[bool, MANY] = []
    for word: uint256 in words:
        verdicts.append(policy._is_wellformed(word))
    return verdicts


@external
@pure
def is_satisfied(words: DynArray[uint256, MANY], masks: DynArray[uint256, ROW]) -> DynArray[uint256, MANY]:
    """
    @notice For each policy the row of sets of verifiers that satisfy it.
    """
    rows: DynArray[uint256, MANY] = []
    for word: uint256 in words:
        row: uint256 = 0
        for i: uint256 in range(len(masks), bound=ROW):
            if policy._is_satisfied(word, masks[i]):
                row |= 1 << i
        rows.append(row)
    return rows


@external
@pure
def implies(stronger: DynArray[uint256, MANY], weaker: DynArray[uint256, ROW]) -> DynArray[uint256, MANY]:
    """
    @notice For each policy the row of policies that it implies.
    """
    rows: DynArray[uint256, MANY] = []
    for word: uint256 in stronger:
        row: uint256 = 0
        for i: uint256 in range(len(weaker), bound=ROW):
            if policy._implies(word, weaker[i]):
                row |= 1 << i
        rows.append(row)
    return rows
