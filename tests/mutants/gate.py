"""Mutants of the Gate: the structure of a run, verifiers, expiry, governance."""

from tests.mutants.mutant import drop, swap

GATE = "Gate.vy"

T = "contracts/gate"
RUN, VERIFIERS, POLICY = f"{T}/test_deliver_run.py", f"{T}/test_deliver_verifiers.py", f"{T}/test_deliver_policy.py"
REPLAY, RECEIVERS, GAS = f"{T}/test_deliver_replay.py", f"{T}/test_deliver_receivers.py", f"{T}/test_deliver_gas.py"
DELIVER, EXPIRE, SNAPSHOT = f"{T}/test_deliver.py", f"{T}/test_expire.py", f"{T}/test_snapshot.py"
SET_POLICY, AUTHORITY = f"{T}/test_set_policy.py", f"{T}/test_authority_only.py"
FORK, OUTSIDERS = "contracts/test_fork.py", "contracts/test_unauthenticated.py"

RUNS = (
    drop(
        "an accumulator beyond its bits",
        GATE,
        '    assert before <= lane_module.ACCUMULATOR_MASK, "gate: malformed run"',
        f"{RUN}::test_deliver_refuses_an_accumulator_beyond_its_bits",
    ),
    drop(
        "a run from before the first nonce",
        GATE,
        '            assert nonce > i, "gate: malformed run"',
        f"{RUN}::test_deliver_refuses_a_run_that_starts_before_the_first_nonce",
        threats="A4",
    ),
    drop(
        "a lane that nobody opened",
        GATE,
        '            assert state != 0, "gate: unknown lane"',
        f"{RUN}::test_deliver_refuses_a_lane_that_nobody_opened",
        f"{RUN}::test_deliver_refuses_the_lane_zero",
        threats="A1",
    ),
    drop(
        "a pause without effect",
        GATE,
        '            assert block.timestamp >= (state >> PAUSED_SHIFT) & envelope.MASK_40, "gate: lane paused"',
        f"{REPLAY}::test_deliver_stops_while_a_guardian_pauses_the_lane",
    ),
    drop(
        "nonces out of place",
        GATE,
        '        assert nonce == unsafe_add(first, i), "gate: malformed run"',
        f"{RUN}::test_deliver_refuses_nonces_that_are_not_positions",
        threats="A4",
    ),
    drop(
        "a run without envelopes",
        GATE,
        '    assert first != 0, "gate: malformed run"',
        f"{RUN}::test_deliver_refuses_a_run_without_envelopes",
        threats="A4",
    ),
    drop(
        "bytes behind the run",
        GATE,
        '    assert cursor == BODY + self._read(BODY - 32), "gate: malformed body"',
        f"{RUN}::test_deliver_refuses_bytes_that_belong_to_nothing",
        threats="A4",
    ),
    drop(
        "a nonce beyond the last",
        GATE,
        '    assert last <= lane_module.MAX_NONCE, "gate: malformed run"',
        f"{RUN}::test_deliver_refuses_a_run_past_the_last_nonce",
        threats="A4",
    ),
    swap(
        "entries that follow are not hashed",
        GATE,
        "    for i: uint256 in range(suffix_count, bound=MAX_SUFFIX):",
        "    for i: uint256 in range(min(suffix_count, 0), bound=MAX_SUFFIX):",
        f"{RUN}::test_deliver_accepts_what_the_attestors_signed",
    ),
    swap(
        "bare entries are not hashed",
        GATE,
        "            accumulator = lane_module._extend(accumulator, convert(self._read(cursor), bytes32))\n",
        "",
        f"{RUN}::test_deliver_accepts_a_bare_entry_in_its_place",
        threats="A2 A7",
    ),
    drop(
        "another answer than was asked for",
        GATE,
        "        assert digest == lane_module._compute_digest(lane, lane_module.DISPATCHES, word),"
        ' "gate: verifier refused"',
        f"{VERIFIERS}::test_deliver_refuses_the_digest_of_another_checkpoint",
        f"{VERIFIERS}::test_deliver_refuses_a_verifier_that_accepts_by_fallback",
        threats="B1",
    ),
    drop(
        "proofs in any order",
        GATE,
        '        assert verified >> index == 0, "gate: proofs not ascending"',
        f"{VERIFIERS}::test_deliver_refuses_proofs_that_do_not_ascend",
        threats="B10",
    ),
    drop(
        "bytes between proofs and suffix",
        GATE,
        '    assert cursor == end, "gate: malformed body"',
        f"{RUN}::test_deliver_refuses_bytes_that_belong_to_nothing",
        threats="A4",
    ),
    drop(
        "a verifier that nobody registered",
        GATE,
        '    assert record != 0, "gate: unknown verifier"',
        f"{VERIFIERS}::test_deliver_asks_only_registered_verifiers",
        threats="A1 B1",
    ),
    drop(
        "a revoked verifier counts",
        GATE,
        '    assert record >> 240 == 0, "gate: verifier revoked"',
        f"{VERIFIERS}::test_deliver_refuses_a_revoked_verifier",
    ),
    drop(
        "a suspended verifier counts",
        GATE,
        '    assert block.timestamp >= (record >> 200) & envelope.MASK_40, "gate: verifier suspended"',
        f"{VERIFIERS}::test_deliver_refuses_a_suspended_verifier_until_its_time_is_up",
    ),
    drop(
        "a retired verifier counts for ever",
        GATE,
        '    assert retired == 0 or block.timestamp <= retired + DELIVERY_OVERLAP, "gate: verifier retired"',
        f"{VERIFIERS}::test_deliver_accepts_a_retired_verifier_for_thirty_days",
    ),
    swap(
        "retirement at once",
        GATE,
        "DELIVERY_OVERLAP: constant(uint256) = 30 * 86400",
        "DELIVERY_OVERLAP: constant(uint256) = 0",
        f"{VERIFIERS}::test_deliver_accepts_a_retired_verifier_for_thirty_days",
    ),
    drop(
        "longer than the window",
        GATE,
        '    assert size <= SMALL, "gate: envelope or proof too long"',
        f"{RUN}::test_deliver_refuses_an_envelope_longer_than_it_reads",
    ),
)

