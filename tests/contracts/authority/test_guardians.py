"""Guardians delay: at most 7 days in any 30, over all of them, for each lane and each verifier; and decide nothing."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.core.errors import Rejected
from tests.contracts.authority.conftest import GUARDIAN, OTHER_GUARDIAN
from tests.contracts.chain import DAY, refused
from tests.contracts.world import OUTSIDER

PAUSE = "pause(bytes32,uint256)"
RESUME = "resume(bytes32)"
SUSPEND = "suspend(uint256,uint256)"
REINSTATE = "reinstate(uint256)"
MOST = 7 * DAY
WINDOW = 30 * DAY
TOO_LONG = "authority: at most 7 days of stops in any 30"
BOTH_KINDS = pytest.mark.parametrize("stop", ["lane", "verifier"])


async def stop_(production, kind, duration, sender=GUARDIAN):
    signature, thing = (PAUSE, production.lane) if kind == "lane" else (SUSPEND, 0)
    await production.chain.act(production.authority, signature, thing, duration, sender=sender)


async def release(production, kind, sender=GUARDIAN):
    signature, thing = (RESUME, production.lane) if kind == "lane" else (REINSTATE, 0)
    await production.chain.act(production.authority, signature, thing, sender=sender)


@pytest.mark.threat("C5")
@BOTH_KINDS
async def test_nobody_but_a_guardian_stops_or_releases(production, stop):
    await stop_(production, stop, DAY)
    for sender in (OUTSIDER, production.chain.account):
        for act in (stop_(production, stop, DAY, sender), release(production, stop, sender)):
            with refused("authority: not a guardian"):
                await act


@BOTH_KINDS
async def test_a_former_guardian_stops_nothing(production, stop):
    await production.perform("set_guardian(address,bool)", GUARDIAN, False)
    with refused("authority: not a guardian"):
        await stop_(production, stop, DAY)


@pytest.mark.threat("B3")
async def test_nobody_is_no_guardian(production):
    with refused("authority: zero guardian"):
        await production.perform("set_guardian(address,bool)", bytes(20), True)


@BOTH_KINDS
async def test_one_stop_lasts_seven_days_at_most(production, stop):
    for duration in (MOST + 1, 1 << 60):
        with refused(TOO_LONG):
            await stop_(production, stop, duration)
    with refused("authority: no duration"):
        await stop_(production, stop, 0)
    await stop_(production, stop, MOST)


@BOTH_KINDS
async def test_stops_of_all_guardians_count_together(production, stop):
    await stop_(production, stop, 4 * DAY)
    await production.pass_time(4 * DAY)
    with refused(TOO_LONG):
        await stop_(production, stop, 3 * DAY + 1, OTHER_GUARDIAN)
    await stop_(production, stop, 3 * DAY, OTHER_GUARDIAN)
    await production.pass_time(3 * DAY)
    with refused(TOO_LONG):
        await stop_(production, stop, 1)


@BOTH_KINDS
async def test_a_stop_ends_by_itself_before_the_next_begins(production, stop):
    await stop_(production, stop, DAY)
    await production.pass_time(DAY - 1)
    with refused("authority: stopped already"):
        await stop_(production, stop, 1, OTHER_GUARDIAN)
    await production.pass_time(1)
    await stop_(production, stop, 1)


@BOTH_KINDS
async def test_a_full_stop_is_possible_again_when_the_window_has_passed(production, stop):
    await stop_(production, stop, MOST)
    await production.pass_time(WINDOW - 1)
    with refused(TOO_LONG):
        await stop_(production, stop, MOST)
    await production.pass_time(1)
    await stop_(production, stop, MOST)


@BOTH_KINDS
async def test_only_the_time_used_counts_after_a_release(production, stop):
    await stop_(production, stop, MOST)
    await production.pass_time(DAY)
    await release(production, stop, OTHER_GUARDIAN)
    await stop_(production, stop, 6 * DAY)
    await production.pass_time(6 * DAY)
    with refused(TOO_LONG):
        await stop_(production, stop, 1)


@BOTH_KINDS
async def test_what_is_not_stopped_is_not_released(production, stop):
    with refused("authority: not stopped"):
        await release(production, stop)
    await stop_(production, stop, DAY)
    await production.pass_time(DAY)
    with refused("authority: not stopped"):
        await release(production, stop)


@BOTH_KINDS
async def test_many_short_stops_are_bounded_too(production, stop):
    """The record of stops is finite: none is forgotten while it counts, and none of them disarms the brake."""
    await stop_(production, stop, 3 * DAY)
    await production.pass_time(3 * DAY)
    for _ in range(20):
        await stop_(production, stop, 60)
        await production.pass_time(60)
    with refused(TOO_LONG):
        await stop_(production, stop, 4 * DAY - 20 * 60 + 1)
    await stop_(production, stop, 4 * DAY - 20 * 60)
    await production.pass_time(WINDOW + 4 * DAY)
    await stop_(production, stop, MOST)


@BOTH_KINDS
async def test_a_guardian_who_stops_and_releases_disarms_nobody(production, stop):
    for _ in range(10):
        await stop_(production, stop, 60)
        await release(production, stop)
    await production.pass_time(1)
    await stop_(production, stop, 6 * DAY, OTHER_GUARDIAN)


async def test_lanes_and_verifiers_are_counted_apart(production):
    await stop_(production, "lane", MOST)
    await stop_(production, "verifier", MOST)


async def test_a_pause_needs_an_open_lane(production):
    with refused("gate: unknown lane"):
        await production.chain.act(production.authority, PAUSE, b"\1" * 32, DAY, sender=GUARDIAN)


DURATIONS = st.sampled_from([1, 60, DAY, 2 * DAY, 3 * DAY, 4 * DAY, MOST, MOST + 1])
WAITS = st.sampled_from([0, 1, 60, DAY, 4 * DAY, 8 * DAY, 16 * DAY, 23 * DAY, WINDOW])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(DURATIONS, WAITS, st.booleans()), min_size=6, max_size=30))
async def test_no_window_of_thirty_days_holds_more_than_seven_of_stops(production, tries):
    """Whatever guardians try: durations, waits, early releases; refused tries among them."""
    stops = []
    async with production.chain.rolled_back():
        for duration, wait, early in tries:
            begin = await production.now()
            try:
                await stop_(production, "lane", duration)
            except Rejected:
                await production.pass_time(wait)
                continue
            await production.pass_time(wait)
            end = begin + duration
            if early and await production.now() < end:
                await release(production, "lane")
                end = await production.now()
            stops.append((begin, end))
    for edge in (*(end for _, end in stops), *(begin + WINDOW for begin, _ in stops)):
        stopped = sum(max(0, min(end, edge) - max(begin, edge - WINDOW)) for begin, end in stops)
        assert stopped <= MOST
