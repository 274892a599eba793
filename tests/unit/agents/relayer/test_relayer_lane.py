"""What a lane's relay delivers, puts off, gives up and expires, against a Gate in Python."""

import time
from collections.abc import Callable
from itertools import pairwise

from lane_work import make_due, work
from model_gate import (
    BOTH,
    FIRST,
    GENESIS,
    HOUR,
    LANE,
    POISON,
    RECEIVER,
    SECOND,
    STRANGER,
    Attestors,
    Dispatches,
    ModelGate,
)

from comity.agents.relayer.gate import TIERED
from comity.agents.relayer.lane import LaneRelay
from comity.agents.relayer.proofs import REACH
from comity.core.envelope import Flags
from comity.core.errors import Invalid
from comity.core.types import Outcome, Seconds, Word, to_address32
from comity.store.port import DeliveryState, Store

BuildRelay = Callable[..., LaneRelay]


async def test_relay_delivers_a_backlog_in_runs_of_a_hundred(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors]
) -> None:
    sent = dispatches.send(250)
    attestors[0].words = [dispatches.word(nonce) for nonce in (64, 128, 192, 250)]
    await work(build_relay())
    assert sorted(map(len, gate.runs), reverse=True) == [100, 100, 50]
    assert [gate.executions[envelope.id] for envelope in sent] == [1] * 250


async def test_relay_waits_for_a_proof_without_spending_attempts(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    dispatches.send(3)
    relay = build_relay()
    await work(relay)
    assert gate.runs == []
    attestors[0].words = [dispatches.word(3)]
    await work(relay)
    assert gate.runs == [[1, 2, 3]]


async def test_relay_ignores_a_word_that_is_not_the_lanes(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors]
) -> None:
    dispatches.send(3)
    attestors[0].words = [Word(dispatches.word(2) ^ 1), Word(dispatches.word(3) ^ 1)]
    relay = build_relay()
    await work(relay)
    assert gate.rehearsals == 0
    attestors[0].words.append(dispatches.word(3))
    await work(relay)
    assert gate.runs == [[1, 2, 3]]


async def test_what_is_in_flight_is_not_sent_again(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors]
) -> None:
    gate.mining.clear()
    dispatches.send(150)
    attestors[0].words = [dispatches.word(150)]
    relay = build_relay(pipeline=8)
    for _ in range(12):
        await relay.step()
    assert relay.in_flight == 2
    gate.mining.set()
    await relay.drain()
    assert sorted(map(len, gate.runs)) == [50, 100]
    assert gate.rehearsals == 2


async def test_a_receiver_with_tiers_is_left_to_the_rehearsal(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors]
) -> None:
    gate.policies[RECEIVER] = TIERED
    dispatches.send(2)
    attestors[0].words = [dispatches.word(2)]
    await work(build_relay())
    assert gate.runs == [[1, 2]]


async def test_relay_proves_one_common_word_to_several_verifiers(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors]
) -> None:
    gate.policies[STRANGER] = SECOND
    dispatches.send(1)
    dispatches.send(1, policy=BOTH)
    dispatches.send(1, receiver=to_address32(STRANGER))
    attestors[0].words = [dispatches.word(1), dispatches.word(3)]
    attestors[1].words = [dispatches.word(2), dispatches.word(3)]
    await work(build_relay())
    assert gate.runs == [[1, 2, 3]]