EXPIRY = (
    swap(
        "expire on a fork",
        GATE,
        '    assert chain.id == CHAIN_ID, "gate: wrong chain"\n    assert len(bytes_)',
        "    assert len(bytes_)",
        f"{FORK}::test_the_gate_of_a_fork_expires_nothing",
        threats="B12",
    ),
    drop(
        "expire what is no envelope",
        GATE,
        '    assert envelope._is_canonical_head(head), "gate: malformed envelope"',
        f"{EXPIRE}::test_expire_refuses_what_is_not_an_envelope",
    ),
    drop(
        "expire an envelope of any length",
        GATE,
        "    assert len(bytes_) == envelope.FIXED + envelope.ASSET * assets + (head & envelope.MASK_32),"
        ' "gate: malformed envelope"',
        f"{EXPIRE}::test_expire_refuses_what_is_not_an_envelope",
    ),
    swap(
        "expire on a lane that nobody opened",
        GATE,
        '    assert self.lanes[lane] != 0, "gate: unknown lane"\n    assert block.timestamp >',
        "    assert block.timestamp >",
        f"{EXPIRE}::test_expire_refuses_a_lane_that_nobody_opened",
        threats="A1",
    ),
    swap(
        "expire at the deadline",
        GATE,
        '    assert block.timestamp > (head >> envelope.BEFORE_SHIFT) & envelope.MASK_40, "gate: deadline',
        '    assert block.timestamp >= (head >> envelope.BEFORE_SHIFT) & envelope.MASK_40, "gate: deadline',
        f"{EXPIRE}::test_expire_is_refused_at_the_deadline_itself",
    ),
    drop(
        "expire what was executed",
        GATE,
        '        assert self._mark(lane, policy, nonce) == UNDECIDED, "gate: already delivered"',
        f"{EXPIRE}::test_expire_is_refused_for_what_was_executed",
    ),
    swap(
        "expire writes a mark",
        GATE,
        '        assert self._mark(lane, policy, nonce) == UNDECIDED, "gate: already delivered"',
        '        assert self._mark(lane, policy, nonce) == UNDECIDED, "gate: already delivered"\n'
        "        self.marks[self._mark_key(lane, policy, nonce)] |= FAILED << (2 * (nonce % 128))",
        f"{EXPIRE}::test_expire_of_a_forged_call_burns_nothing",
    ),
    drop(
        "expire assets that are decided",
        GATE,
        '        assert self.status[id] == UNDECIDED, "gate: already delivered"',
        f"{EXPIRE}::test_expire_of_an_envelope_with_assets_happens_once",
    ),
    drop(
        "expire assets again and again",
        GATE,
        "        self.status[id] = EXPIRED",
        f"{EXPIRE}::test_expire_of_an_envelope_with_assets_happens_once",
    ),
    drop(
        "keep a word of nothing",
        GATE,
        '    assert nonce != 0, "gate: nothing to keep"',
        f"{SNAPSHOT}::test_snapshot_keeps_no_word_of_a_lane_without_receipts",
        threats="A1",
    ),
)

