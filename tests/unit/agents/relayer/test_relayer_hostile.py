"""What hostile envelopes, lying providers and hostile verifiers can do to a lane: delay themselves, and nobody else."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from lane_work import make_due, work
from model_gate import (
    BOTH,
    LANE,
    POISON,
    SECOND,
    Attestors,
    Dispatches,
    ModelGate,
)

from comity.agents.relayer import Relayer, RelayOptions, clear_halt
from comity.agents.relayer import agent as agent_module
from comity.agents.relayer import lane as lane_module
from comity.agents.relayer.lane import LaneRelay
from comity.chain.follower import FinalityViolated
from comity.chain.rpc import RpcError
from comity.core.errors import ConfigError, Invalid, Unavailable
from comity.core.types import Gas, Seconds, to_address32
from comity.store.port import DeliveryState, Store

Calls = Sequence[tuple[bytes, Gas]]


@dataclass(frozen=True)
class World:
    """A lane, its Gate and what makes relays between them."""

    build_relay: Callable[..., LaneRelay]
    dispatches: Dispatches
    gate: ModelGate
    attestors: list[Attestors]
    store: Store


@pytest.fixture
def world(
    build_relay: Callable[..., LaneRelay],
    dispatches: Dispatches,
    gate: ModelGate,
    attestors: list[Attestors],
    store: Store,
) -> World:
    return World(build_relay, dispatches, gate, attestors, store)


def lie(gate: ModelGate, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the provider that is asked first say this to every rehearsal."""

    async def rehearse(calls: Calls, *, block: str = "latest") -> list[str | None]:
        return [reason for _ in calls]

    monkeypatch.setattr(gate, "rehearse", rehearse)


def load_causes(store: Store) -> dict[int, tuple[str | None, int]]:
    """Load why each pending envelope waits, and after how many attempts."""
    rows = store.load_pending(LANE, Seconds(2**40), limit=500)
    return {row.dispatch.nonce: (row.cause, row.attempts) for row in rows}


# --------------------------------------------------------------------------------------------------- hostile envelopes


async def test_envelopes_that_no_transaction_can_carry_are_parked_and_hold_up_nobody(world: World) -> None:
    world.dispatches.send(4, gas_limit=Gas(20_000_000))
    world.dispatches.send(5)
    world.attestors[0].words = [world.dispatches.word(9)]
    await work(world.build_relay())
    assert world.gate.runs == [[5, 6, 7, 8, 9]]
    parked = ("needs more gas than a transaction may carry", 0)
    assert load_causes(world.store) == {nonce: parked for nonce in range(1, 5)}


async def test_an_envelope_that_fits_without_its_proof_only_is_parked_too(world: World) -> None:
    world.dispatches.send(1, gas_limit=Gas(15_800_000))
    world.dispatches.send(1)
    world.attestors[0].words = [world.dispatches.word(2)]
    await work(world.build_relay())
    assert world.gate.runs == [[2]]
    assert load_causes(world.store) == {1: ("needs more gas than a transaction may carry", 0)}


async def test_four_envelopes_that_the_pool_refuses_do_not_starve_the_lane(world: World) -> None:
    world.gate.refused_gas = 5_000_000
    world.dispatches.send(4, gas_limit=Gas(10_000_000))
    honest = world.dispatches.send(5)
    world.attestors[0].words = [world.dispatches.word(9)]
    relay = world.build_relay()
    for _ in range(20):
        await relay.step()
        await relay.drain()
        if len(world.gate.executions) == len(honest):
            break
    # Some honest ones may share the first run of a hostile one; they go on by themselves.
    make_due(world.store)
    await work(relay)
    assert [world.gate.executions[envelope.id] for envelope in honest] == [1] * 5
    assert all(attempts >= 1 for _, attempts in load_causes(world.store).values())


async def test_an_envelope_that_fails_only_when_sent_is_separated_from_the_others(world: World) -> None:
    sent = world.dispatches.send(64)
    world.gate.failing_when_sent = {sent[20].id}
    world.attestors[0].words = [world.dispatches.word(64)]
    relay = world.build_relay(pipeline=1)
    for _ in range(12):
        make_due(world.store)
        await work(relay)
    assert load_causes(world.store).keys() == {21}
    assert all(world.gate.executions[envelope.id] == 1 for envelope in sent if envelope.nonce != 21)


