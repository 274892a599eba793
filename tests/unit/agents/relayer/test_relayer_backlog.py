"""Whose turn it is: nobody starves, near deadlines go first, and what is in flight is left alone."""

import pytest
from model_gate import GENESIS, HOUR, LANE, Dispatches

from comity.agents.relayer.backlog import WINDOW, Backlog
from comity.core.types import Seconds
from comity.store.port import Store

NOW = Seconds(100)


@pytest.fixture
def backlog(store: Store) -> Backlog:
    return Backlog(store, LANE, urgent_seconds=Seconds(600))


def take(backlog: Backlog, count: int = 100) -> list[int]:
    """The nonces of the next window's first envelopes, held as if they were sent."""
    window = [record.dispatch.nonce for record in backlog.load_window(NOW, GENESIS)][:count]
    if window:
        backlog.hold(window[0], window[-1])
        backlog.resume_from(window[-1] + 1)
    return window


def test_windows_go_through_the_backlog_and_start_again(dispatches: Dispatches, backlog: Backlog) -> None:
    dispatches.send(250)
    taken = [nonce for _ in range(4) for nonce in take(backlog)]
    assert sorted(taken) == list(range(1, 251))
    assert take(backlog) == []
    backlog.release(1, 100)
    assert take(backlog) == list(range(1, 101))


def test_new_envelopes_are_served_while_old_ones_wait(dispatches: Dispatches, backlog: Backlog) -> None:
    dispatches.send(2000)
    turns = [take(backlog, 50) for _ in range(4)]
    assert max(turns[0]) == 50
    assert any(min(turn) > 2000 - 2 * WINDOW for turn in turns), "one turn in four is the newest's"


def test_put_off_envelopes_are_not_offered_before_their_time(
    dispatches: Dispatches, backlog: Backlog, store: Store
) -> None:
    dispatches.send(5)
    store.defer_envelopes(LANE, [1, 3], "later", Seconds(NOW + 1), costs_attempt=False)
    assert [record.dispatch.nonce for record in backlog.load_window(NOW, GENESIS)] == [2, 4, 5]
    assert [record.dispatch.nonce for record in backlog.load_window(Seconds(NOW + 1), GENESIS)] != []


def test_the_nearest_deadlines_go_first_in_their_order(dispatches: Dispatches, backlog: Backlog) -> None:
    dispatches.send(300)
    dispatches.send(1, deliver_before=Seconds(GENESIS + 500))
    dispatches.send(300)
    dispatches.send(1, deliver_before=Seconds(GENESIS + 60))
    dispatches.send(1, deliver_before=Seconds(GENESIS + HOUR))
    assert take(backlog, 1) == [602]
    assert take(backlog, 1) == [301]
    assert take(backlog, 1) == [1]


def test_deadlines_of_a_huge_backlog_take_bounded_memory(dispatches: Dispatches, backlog: Backlog) -> None:
    for _ in range(4):
        dispatches.send(5000)
    dispatches.send(1, deliver_before=Seconds(GENESIS + 60))
    assert take(backlog, 1) == [20_001]
    assert len(backlog._deadlines) <= 2 * 4096


def test_after_a_reorg_new_deadlines_are_learned(dispatches: Dispatches, backlog: Backlog, store: Store) -> None:
    dispatches.send(3)
    assert take(backlog) == [1, 2, 3]
    backlog.release(1, 3)
    store.revert_dispatches(LANE, 1)
    assert take(backlog) == [1]
    backlog.release(1, 1)
    del dispatches.rows[1:]
    dispatches.send(1)
    dispatches.send(1, deliver_before=Seconds(GENESIS + 60))
    assert take(backlog, 1) == [3]
