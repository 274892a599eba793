"""Mutants of the Authority, its delayed owner and its brake."""

from tests.mutants.mutant import drop, swap

AUTHORITY, OWNER, BRAKE = "Authority.vy", "parts/delayed_owner.vy", "parts/brake.vy"
T = "contracts/authority"
ANNOUNCE, REGISTER, GUARDIANS = f"{T}/test_announce.py", f"{T}/test_register.py", f"{T}/test_guardians.py"
OUTSIDERS = "contracts/test_unauthenticated.py"

OWNERSHIP = (
    swap(
        "anyone performs what is due",
        OWNER,
        '    assert msg.sender == self.owner, "owner: not the owner"\n    if DELAY != 0:',
        "    if DELAY != 0:",
        f"{ANNOUNCE}::test_an_outsider_performs_no_act_of_the_owner_though_it_is_due",
        f"{OUTSIDERS}::test_an_outsider_changes_nothing",
        threats="C5",
    ),
    swap(
        "anyone announces",
        OWNER,
        '    assert msg.sender == self.owner, "owner: not the owner"\n    due:',
        "    due:",
        f"{ANNOUNCE}::test_an_outsider_neither_announces_nor_withdraws",
        f"{OUTSIDERS}::test_an_outsider_changes_nothing",
        threats="C5",
    ),
    swap(
        "anyone withdraws",
        OWNER,
        '    assert msg.sender == self.owner, "owner: not the owner"\n    self.due[action] = 0',
        "    self.due[action] = 0",
        f"{ANNOUNCE}::test_an_outsider_neither_announces_nor_withdraws",
        threats="C5",
    ),
    drop(
        "an act without notice",
        OWNER,
        '        assert due != 0, "owner: not announced"',
        f"{ANNOUNCE}::test_the_owner_performs_no_act_that_was_not_announced",
    ),
    drop(
        "an act at once",
        OWNER,
        '        assert block.timestamp >= due, "owner: still delayed"',
        f"{ANNOUNCE}::test_the_owner_performs_an_announced_act_no_sooner_than_the_delay",
    ),
    drop(
        "a stale announcement",
        OWNER,
        '        assert block.timestamp <= due + GRACE, "owner: announcement is stale"',
        f"{ANNOUNCE}::test_an_announcement_that_nobody_used_goes_stale",
    ),
    swap(
        "an announcement that serves for ever",
        OWNER,
        "        self.due[action] = 0\n",
        "        pass\n",
        f"{ANNOUNCE}::test_an_announcement_serves_once",
    ),
    drop(
        "anyone accepts ownership",
        OWNER,
        '    assert msg.sender == self.pending_owner, "owner: not the successor"',
        f"{ANNOUNCE}::test_ownership_passes_in_two_steps",
        f"{OUTSIDERS}::test_an_outsider_changes_nothing",
        threats="C5",
    ),
    drop(
        "nobody owns it",
        OWNER,
        '    assert owner != empty(address), "owner: zero address"',
        f"{ANNOUNCE}::test_an_authority_is_built_with_an_owner_a_delay_and_its_neighbours",
        threats="B3 E8",
    ),
    drop(
        "production without delay",
        AUTHORITY,
        '    assert development or delay >= MIN_DELAY, "authority: a delay of at least a day is needed"',
        f"{ANNOUNCE}::test_an_authority_is_built_with_an_owner_a_delay_and_its_neighbours",
    ),
    swap(
        "an announcement of half an act",
        AUTHORITY,
        "    delayed_owner._perform(keccak256(slice(msg.data, 0, 68)))\n    extcall GATE.set_floor",
        "    delayed_owner._perform(keccak256(slice(msg.data, 0, 36)))\n    extcall GATE.set_floor",
        f"{ANNOUNCE}::test_floors_and_profiles_arrive_where_they_belong",
    ),
)