async def test_an_envelope_left_undecided_again_and_again_backs_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.dispatches.send(1, receiver=to_address32(POISON))
    world.attestors[0].words = [world.dispatches.word(1)]

    async def rehearse(calls: Calls, *, block: str = "latest") -> list[str | None]:
        return [None for _ in calls]

    monkeypatch.setattr(world.gate, "rehearse", rehearse)
    monkeypatch.setattr(world.gate, "execute", lambda data: None)
    relay = world.build_relay()
    await work(relay)
    [row] = world.store.load_pending(LANE, Seconds(2**40), limit=1)
    assert row.attempts == 2, "the first failure alone is tried again at once"
    assert row.next_attempt_at > time.time() + 5


async def test_an_account_that_cannot_pay_blames_no_envelope_for_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(*values: object) -> None:
        raise ConfigError("the account cannot pay for its transactions")

    monkeypatch.setattr(world.gate, "send", send)
    world.dispatches.send(2)
    world.attestors[0].words = [world.dispatches.word(2)]
    await work(world.build_relay())
    cause = ("the account cannot pay for its transactions", 0)
    assert load_causes(world.store) == {1: cause, 2: cause}
    assert not world.store.load_pending(LANE, Seconds(int(time.time()) + 50), limit=1)
    assert world.store.load_pending(LANE, Seconds(int(time.time()) + 70), limit=1)


async def test_a_window_of_hopeless_policies_is_put_off_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.dispatches.send(160, policy=SECOND)
    world.dispatches.send(400)
    world.attestors[0].words = [world.dispatches.word(nonce) for nonce in range(1, 561)]
    asked: Counter[str] = Counter()
    for name in ("defer_envelopes", "load_dispatch", "load_dispatches"):
        method = getattr(world.store, name)

        def count(*values: Any, name: str = name, method: Callable[..., Any] = method, **named: Any) -> Any:
            asked[name] += 1
            return method(*values, **named)

        monkeypatch.setattr(world.store, name, count)
    await world.build_relay(pipeline=1).step()
    assert len([cause for cause, _ in load_causes(world.store).values() if cause]) == 160
    assert sum(asked.values()) <= 10, asked


# --------------------------------------------------------------------------------------------------- lying providers


