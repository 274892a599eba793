"""The checkpoint's digest depends on lane, direction and word, and exists only for words that a lane can hold."""

from dataclasses import replace

import pytest

from comity.core.checkpoint import Checkpoint, CheckpointLaneInvalid
from comity.core.lane import LaneError, pack_word
from comity.core.types import Direction

CHECKPOINT = Checkpoint(b"\1" * 32, Direction.DISPATCHES, pack_word(3, 9))


def test_every_field_changes_the_digest():
    changes = (
        {"lane": b"\2" * 32},
        {"direction": Direction.RECEIPTS},
        {"word": pack_word(4, 9)},
        {"word": pack_word(3, 8)},
    )
    digests = {replace(CHECKPOINT, **change).digest for change in changes}
    assert len(digests | {CHECKPOINT.digest}) == 5


def test_nonce_and_accumulator_are_those_of_the_word():
    assert (CHECKPOINT.nonce, CHECKPOINT.accumulator) == (3, 9)


def test_the_word_of_an_unopened_lane_is_no_checkpoint():
    with pytest.raises(LaneError):
        replace(CHECKPOINT, word=0)


def test_a_lane_of_another_length_is_refused():
    with pytest.raises(CheckpointLaneInvalid):
        replace(CHECKPOINT, lane=b"\1" * 31)