async def test_an_unprovable_policy_holds_up_nobody(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    dispatches.send(1, policy=SECOND)
    dispatches.send(2)
    attestors[0].words = [dispatches.word(3)]
    relay = build_relay()
    await work(relay)
    assert gate.runs == [[2, 3]]
    [waiting] = store.load_pending(LANE, Seconds(2**40), limit=10)
    assert (waiting.cause, waiting.attempts) == ("policy not satisfied by the proofs at hand", 0)
    attestors[1].words = [dispatches.word(3)]
    make_due(store)
    await work(relay)
    assert gate.runs == [[2, 3], [1]]


async def test_a_poisonous_receiver_is_isolated_and_backs_off(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    dispatches.send(2)
    [poison] = dispatches.send(1, receiver=to_address32(POISON))
    dispatches.send(2)
    attestors[0].words = [dispatches.word(5)]
    relay = build_relay()
    await work(relay)
    assert gate.runs == [[1, 2, 4, 5]]
    assert gate.carried == [[1, 2, 3, 4, 5]]
    waits = []
    for _ in range(4):
        row = store.load_dispatch(LANE, 3)
        assert row is not None
        assert row.cause == "gate: receiver failed"
        waits.append(row.next_attempt_at - int(time.time()))
        make_due(store)
        dispatches.send(3)
        attestors[0].words.append(dispatches.word(len(dispatches.rows)))
        await work(relay)
    assert [len(run) for run in gate.carried] == [5, 3, 3, 3, 3], "the poison never joins another run"
    assert all(later > 1.1 * earlier for earlier, later in pairwise(waits)), waits
    gate.failing.clear()
    make_due(store)
    await work(relay)
    assert gate.executions[poison.id] == 1


async def test_hopeless_envelopes_do_not_slow_the_others(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors]
) -> None:
    dispatches.send(1000, policy=SECOND)
    dispatches.send(1)
    attestors[0].words = [dispatches.word(nonce) for nonce in range(64, 1001, 64)] + [dispatches.word(1001)]
    relay = build_relay(pipeline=1)
    while not gate.runs:
        assert await relay.step(), "it never rests before the one that can go has gone"
        await relay.drain()


async def test_poison_costs_gas_in_one_run_only(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors]
) -> None:
    dispatches.send(2)
    dispatches.send(1, receiver=to_address32(POISON))
    dispatches.send(300)
    attestors[0].words = [dispatches.word(nonce) for nonce in (128, 256, 303)]
    await work(build_relay(pipeline=1))
    assert sum(3 in nonces for nonces in gate.carried) == 1
    assert sum(map(len, gate.runs)) == 302


