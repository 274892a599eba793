"""Mutants of the Router: dispatch and governance."""

from tests.mutants.mutant import drop, swap

ROUTER = "Router.vy"
DISPATCH = "contracts/router/test_dispatch.py"
AUTHORITY = "contracts/router/test_authority_only.py"
FORK, OUTSIDERS = "contracts/test_fork.py", "contracts/test_unauthenticated.py"

DISPATCHING = (
    drop(
        "dispatch on a fork",
        ROUTER,
        '    assert chain.id == CHAIN_ID, "router: wrong chain"',
        f"{FORK}::test_the_router_of_a_fork_dispatches_nothing",
        threats="B12",
    ),
    drop(
        "dispatch into a lane that nobody opened",
        ROUTER,
        '    assert word != 0, "router: unknown lane"',
        f"{DISPATCH}::test_dispatch_refuses_a_lane_that_nobody_opened",
        threats="A1",
    ),
    drop(
        "a receiver that is no address",
        ROUTER,
        '    assert unsafe_sub(convert(receiver, uint256), 1) < ADDRESS_MASK, "router: receiver is not an address"',
        f"{DISPATCH}::test_dispatch_refuses_a_receiver_that_the_gate_could_not_call",
        threats="C12",
    ),
    drop(
        "an ill-formed policy",
        ROUTER,
        '        assert policy_module._is_wellformed(policy), "router: policy is not well-formed"',
        f"{DISPATCH}::test_dispatch_refuses_an_ill_formed_policy",
        threats="B4",
    ),
    drop(
        "an ill-formed return policy",
        ROUTER,
        '        assert policy_module._is_wellformed(return_policy), "router: return policy is not well-formed"',
        f"{DISPATCH}::test_dispatch_refuses_an_ill_formed_policy",
        threats="B4",
    ),
    swap(
        "a simple policy that is none",
        ROUTER,
        "    if unsafe_sub(policy, 1) >= policy_module.MASK:",
        "    if policy > policy_module.MASK:",
        f"{DISPATCH}::test_dispatch_refuses_an_ill_formed_policy",
        threats="B4",
    ),
    drop(
        "a return policy that nobody can check",
        ROUTER,
        '    assert named & ~self.usable == 0, "router: return policy names an unusable verifier"',
        f"{DISPATCH}::test_dispatch_refuses_a_return_policy_that_the_own_gate_does_not_know",
        f"{DISPATCH}::test_dispatch_refuses_a_return_policy_that_names_a_verifier_no_longer_usable",
    ),
    swap(
        "only required verifiers of a return policy looked at",
        ROUTER,
        "        named = policy_module._mask(return_policy)",
        "        named = return_policy & policy_module.MASK",
        f"{DISPATCH}::test_dispatch_refuses_a_return_policy_that_the_own_gate_does_not_know",
    ),
    drop(
        "terms that are the Router's",
        ROUTER,
        '    assert terms & FORBIDDEN == 0, "router: malformed or unsupported terms"',
        f"{DISPATCH}::test_dispatch_refuses_terms_that_are_the_routers_or_nobodys",
        f"{DISPATCH}::test_dispatch_refuses_each_single_bit_that_the_sender_must_leave_zero",
    ),
    drop(
        "a deadline that has passed",
        ROUTER,
        '    assert before > block.timestamp, "router: deadline has passed"',
        f"{DISPATCH}::test_dispatch_demands_a_deadline_ahead_and_within_thirty_days",
    ),
    drop(
        "a deadline without bound",
        ROUTER,
        '    assert before <= unsafe_add(block.timestamp, MAX_LIFETIME), "router: deadline more than 30 days off"',
        f"{DISPATCH}::test_dispatch_demands_a_deadline_ahead_and_within_thirty_days",
    ),
    drop(
        "an empty window",
        ROUTER,
        "    assert (terms >> envelope.AFTER_SHIFT) & envelope.MASK_40 <= before,"
        ' "router: delivery after the deadline"',
        f"{DISPATCH}::test_dispatch_refuses_a_window_that_is_empty",
    ),
    drop(
        "a dependency on the future",
        ROUTER,
        "    assert (terms >> envelope.DEPENDS_SHIFT) & envelope.MASK_40 < nonce,"
        ' "router: depends on a later envelope"',
        f"{DISPATCH}::test_dispatch_refuses_a_dependency_on_itself_or_on_the_future",
    ),
    drop(
        "callback gas without a callback",
        ROUTER,
        "        assert (callback_gas != 0) == (terms & CALLBACK_FLAG != 0),"
        ' "router: callback gas without CALLBACK, or the reverse"',
        f"{DISPATCH}::test_dispatch_demands_callback_gas_exactly_with_callback",
    ),
    drop(
        "more than the whole fee",
        ROUTER,
        '        assert settlement >> 192 <= 10000, "router: failed share above 10000 bps"',
        f"{DISPATCH}::test_dispatch_refuses_more_than_the_whole_fee_for_a_failure",
    ),
    swap(
        "a full lane starts again",
        ROUTER,
        "    assert nonce <= lane_module.MAX_NONCE",
        "    assert nonce != 0",
        f"{DISPATCH}::test_dispatch_refuses_a_full_lane",
    ),
    swap(
        "no snapshot of dispatches",
        ROUTER,
        "    if (word >> lane_module.ACCUMULATOR_BITS) & (lane_module.SNAPSHOT_INTERVAL - 1) == 0:",
        "    if False:",
        f"{DISPATCH}::test_dispatch_keeps_every_64th_word",
    ),
    swap(
        "two spellings of a refund to the sender",
        ROUTER,
        "    if refund_to == convert(msg.sender, uint256):\n        refund_to = 0\n",
        "",
        f"{DISPATCH}::test_dispatch_writes_the_senders_own_refund_account_as_zero",
        threats="A6",
    ),
    swap(
        "the accumulator left as it was",
        ROUTER,
        "convert(keccak256(abi_encode(accumulator, id)), uint256)",
        "convert(keccak256(abi_encode(empty(uint256), id)), uint256)",
        f"{DISPATCH}::test_dispatch_extends_the_lane",
    ),
)

