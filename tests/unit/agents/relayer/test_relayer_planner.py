"""Which run is chosen: as many envelopes as fit, under one word that all of them accept, for the least gas."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_gate import (
    BOTH,
    FIRST,
    GENESIS,
    HOUR,
    LANE,
    SECOND,
    Dispatches,
    build_envelope,
    build_proof,
)

from comity.agents.relayer.planner import (
    ANY_POLICY,
    Candidate,
    Expired,
    Limits,
    estimate_gas,
    find_dependency_hindrance,
    find_time_hindrance,
    is_too_large,
    select_run,
    split_provable,
)
from comity.agents.relayer.proofs import ProvenWord
from comity.agents.relayer.runs import load_run
from comity.core.delivery import MAX_ENTRIES, MAX_SUFFIX, decode_body, is_envelope
from comity.core.envelope import decode
from comity.core.policy import is_satisfied
from comity.core.types import Accumulator, Address32, Gas, Outcome, Seconds, Word
from comity.store.sqlite import SqliteStore

PLENTY = Limits(Gas(16_000_000))
NOBODY = Address32(bytes(32))


def build_candidate(nonce: int, *, receiver_policy: int | None = FIRST, awaits: int = 0, **fields: Any) -> Candidate:
    envelope = build_envelope(nonce, **fields)
    return Candidate(nonce, envelope.id, envelope.encode(), envelope, receiver_policy, awaits=awaits)


def build_word(nonce: int, *indices: int) -> ProvenWord:
    word = Word(nonce << 216 | 1)
    return ProvenWord(nonce, word, {index: build_proof(index, word) for index in indices or (0,)})


def select(candidates: Sequence[Candidate], *words: ProvenWord, limits: Limits = PLENTY) -> list[int] | None:
    selection = select_run(candidates, words, limits)
    return selection and [each.nonce for each in selection.chosen]


def test_a_run_holds_a_hundred() -> None:
    candidates = [build_candidate(nonce) for nonce in range(1, 161)]
    assert select(candidates, build_word(160)) == list(range(1, 101))


def test_a_run_spans_what_the_gate_takes() -> None:
    candidates = [build_candidate(1), *(build_candidate(nonce) for nonce in range(100, 160))]
    assert select(candidates, build_word(160)) == [1, *range(100, MAX_ENTRIES + 1)]


@pytest.mark.parametrize(("distance", "is_reached"), [(MAX_ENTRIES + MAX_SUFFIX - 1, True), (384, False)])
def test_a_word_is_reached_by_entries_and_suffix_together(distance: int, is_reached: bool) -> None:
    found = select_run([build_candidate(5)], [build_word(5 + distance)], PLENTY)
    assert (found is not None) is is_reached


def test_a_word_before_the_envelope_proves_nothing() -> None:
    assert select([build_candidate(5)], build_word(4)) is None


def test_the_lowest_word_at_or_after_the_runs_end_is_used() -> None:
    candidates = [build_candidate(nonce) for nonce in range(1, 11)]
    selection = select_run(candidates, [build_word(nonce) for nonce in (9, 12, 64, 128)], PLENTY)
    assert selection is not None
    assert (selection.proven.nonce, selection.suffix) == (12, 2)


def test_more_envelopes_beat_a_nearer_word() -> None:
    candidates = [build_candidate(nonce) for nonce in range(1, 51)]
    selection = select_run(candidates, [build_word(3), build_word(64)], PLENTY)
    assert selection is not None
    assert (len(selection.chosen), selection.proven.nonce) == (50, 64)


def test_all_policies_of_a_run_are_satisfied_by_one_word() -> None:
    candidates = [
        build_candidate(1),
        build_candidate(2, policy=BOTH),
        build_candidate(3, receiver_policy=SECOND),
        build_candidate(4, receiver_policy=ANY_POLICY),
    ]
    assert select(candidates, build_word(4, 0)) == [1, 4]
    assert select(candidates, build_word(4, 0), build_word(5, 0, 1)) == [1, 2, 3, 4]


def test_proofs_that_nobody_in_the_run_asks_for_are_left_out() -> None:
    selection = select_run([build_candidate(1), build_candidate(2)], [build_word(2, 0, 1)], PLENTY)
    assert selection is not None
    assert set(selection.proven.proofs) == {0}


def test_a_dependant_goes_only_with_its_dependency() -> None:
    candidates = [build_candidate(1, receiver_policy=SECOND), build_candidate(2, awaits=1), build_candidate(3)]
    assert select_run(candidates[1:], [build_word(3)], PLENTY) is None
    assert select([candidates[2]], build_word(3)) == [3]
    assert select([build_candidate(1), *candidates[1:]], build_word(3)) == [1, 2, 3]


def test_the_sum_of_gas_limits_keeps_to_the_limit() -> None:
    candidates = [build_candidate(nonce, gas_limit=1_000_000) for nonce in range(1, 30)]
    limits = Limits(Gas(10_000_000))
    selection = select_run(candidates, [build_word(30)], limits)
    assert selection is not None
    assert 5 < len(selection.chosen) < 10
    assert selection.gas <= limits.gas


def test_an_envelope_that_asks_for_more_than_the_limit_is_never_selected() -> None:
    limits = Limits(Gas(10_000_000))
    large, small = build_candidate(1, gas_limit=20_000_000), build_candidate(2)
    assert is_too_large(large, limits)
    assert not is_too_large(small, limits)
    assert select([large, small], build_word(2), limits=limits) is None


def test_a_selection_keeps_to_the_limit_with_its_proofs_and_bare_entries() -> None:
    candidate = build_candidate(1, gas_limit=9_500_000)
    limits = Limits(Gas(estimate_gas((candidate,), {0: bytes(33)}, 4)))
    assert select([candidate], build_word(4), limits=limits) == [1]
    assert select([candidate], build_word(5), limits=limits) is None
    assert select([candidate], build_word(4), build_word(300), limits=limits) == [1]


def test_a_valuation_is_paid_for() -> None:
    plain = build_candidate(1)
    tiered = replace(plain, is_tiered=True, receiver_policy=ANY_POLICY)
    assert estimate_gas([tiered] * 20, {}, 0) - estimate_gas([plain] * 20, {}, 0) >= 20 * 120_000


def test_all_proofs_are_kept_where_a_valuation_decides() -> None:
    tiered = replace(build_candidate(1), is_tiered=True, receiver_policy=ANY_POLICY)
    selection = select_run([tiered], [build_word(1, 0, 1)], PLENTY)
    assert selection is not None
    assert set(selection.proven.proofs) == {0, 1}


def test_what_no_word_can_carry_is_split_off_with_its_dependants() -> None:
    candidates = [
        build_candidate(1, receiver_policy=SECOND),
        build_candidate(2, awaits=1),
        build_candidate(3),
        build_candidate(4, awaits=3),
        build_candidate(6),
    ]
    provable, others = split_provable(candidates, [build_word(5)])
    assert [each.nonce for each in provable] == [3, 4]
    assert [each.nonce for each in others] == [1, 2, 6]
    far = [build_word(3 + MAX_ENTRIES + MAX_SUFFIX)]
    assert [each.nonce for each in split_provable(candidates, far)[0]] == [6]


@pytest.mark.parametrize("gas_limit", [0, 1, 100_000, 30_000_000])
def test_the_gas_covers_the_frame_and_both_steps_of_63_64(gas_limit: int) -> None:
    candidate = build_candidate(1, gas_limit=gas_limit)
    sent = estimate_gas((candidate,), {0: bytes(300)}, 0)
    # What the Gate demands before a frame, after having spent what it does before it (contracts/Gate.vy).
    spent_before = 21_000 + 16 * 900 + 60_000
    left = sent - spent_before
    assert left - left // 64 >= gas_limit + gas_limit // 63 + 20_000 + 80_000


@pytest.mark.parametrize(
    ("now", "wait"), [(GENESIS - 5, 5), (GENESIS - HOUR, 60), (GENESIS, None), (GENESIS + HOUR, None)]
)
def test_the_window_opens_and_includes_both_ends(now: int, wait: int | None) -> None:
    envelope = build_envelope(1, deliver_after=GENESIS, deliver_before=Seconds(GENESIS + HOUR))
    hindrance = find_time_hindrance(envelope, Seconds(now))
    assert (hindrance.wait if hindrance else None) == wait


def test_past_the_deadline_it_is_expired() -> None:
    envelope = build_envelope(1, deliver_before=GENESIS)
    with pytest.raises(Expired):
        find_time_hindrance(envelope, Seconds(GENESIS + 1))


@pytest.mark.parametrize(
    ("outcome", "is_hindered"),
    [
        (None, True),
        (Outcome.EXPIRED, True),
        (Outcome.EXECUTED, False),
        (Outcome.FILLED, False),
        (Outcome.FAILED, False),
        (Outcome.CANCELLED, False),
    ],
)
def test_a_decided_dependency_lets_its_dependant_be_decided(outcome: Outcome | None, is_hindered: bool) -> None:
    assert bool(find_dependency_hindrance(outcome, is_known=True, wait=Seconds(3))) is is_hindered


@pytest.fixture(scope="module")
def lane() -> Iterator[Dispatches]:
    store = SqliteStore(None)
    dispatches = Dispatches(store)
    for nonce in range(1, 401):
        policy = (FIRST, SECOND, BOTH)[nonce % 7 % 3]
        dispatches.send(1, policy=policy, payload=bytes(nonce % 60))
    yield dispatches
    store.close()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_run_is_one_that_the_gate_takes(lane: Dispatches, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, 380))
    nonces = data.draw(st.sets(st.integers(first, min(first + 200, 400)), min_size=1, max_size=140).map(sorted))
    ends = data.draw(st.sets(st.integers(first, 400), min_size=1, max_size=6).map(sorted))
    words = []
    for nonce in ends:
        word = lane.word(nonce)
        indices = data.draw(st.sampled_from([(0,), (1,), (0, 1)]))
        words.append(ProvenWord(nonce, word, {index: build_proof(index, word) for index in indices}))
    candidates = [
        Candidate(nonce, lane.rows[nonce - 1].id, lane.rows[nonce - 1].envelope, decode(lane.rows[nonce - 1].envelope))
        for nonce in nonces
    ]
    limits = Limits(Gas(data.draw(st.sampled_from([1_000_000, 16_000_000]))))
    selection = select_run(candidates, words, limits)
    if selection is None:
        head = candidates[0]
        assert not any(
            head.nonce <= word.nonce < head.nonce + MAX_ENTRIES + MAX_SUFFIX
            and head.is_satisfied(word.verified)
            and estimate_gas((head,), word.proofs, word.nonce - head.nonce + 1) <= limits.gas
            for word in words
        )
        return
    assert selection.gas <= limits.gas
    run = load_run(lane.store, LANE, selection, NOBODY)
    calls = [(run.encode()[0], [each.nonce for each in selection.chosen])]
    calls += [(run.encode_alone(each)[0], [each.nonce]) for each in selection.chosen[:3]]
    for call, expected in calls:
        delivery = decode_body(
            Accumulator(int.from_bytes(call[4:36], "big")),
            NOBODY,
            call[132 : 132 + int.from_bytes(call[100:132], "big")],
        )
        assert delivery.word == selection.proven.word
        carried = [decode(entry) for entry in delivery.entries if is_envelope(entry)]
        assert [envelope.nonce for envelope in carried] == expected
        verified = sum(1 << index for index in delivery.proofs)
        assert all(is_satisfied(envelope.policy, verified) for envelope in carried)
        assert is_envelope(delivery.entries[0])
        assert len(delivery.suffix) <= MAX_SUFFIX