GOVERNANCE = (
    drop(
        "anyone governs the gate",
        GATE,
        '    assert msg.sender == AUTHORITY, "gate: not the authority"',
        f"{AUTHORITY}::test_nobody_but_the_authority_governs_the_gate",
        f"{OUTSIDERS}::test_an_outsider_changes_nothing",
        threats="C5 C1",
    ),
    drop(
        "a lane opened again",
        GATE,
        '    assert self.lane_from[origin] == empty(bytes32), "gate: lane is open"',
        f"{AUTHORITY}::test_open_lane_is_for_ever",
    ),
    drop(
        "a lane from nowhere",
        GATE,
        '    assert origin != 0 and origin <= ORIGIN_MASK and origin != CHAIN_ID, "gate: no such origin"',
        f"{AUTHORITY}::test_open_lane_refuses_what_is_no_origin",
        threats="A1",
    ),
    swap(
        "a floor of a lane that nobody opened",
        GATE,
        '    assert state != 0, "gate: unknown lane"\n    assert policy',
        "    assert policy",
        f"{AUTHORITY}::test_a_floor_and_a_pause_need_an_open_lane",
        threats="A1",
    ),
    swap(
        "a pause of a lane that nobody opened",
        GATE,
        '    assert state != 0, "gate: unknown lane"\n    assert until',
        "    assert until",
        f"{AUTHORITY}::test_a_floor_and_a_pause_need_an_open_lane",
        threats="A1",
    ),
    drop(
        "an ill-formed floor",
        GATE,
        "    assert policy == 0 or receiver_policies._names_only(policy, self._registered()),"
        ' "gate: policy is not well-formed"',
        f"{AUTHORITY}::test_set_floor_refuses_what_is_no_policy_of_this_gate",
        threats="B4",
    ),
    swap(
        "a policy towards a lane that nobody opened",
        GATE,
        '    assert self.lanes[lane] != 0, "gate: unknown lane"\n    self.policies_moved = True\n'
        "    receiver_policies._set_policy",
        "    self.policies_moved = True\n    receiver_policies._set_policy",
        f"{SET_POLICY}::test_a_policy_needs_an_open_lane",
        threats="A1",
    ),
    swap(
        "tiers towards a lane that nobody opened",
        GATE,
        '    assert self.lanes[lane] != 0, "gate: unknown lane"\n    self.policies_moved = True\n'
        "    receiver_policies._set_tiers",
        "    self.policies_moved = True\n    receiver_policies._set_tiers",
        f"{SET_POLICY}::test_a_policy_needs_an_open_lane",
        threats="A1",
    ),
    drop(
        "a lane from the zero router",
        GATE,
        '    assert router != empty(bytes32), "gate: no such origin"',
        f"{AUTHORITY}::test_open_lane_refuses_what_is_no_origin",
        threats="A1",
    ),
    drop(
        "the zero verifier",
        GATE,
        '    assert record & ADDRESS_MASK != 0, "gate: zero verifier"',
        f"{AUTHORITY}::test_set_verifier_refuses_the_zero_verifier",
        threats="B3",
    ),
    drop(
        "an index of another meaning",
        GATE,
        '        assert old & ADDRESS_MASK == record & ADDRESS_MASK, "gate: an index never changes its meaning"',
        f"{AUTHORITY}::test_set_verifier_never_changes_what_an_index_means",
    ),
    swap(
        "an index out of turn",
        GATE,
        "        assert index == self.verifier_count and index < MAX_VERIFIERS",
        "        assert index < MAX_VERIFIERS",
        f"{AUTHORITY}::test_set_verifier_appends_only_the_next_index",
    ),
    drop(
        "a pause without end",
        GATE,
        '    assert until <= block.timestamp + MAX_PAUSE, "gate: a pause ends within 7 days"',
        f"{AUTHORITY}::test_a_pause_ends_within_seven_days",
    ),
    drop(
        "a gate without neighbours",
        GATE,
        '    assert authority != empty(address) and router != empty(address), "gate: zero address"',
        f"{AUTHORITY}::test_a_gate_is_built_with_both_of_its_neighbours",
        threats="E8",
    ),
)

MUTANTS = (*RUNS, *EXPIRY, *GOVERNANCE)