GOVERNANCE = (
    drop(
        "anyone governs the router",
        ROUTER,
        '    assert msg.sender == AUTHORITY, "router: not the authority"',
        f"{AUTHORITY}::test_nobody_but_the_authority_governs_the_router",
        f"{OUTSIDERS}::test_an_outsider_changes_nothing",
        threats="C5 C1",
    ),
    drop(
        "a lane to elsewhere opened again",
        ROUTER,
        '    assert self.lane_to[destination] == empty(bytes32), "router: lane is open"',
        f"{AUTHORITY}::test_open_lane_is_for_ever",
    ),
    drop(
        "a lane to nowhere",
        ROUTER,
        "    assert destination != 0 and destination != CHAIN_ID and gate != empty(bytes32),"
        ' "router: no such destination"',
        f"{AUTHORITY}::test_open_lane_refuses_what_is_no_destination",
        threats="A1",
    ),
    swap(
        "an ill-formed floor of the front door",
        ROUTER,
        '    assert policy == 0 or policy_module._is_wellformed(policy), "router: policy is not well-formed"',
        "    pass",
        f"{AUTHORITY}::test_set_floor_refuses_what_is_no_policy",
        threats="B4",
    ),
    drop(
        "a router without neighbours",
        ROUTER,
        '    assert authority != empty(address) and gate != empty(address), "router: zero address"',
        f"{AUTHORITY}::test_a_router_is_built_with_both_of_its_neighbours",
        threats="E8",
    ),
    drop(
        "keep the word of an empty lane",
        ROUTER,
        '    assert nonce != 0, "router: nothing to keep"',
        f"{AUTHORITY}::test_snapshot_keeps_no_word_of_a_lane_without_envelopes",
        threats="A1",
    ),
    swap(
        "a snapshot that moves the word",
        ROUTER,
        "    self.snapshots[lane][nonce] = word\n    log Snapshotted",
        "    self.snapshots[lane][nonce] = word\n    self.words[lane] = word + 1\n    log Snapshotted",
        f"{OUTSIDERS}::test_only_a_dispatch_moves_the_word_that_attestors_sign",
        threats="B16",
    ),
)

MUTANTS = (*DISPATCHING, *GOVERNANCE)