@pytest.mark.parametrize("reason", ["gate: malformed envelope", "gate: envelope or proof too long"])
async def test_one_lying_provider_buries_nothing(world: World, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    world.dispatches.send(3)
    world.attestors[0].words = [world.dispatches.word(3)]
    relay = world.build_relay()
    lie(world.gate, reason, monkeypatch)
    await work(relay)
    assert load_causes(world.store) == {nonce: (reason, 1) for nonce in (1, 2, 3)}
    monkeypatch.undo()
    make_due(world.store)
    await work(relay)
    assert world.gate.runs == [[1, 2, 3]]


async def test_what_a_quorum_calls_malformed_is_buried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def confirm(*values: object, block: str = "latest") -> str:
        return "gate: malformed envelope"

    world.dispatches.send(1)
    world.attestors[0].words = [world.dispatches.word(1)]
    lie(world.gate, "gate: malformed envelope", monkeypatch)
    monkeypatch.setattr(world.gate, "confirm", confirm)
    await work(world.build_relay())
    row = world.store.load_dispatch(LANE, 1)
    assert row is not None
    assert row.state is DeliveryState.DEAD


@pytest.mark.parametrize("reason", ["gate: wrong chain", "gate: malformed run", "gate: lane paused"])
async def test_one_lying_provider_stops_no_lane(world: World, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    world.dispatches.send(3)
    world.attestors[0].words = [world.dispatches.word(3)]
    relay = world.build_relay()
    lie(world.gate, reason, monkeypatch)
    await work(relay)
    assert world.store.load_halts() == []
    monkeypatch.undo()
    make_due(world.store)
    await work(relay)
    assert world.gate.runs == [[1, 2, 3]], "without anything like a resume"


@pytest.mark.parametrize(
    ("reason", "is_halted"), [("gate: wrong chain", True), ("gate: unknown lane", False), ("gate: lane paused", False)]
)
async def test_a_lane_halts_only_for_what_a_quorum_calls_a_contradiction(
    world: World, monkeypatch: pytest.MonkeyPatch, reason: str, is_halted: bool
) -> None:
    async def confirm(*values: object, block: str = "latest") -> str:
        return reason

    world.dispatches.send(1)
    world.attestors[0].words = [world.dispatches.word(1)]
    lie(world.gate, reason, monkeypatch)
    monkeypatch.setattr(world.gate, "confirm", confirm)
    relay = world.build_relay()
    await work(relay)
    assert bool(world.store.load_halts()) is is_halted
    monkeypatch.undo()
    await work(relay)
    assert world.gate.runs == [], "halted or paused"
    relay.resume()
    await work(relay)
    assert world.gate.runs == ([] if is_halted else [[1]])


async def test_without_agreement_nothing_is_decided(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def confirm(*values: object, block: str = "latest") -> str:
        raise Unavailable("too few providers agree")

    world.dispatches.send(1)
    world.attestors[0].words = [world.dispatches.word(1)]
    monkeypatch.setattr(world.gate, "confirm", confirm)
    for reason in ("gate: wrong chain", "gate: malformed envelope"):
        lie(world.gate, reason, monkeypatch)
        await work(world.build_relay())
    assert world.store.load_halts() == []
    assert load_causes(world.store) == {1: (None, 0)}


async def test_a_block_that_a_provider_made_up_strands_no_envelope(world: World) -> None:
    sent = world.dispatches.send(3)
    world.attestors[0].words = [world.dispatches.word(3)]
    world.gate.is_block_unseen = True
    relay = world.build_relay()
    await work(relay)
    assert load_causes(world.store) == {nonce: ("sent, and its block is not seen yet", 0) for nonce in (1, 2, 3)}
    world.gate.is_block_unseen = False
    make_due(world.store)
    await work(relay)
    assert load_causes(world.store) == {}
    assert [world.gate.executions[envelope.id] for envelope in sent] == [1] * 3


async def test_an_envelope_that_nobody_can_rehearse_holds_up_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [hostile] = world.dispatches.send(1)
    world.dispatches.send(2)
    world.attestors[0].words = [world.dispatches.word(3)]
    honest = world.gate.rehearse

    async def rehearse(calls: Calls, *, block: str = "latest") -> list[str | None]:
        if any(hostile.encode() in data for data, _ in calls):
            raise RpcError("execution timeout", code=-32000)
        return await honest(calls)

    monkeypatch.setattr(world.gate, "rehearse", rehearse)
    relay = world.build_relay(pipeline=1)
    for _ in range(4):
        make_due(world.store)
        await work(relay)
    assert load_causes(world.store).keys() == {1}
    assert load_causes(world.store)[1][1] >= 2


# --------------------------------------------------------------------------------------------------- hostile verifiers


@pytest.mark.parametrize(
    "words", ["gate: wrong chain", "gate: lane paused", "gate: malformed envelope", "gate: verifier refused", "boo"]
)
async def test_a_verifiers_words_touch_only_what_needs_it(world: World, words: str) -> None:
    world.dispatches.send(2)
    world.dispatches.send(1, policy=BOTH)
    world.dispatches.send(2)
    world.attestors[0].words = world.attestors[1].words = [world.dispatches.word(5)]
    world.gate.words_of_verifiers = {1: words}
    relay = world.build_relay(pipeline=1)
    await work(relay)
    assert world.gate.runs == [[1, 2, 4, 5]]
    assert world.store.load_halts() == []
    assert load_causes(world.store).keys() == {3}
    world.gate.words_of_verifiers = {}
    make_due(world.store)
    await work(relay)
    assert world.gate.runs == [[1, 2, 4, 5], [3]]


# --------------------------------------------------------------------------------------------------- one part's trouble


@pytest.mark.parametrize("error", [RpcError("header not found", code=-32000), Invalid("a word"), Unavailable("away")])
async def test_a_lane_goes_on_after_any_error_of_a_provider(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(lane_module, "_LONGEST_PAUSE", 0.0)
    world.dispatches.send(1)
    world.attestors[0].words = [world.dispatches.word(1)]
    honest, asked = world.gate.fetch_clock, 0

    async def fetch_clock() -> object:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise error
        return await honest()

    monkeypatch.setattr(world.gate, "fetch_clock", fetch_clock)
    running = asyncio.create_task(world.build_relay().run())
    async with asyncio.timeout(10):
        while not world.gate.runs and not running.done():
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert world.gate.runs == [[1]]


async def test_a_part_is_started_again_after_any_error_but_its_chains_fall(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "_FIRST_BACKOFF", 0.0)
    relayer = Relayer([], [], None, store, options=RelayOptions())  # type: ignore[arg-type]
    errors: list[Exception] = [
        RpcError("header not found", code=-32000),
        Invalid("nonsense"),
        Unavailable("away"),
        FinalityViolated("the chain fell"),
        AssertionError("started again after its chain fell"),
    ]

    async def work_and_fail() -> None:
        raise errors.pop(0)

    await asyncio.wait_for(relayer._supervise("deliver", work_and_fail), 5)
    assert len(errors) == 1


async def test_an_operator_clears_a_halt(world: World) -> None:
    world.dispatches.send(1)
    world.attestors[0].words = [world.dispatches.word(1)]
    world.build_relay().halt(Invalid("the words differ"))
    clear_halt(world.store, LANE)
    assert world.store.load_halts() == []
    await work(world.build_relay())
    assert world.gate.runs == [[1]]