async def test_a_failing_receiver_that_is_not_retryable_ends_failed(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    dispatches.send(1, receiver=to_address32(POISON), flags=Flags(0))
    attestors[0].words = [dispatches.word(1)]
    await work(build_relay())
    row = store.load_dispatch(LANE, 1)
    assert row is not None
    assert (row.state, row.outcome) == (DeliveryState.DECIDED, Outcome.FAILED)


async def test_an_envelope_without_receiver_policy_waits_and_others_go(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    dispatches.send(1, receiver=to_address32(STRANGER))
    dispatches.send(1)
    attestors[0].words = [dispatches.word(2)]
    relay = build_relay()
    await work(relay)
    assert gate.runs == [[2]]
    row = store.load_dispatch(LANE, 1)
    assert row is not None
    assert (row.cause, row.attempts) == ("receiver has no policy", 0)
    gate.policies[STRANGER] = FIRST
    make_due(store)
    await work(relay)
    assert gate.runs == [[2], [1]]


async def test_too_early_waits_for_the_destinations_clock(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    dispatches.send(1, deliver_after=Seconds(GENESIS + HOUR))
    attestors[0].words = [dispatches.word(1)]
    relay = build_relay()
    await work(relay)
    assert gate.runs == []
    row = store.load_dispatch(LANE, 1)
    assert row is not None
    assert (row.cause, row.attempts) == ("too early", 0)
    gate.now = Seconds(GENESIS + HOUR)
    make_due(store)
    await work(relay)
    assert gate.runs == [[1]]


async def test_dependants_follow_what_they_depend_on(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    dispatches.send(1, receiver=to_address32(STRANGER))
    dispatches.send(1, depends_on=1)
    dispatches.send(1)
    dispatches.send(1, depends_on=3)
    attestors[0].words = [dispatches.word(4)]
    relay = build_relay()
    await work(relay)
    assert gate.runs == [[3, 4]]
    gate.policies[STRANGER] = FIRST
    make_due(store)
    await work(relay)
    assert gate.runs == [[3, 4], [1, 2]]


async def test_expiry_only_past_the_deadline_and_only_when_enabled(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    dispatches.send(2, deliver_before=Seconds(GENESIS + 10))
    await work(build_relay(expire=True))
    assert gate.runs == []
    gate.now = Seconds(GENESIS + 100)
    await work(build_relay(expire=False))
    assert gate.runs == []
    make_due(store)
    await work(build_relay(expire=True))
    assert sorted(gate.runs) == [[1], [2]]
    assert {outcome for outcome in gate.decided.values()} == {Outcome.EXPIRED}


async def test_the_nearest_deadline_goes_first(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors]
) -> None:
    dispatches.send(300)
    dispatches.send(1, deliver_before=Seconds(GENESIS + 60))
    attestors[0].words = [dispatches.word(nonce) for nonce in (64, 128, 192, 256, 301)]
    await work(build_relay(pipeline=1))
    assert gate.runs[0] == [301]
    assert sum(map(len, gate.runs)) == 301


async def test_a_lost_race_is_a_success_and_costs_no_attempt(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    sent = dispatches.send(4)
    attestors[0].words = [dispatches.word(4)]
    for envelope in sent[:3]:
        gate.decided[envelope.id] = Outcome.EXECUTED
        gate._append(envelope.id, Outcome.EXECUTED)
    await work(build_relay())
    assert gate.runs == [[4]]
    rows = [store.load_dispatch(LANE, nonce) for nonce in range(1, 5)]
    assert all(row and row.state is DeliveryState.DECIDED and row.attempts == 0 for row in rows)


async def test_a_refused_proof_is_fetched_again_and_blames_no_envelope(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    dispatches.send(128)
    attestors[0].words = [dispatches.word(128)]
    attestors[0].is_corrupt = True
    relay = build_relay(pipeline=1)
    await relay.step()
    await relay.drain()
    row = store.load_dispatch(LANE, 1)
    assert row is not None
    assert (row.cause, row.attempts) == ("gate: verifier refused", 0)
    assert gate.rehearsals == 1, "all of them need the proof that was refused"
    attestors[0].is_corrupt = False
    make_due(store)
    await work(relay)
    assert sum(map(len, gate.runs)) == 128


async def test_a_paused_lane_blames_no_envelope(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    dispatches.send(2)
    attestors[0].words = [dispatches.word(2)]
    gate.is_paused = True
    relay = build_relay()
    await relay.step()
    await relay.drain()
    rehearsals = gate.rehearsals
    await work(relay)
    assert gate.rehearsals == rehearsals, "a paused lane is not asked again at once"
    row = store.load_dispatch(LANE, 1)
    assert row is not None
    assert (row.cause, row.attempts) == (None, 0)


async def test_a_run_keeps_to_the_blocks_gas(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors]
) -> None:
    dispatches.send(20, gas_limit=1_000_000)
    attestors[0].words = [dispatches.word(20)]
    await work(build_relay())
    limit = gate.block_gas * 60 // 100
    assert gate.runs
    assert all(len(run) * 1_000_000 < limit for run in gate.runs)
    assert sum(map(len, gate.runs)) == 20


async def test_old_envelopes_without_proofs_do_not_hold_up_new_ones(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors]
) -> None:
    dispatches.send(1000)
    attestors[0].words = [dispatches.word(1000)]
    await work(build_relay(pipeline=1), rounds=500)
    reached = {nonce for run in gate.runs for nonce in run}
    assert reached == set(range(1000 - REACH + 1, 1001)), "below it no proof reaches"
    attestors[0].words.append(dispatches.word(640))
    attestors[0].words.append(dispatches.word(320))
    await work(build_relay(pipeline=1), rounds=500)
    assert {nonce for run in gate.runs for nonce in run} == set(range(1, 1001))


async def test_a_halted_lane_stays_halted_after_a_restart(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors], store: Store
) -> None:
    dispatches.send(1)
    attestors[0].words = [dispatches.word(1)]
    build_relay().halt(Invalid("the words differ", held="0x1"))
    await work(build_relay())
    assert gate.runs == []
    assert [halt.reason for halt in store.load_halts()] == ["the words differ"]


async def test_feeding_every_receipt_late_executes_nothing_twice(
    build_relay: BuildRelay, dispatches: Dispatches, gate: ModelGate, attestors: list[Attestors]
) -> None:
    gate.is_feed_open = False
    sent = dispatches.send(30)
    attestors[0].words = [dispatches.word(30)]
    relay = build_relay(envelopes=10)
    for _ in range(20):
        await relay.step()
        await relay.drain()
    assert all(gate.executions[envelope.id] <= 1 for envelope in sent)
    gate.is_feed_open = True
    make_due(gate.store)
    await work(relay)
    assert [gate.executions[envelope.id] for envelope in sent] == [1] * 30
