"""Mutants of the receivers' policies and tiers."""

from tests.mutants.mutant import drop, swap

POLICIES = "parts/receiver_policies.vy"
POLICY, SET_POLICY = "contracts/gate/test_deliver_policy.py", "contracts/gate/test_set_policy.py"

MUTANTS = (
    drop(
        "a policy set by anybody",
        POLICIES,
        "        assert convert(answer, uint256) == convert(msg.sender, uint256),"
        ' "gate: not the receiver or its owner"',
        f"{SET_POLICY}::test_an_outsider_sets_no_policy",
        f"{SET_POLICY}::test_a_former_owner_sets_no_policy",
        threats="B13 C5",
    ),
    swap(
        "an owner that answers too little",
        POLICIES,
        "        assert success and len(answer) == 32",
        "        assert success",
        f"{SET_POLICY}::test_an_outsider_sets_no_policy_whatever_owner_answers",
        threats="B3",
    ),
    swap(
        "a policy over verifiers that do not exist",
        POLICIES,
        "    return policy_module._is_wellformed(policy) and policy_module._mask(policy) & ~registered == 0",
        "    return policy_module._is_wellformed(policy)",
        f"{SET_POLICY}::test_a_policy_is_well_formed_and_names_registered_verifiers",
    ),
    swap(
        "an ill-formed policy of a receiver",
        POLICIES,
        "    return policy_module._is_wellformed(policy) and policy_module._mask(policy) & ~registered == 0",
        "    return policy_module._mask(policy) & ~registered == 0",
        f"{SET_POLICY}::test_a_policy_is_well_formed_and_names_registered_verifiers",
        f"{SET_POLICY}::test_no_tier_takes_calls_under_nothing",
        threats="B4",
    ),
    drop(
        "a policy set as it comes",
        POLICIES,
        '    assert policy == 0 or self._names_only(policy, registered), "gate: policy is not well-formed"',
        f"{SET_POLICY}::test_a_policy_is_well_formed_and_names_registered_verifiers",
        threats="B4",
    ),
    drop(
        "a tier set as it comes",
        POLICIES,
        '        assert self._names_only(tiers[i].policy, registered), "gate: policy is not well-formed"',
        f"{SET_POLICY}::test_no_tier_takes_calls_under_nothing",
        threats="B4",
    ),
    drop(
        "no tier for the worthless",
        POLICIES,
        '    assert len(tiers) != 0 and tiers[0].minimum == 0, "gate: tiers start at 0"',
        f"{SET_POLICY}::test_tiers_start_at_zero",
    ),
    drop(
        "a policy of nobody",
        POLICIES,
        '    assert receiver != empty(address), "gate: zero receiver"',
        f"{SET_POLICY}::test_a_policy_of_the_zero_receiver_cannot_be_set",
        threats="B3",
    ),
    drop(
        "tiers in any order",
        POLICIES,
        '        assert i == 0 or tiers[i].minimum > previous, "gate: tiers not ascending"',
        f"{SET_POLICY}::test_tiers_ascend",
    ),
    swap(
        "a tier too low",
        POLICIES,
        "        if valuation < tier.minimum:",
        "        if valuation <= tier.minimum:",
        f"{POLICY}::test_deliver_asks_for_the_tier_of_the_receivers_own_valuation",
    ),
    swap(
        "tiers that outlive the policy which replaced them",
        POLICIES,
        "    self.policy_of[lane][receiver] = policy\n",
        "    if self.policy_of[lane][receiver] != TIERED:\n        self.policy_of[lane][receiver] = policy\n",
        f"{POLICY}::test_deliver_forgets_tiers_that_a_policy_replaced",
        threats="E14",
    ),
)