VERIFIERS = (
    drop(
        "an authority without neighbours",
        AUTHORITY,
        '    assert router != empty(address) and gate != empty(address), "authority: zero address"',
        f"{ANNOUNCE}::test_an_authority_is_built_with_an_owner_a_delay_and_its_neighbours",
        threats="E8",
    ),
    drop(
        "acts on a verifier that is none",
        AUTHORITY,
        '    assert record != 0, "authority: unknown verifier"',
        f"{REGISTER}::test_acts_on_a_verifier_that_is_not_registered_are_refused",
        threats="A1",
    ),
    drop(
        "a development verifier in production",
        AUTHORITY,
        "    assert DEVELOPMENT or not staticcall IVerifier(verifier).development(),"
        ' "authority: a development verifier"',
        f"{REGISTER}::test_register_refuses_a_development_verifier",
        threats="B6",
    ),
    drop(
        "a verifier without code",
        AUTHORITY,
        '    assert verifier.is_contract, "authority: no such verifier"',
        f"{REGISTER}::test_register_refuses_an_account_without_code",
        threats="C12",
    ),
    drop(
        "one verifier twice",
        AUTHORITY,
        "        assert convert(self.verifiers[i] & ADDRESS_MASK, address) != verifier,"
        ' "authority: registered already"',
        f"{REGISTER}::test_register_refuses_a_verifier_twice",
        threats="B10",
    ),
    drop(
        "retired again and again",
        AUTHORITY,
        '    assert (record >> RETIRED_SHIFT) & MASK_40 == 0, "authority: retired already"',
        f"{REGISTER}::test_retire_again_does_not_prolong_the_overlap",
    ),
    swap(
        "the Router not told",
        AUTHORITY,
        "    extcall GATE.set_verifier(index, record)\n    self._refresh()",
        "    extcall GATE.set_verifier(index, record)",
        f"{REGISTER}::test_register_appends_the_verifier_everywhere",
    ),
    swap(
        "a retired verifier usable again",
        AUTHORITY,
        "        if record >> 240 == 0 and (record >> RETIRED_SHIFT) & MASK_40 == 0:",
        "        if record >> 240 == 0:",
        f"{REGISTER}::test_refresh_brings_back_neither_retired_nor_revoked_verifiers",
    ),
    drop(
        "no contradiction",
        AUTHORITY,
        "    assert word >> lane_module.ACCUMULATOR_BITS == other_word >> lane_module.ACCUMULATOR_BITS,"
        ' "authority: no contradiction"',
        f"{REGISTER}::test_report_needs_two_words_of_one_nonce",
    ),
    drop(
        "a word against itself",
        AUTHORITY,
        '    assert word < other_word, "authority: give the lower word first"',
        f"{REGISTER}::test_report_needs_two_words_of_one_nonce",
        f"{REGISTER}::test_report_counts_once_for_each_pair",
    ),
    drop(
        "old evidence for ever",
        AUTHORITY,
        '    assert not self.reported[pair], "authority: reported already"',
        f"{REGISTER}::test_report_counts_once_for_each_pair",
    ),
    drop(
        "evidence that the verifier did not accept",
        AUTHORITY,
        '    assert digest == lane_module._compute_digest(lane, direction, word), "authority: verifier refused"',
        f"{REGISTER}::test_report_needs_the_verifiers_own_acceptance_of_both",
        threats="B1",
    ),
    drop(
        "evidence of which the verifier accepted half",
        AUTHORITY,
        '    assert digest == lane_module._compute_digest(lane, direction, other_word), "authority: verifier refused"',
        f"{REGISTER}::test_report_needs_the_verifiers_own_acceptance_of_both",
        threats="B1",
    ),
    swap(
        "evidence that leaves no time to act",
        AUTHORITY,
        "    until: uint256 = block.timestamp + delayed_owner.DELAY + REACTION",
        "    until: uint256 = block.timestamp + delayed_owner.DELAY",
        f"{REGISTER}::test_report_suspends_a_verifier_that_contradicts_itself",
    ),
    swap(
        "evidence undone by a guardian",
        AUTHORITY,
        "    self._suspend(index, max(block.timestamp, self.evidence_until[index]))",
        "    self._suspend(index, block.timestamp)",
        f"{REGISTER}::test_no_guardian_shortens_what_evidence_imposed",
    ),
    swap(
        "a suspension shortened by evidence",
        AUTHORITY,
        "    self._suspend(index, max(until, (record >> SUSPENDED_SHIFT) & MASK_40))",
        "    self._suspend(index, until)",
        f"{REGISTER}::test_evidence_does_not_shorten_what_a_guardian_imposed",
    ),
)

GUARDS = (
    swap(
        "anyone stops",
        BRAKE,
        '    assert self.guardians[msg.sender], "authority: not a guardian"\n    assert duration',
        "    assert duration",
        f"{GUARDIANS}::test_nobody_but_a_guardian_stops_or_releases",
        f"{OUTSIDERS}::test_an_outsider_changes_nothing",
        threats="C5",
    ),
    swap(
        "anyone releases",
        BRAKE,
        '    assert self.guardians[msg.sender], "authority: not a guardian"\n    count',
        "    count",
        f"{GUARDIANS}::test_nobody_but_a_guardian_stops_or_releases",
        threats="C5",
    ),
    drop(
        "a stop without end",
        BRAKE,
        '    assert used <= MAX_STOPPED, "authority: at most 7 days of stops in any 30"',
        f"{GUARDIANS}::test_one_stop_lasts_seven_days_at_most",
        f"{GUARDIANS}::test_stops_of_all_guardians_count_together",
    ),
    swap(
        "earlier stops forgotten",
        BRAKE,
        "            used += end - max(stop >> 40, since)",
        "            pass",
        f"{GUARDIANS}::test_stops_of_all_guardians_count_together",
        f"{GUARDIANS}::test_no_window_of_thirty_days_holds_more_than_seven_of_stops",
    ),
    drop(
        "the release of what has ended",
        BRAKE,
        '    assert stop & MASK_40 > block.timestamp, "authority: not stopped"',
        f"{GUARDIANS}::test_what_is_not_stopped_is_not_released",
    ),
    drop(
        "the release of what never stopped",
        BRAKE,
        '    assert count != 0, "authority: not stopped"',
        f"{GUARDIANS}::test_what_is_not_stopped_is_not_released",
    ),
    drop(
        "a stop on top of another",
        BRAKE,
        '        assert end <= block.timestamp, "authority: stopped already"',
        f"{GUARDIANS}::test_a_stop_ends_by_itself_before_the_next_begins",
    ),
    swap(
        "a stop that overwrites one that counts",
        BRAKE,
        "    if oldest & MASK_40 > since:",
        "    if False:",
        f"{GUARDIANS}::test_many_short_stops_are_bounded_too",
    ),
    drop(
        "the zero guardian",
        BRAKE,
        '    assert guardian != empty(address), "authority: zero guardian"',
        f"{GUARDIANS}::test_nobody_is_no_guardian",
        threats="B3",
    ),
)

MUTANTS = (*OWNERSHIP, *VERIFIERS, *GUARDS)
