"""Words commit to every entry, its order and its position."""

import pytest
from core_strategies import bytes32
from hypothesis import given
from hypothesis import strategies as st

from comity.core import lane
from comity.core.lane import compute_lane, compute_seed, compute_word, extend, extend_word, pack_word, unpack_word
from comity.core.types import Direction, to_address32

LANE = compute_lane(1, to_address32(b"\1" * 20), 2, to_address32(b"\2" * 20))
SEED = compute_seed(LANE, Direction.DISPATCHES)
MASK = (1 << 216) - 1

runs = st.lists(bytes32, min_size=1, max_size=8)


@given(runs, st.data())
def test_word_of_a_run_is_that_of_its_entries_one_by_one(entries, data):
    word = pack_word(0, SEED)
    words = [word, *(word := extend_word(word, entry) for entry in entries)]
    start = data.draw(st.integers(0, len(entries) - 1))
    end = data.draw(st.integers(start + 1, len(entries)))
    nonce, before = unpack_word(words[start])
    assert compute_word(before, nonce + 1, entries[start:end], entries[end:]) == words[-1]


@given(runs, st.data())
def test_word_changes_with_any_entry(entries, data):
    index = data.draw(st.integers(0, len(entries) - 1))
    other = [*entries[:index], data.draw(bytes32.filter(lambda entry: entry != entries[index])), *entries[index + 1 :]]
    assert compute_word(SEED, 1, entries) != compute_word(SEED, 1, other)


@given(st.integers(0, lane.MAX_NONCE), st.integers(1, MASK))
def test_unpack_inverts_pack(nonce, accumulator):
    assert unpack_word(pack_word(nonce, accumulator)) == (nonce, accumulator)


def test_every_part_of_the_lane_changes_its_id():
    one, other = to_address32(b"\1" * 20), to_address32(b"\2" * 20)
    lanes = {
        compute_lane(*parts) for parts in [(1, one, 2, one), (2, one, 1, one), (1, other, 2, one), (1, one, 2, other)]
    }
    assert len(lanes) == 4


def test_directions_start_apart():
    assert compute_seed(LANE, Direction.DISPATCHES) != compute_seed(LANE, Direction.RECEIPTS)


def test_a_full_lane_takes_no_entry():
    with pytest.raises(lane.NonceOutOfRange):
        extend_word(pack_word(lane.MAX_NONCE, SEED), bytes(32))


@pytest.mark.parametrize("word", [0, 5 << 216, -1, 1 << 256])
def test_unpack_refuses_what_no_opened_lane_holds(word):
    with pytest.raises(lane.LaneError):
        unpack_word(word)


@pytest.mark.parametrize("accumulator", [0, -1, 1 << 216])
def test_accumulators_out_of_range_are_refused(accumulator):
    for attempt in (lambda: pack_word(1, accumulator), lambda: extend(accumulator, bytes(32))):
        with pytest.raises(lane.AccumulatorOutOfRange):
            attempt()


@pytest.mark.parametrize(
    "parts",
    [
        (0, b"\1" * 32, 2, b"\1" * 32),
        (1, b"\1" * 32, 1 << 256, b"\1" * 32),
        (1, b"\1" * 20, 2, b"\1" * 32),
        (1, b"\1" * 32, 2, bytes(32)),
    ],
)
def test_lane_parts_out_of_range_are_refused(parts):
    with pytest.raises(lane.LaneFieldInvalid):
        compute_lane(*parts)
