"""What the relayer asks others: the Gate's views, proofs from their sources, providers one after the other."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from model_gate import GATE, LANE, RECEIVER, STRANGER, Attestors, build_proof

from comity.agents.relayer import gate as gate_module
from comity.agents.relayer.gate import TRANSACTION_GAS_CAP, GateView
from comity.agents.relayer.options import compute_retry_wait, compute_wait
from comity.agents.relayer.proofs import POOL_WORDS, REACH, ProofDesk, ProofPool
from comity.agents.relayer.providers import FailoverRpc
from comity.chain.bindings import POLICY_OF, VERIFIERS
from comity.chain.codec import Block
from comity.chain.rpc import RpcError
from comity.core.errors import Rejected, Unavailable
from comity.core.types import Direction, Gas, Hash32, Lane, Word

NOW = 2_000_000_000
DAY = 86_400
NO_HASH = Hash32(bytes(32))


class AnsweringRpc:
    """A provider whose views answer from a table, and whose rehearsals answer from a list."""

    host = "model"

    def __init__(self) -> None:
        self.policies: dict[bytes, int] = {}
        self.verifiers: dict[int, int] = {}
        self.verdicts: list[Any] = []
        self.block_gas = 60_000_000
        self.asked: Counter[bytes] = Counter()

    async def fetch_block(self, block: str) -> Block:
        return Block(1, NO_HASH, NO_HASH, NOW, NO_HASH, {"gasLimit": hex(self.block_gas)})

    async def batch(self, calls: Sequence[tuple[str, Any]], *, return_exceptions: bool = False) -> list[Any]:
        return [self._answer(params[0]) for _, params in calls]

    def _answer(self, call: dict[str, Any]) -> Any:
        data = call["data"]
        self.asked[data[:4]] += 1
        if data[:4] == POLICY_OF:
            return "0x" + self.policies.get(data[-20:], 0).to_bytes(32, "big").hex()
        if data[:4] == VERIFIERS:
            return "0x" + self.verifiers.get(int.from_bytes(data[4:], "big"), 0).to_bytes(32, "big").hex()
        return self.verdicts.pop(0)


@pytest.fixture
def rpc() -> AnsweringRpc:
    return AnsweringRpc()


@pytest.fixture
def gate(rpc: AnsweringRpc) -> GateView:
    return GateView(GATE, rpc, RECEIVER)  # type: ignore[arg-type]


async def test_a_receivers_policy_is_asked_once_and_again_when_it_is_old(
    gate: GateView, rpc: AnsweringRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    rpc.policies[RECEIVER] = 5
    for _ in range(3):
        found = await gate.fetch_policies(LANE, [RECEIVER, STRANGER, RECEIVER])
        assert found == {RECEIVER: 5, STRANGER: 0}
    assert rpc.asked[POLICY_OF] == 2
    monkeypatch.setattr(gate_module, "_CACHE_SECONDS", 0.0)
    rpc.policies[RECEIVER] = 6
    assert (await gate.fetch_policies(LANE, [RECEIVER]))[RECEIVER] == 6


@pytest.mark.parametrize(
    ("record", "is_live"),
    [
        (0, False),
        (1, True),
        (1 | 1 << 240, False),
        (1 | (NOW + DAY) << 200, False),
        (1 | (NOW - DAY) << 200, True),
        (1 | (NOW - 29 * DAY) << 160, True),
        (1 | (NOW - 31 * DAY) << 160, False),
    ],
)
async def test_only_live_verifiers_count(gate: GateView, rpc: AnsweringRpc, record: int, is_live: bool) -> None:
    rpc.verifiers = {3: record}
    assert await gate.fetch_live([3, 4]) == (1 << 3 if is_live else 0)


async def test_a_refused_verifier_is_asked_about_again(gate: GateView, rpc: AnsweringRpc) -> None:
    rpc.verifiers = {0: 1}
    assert await gate.fetch_live([0]) == 1
    rpc.verifiers = {0: 1 | 1 << 240}
    gate.forget_verifiers()
    assert await gate.fetch_live([0]) == 0


async def test_a_rehearsal_tells_the_reason_of_each_call(gate: GateView, rpc: AnsweringRpc) -> None:
    rpc.verdicts = ["0x", Rejected("reverted", reason="gate: too early"), Rejected("reverted")]
    calls = [(bytes([n]) * 4, Gas(1)) for n in range(3)]
    assert await gate.rehearse(calls) == [None, "gate: too early", "no reason given"]


async def test_a_rehearsal_that_cannot_be_held_is_no_verdict(gate: GateView, rpc: AnsweringRpc) -> None:
    rpc.verdicts = [RpcError("limit exceeded", code=-32005)]
    with pytest.raises(RpcError):
        await gate.rehearse([(b"\x00" * 4, Gas(1))])


@pytest.mark.parametrize(("block_gas", "expected"), [(20_000_000, 12_000_000), (60_000_000, TRANSACTION_GAS_CAP)])
async def test_a_transaction_asks_for_no_more_than_is_included(
    gate: GateView, rpc: AnsweringRpc, block_gas: int, expected: int
) -> None:
    rpc.block_gas = block_gas
    assert (await gate.fetch_clock()).gas_limit == expected


def test_proofs_of_one_word_gather_and_words_of_one_nonce_do_not_mix() -> None:
    pool = ProofPool()
    honest, lie = Word(5 << 216 | 1), Word(5 << 216 | 2)
    for index, word in ((0, honest), (1, lie), (2, honest)):
        pool.add(index, word, build_proof(index, word))
    assert [(each.word, each.verified) for each in pool.find(5, 5)] == [(honest, 0b101), (lie, 0b010)]
    pool.discard(lie)
    assert [each.word for each in pool.find(1, 9)] == [honest]
    pool.discard(honest)
    assert pool.find(1, 9) == []


class SilentSource:
    """A source that does not answer."""

    async def fetch(self, lane: Lane, direction: Direction, min_nonce: int) -> list[tuple[Word, bytes]]:
        raise Unavailable("nobody answers")

    async def close(self) -> None:
        """Nothing."""


async def test_a_silent_source_is_passed_over() -> None:
    word = Word(7 << 216 | 1)
    desk = ProofDesk(LANE, {0: SilentSource(), 1: Attestors(1, [word])}, poll_seconds=0.0)
    await desk.fetch(1)
    assert [each.verified for each in desk.find(1, 9)] == [0b10]


async def test_proofs_are_asked_for_only_where_they_could_help() -> None:
    source = Attestors(0, [Word(nonce << 216 | 1) for nonce in (64, 128, 192)])
    desk = ProofDesk(LANE, {0: source}, poll_seconds=1000.0)
    assert desk.is_stale(1, 128)
    await desk.fetch(1)
    assert not desk.is_stale(1, 128)
    assert not desk.is_stale(2, 129), "the next envelopes need none"
    assert not desk.is_stale(100, 228), "asked lately"
    assert desk.is_stale(193, 320), "past the last word at hand"


class EndlessSource:
    """A source with a proof of every word, in pages."""

    async def fetch(self, lane: Lane, direction: Direction, min_nonce: int) -> list[tuple[Word, bytes]]:
        return [(Word(nonce << 216 | 1), b"proof") for nonce in range(min_nonce, min_nonce + 600)]

    async def close(self) -> None:
        """Nothing."""


async def test_proofs_take_bounded_memory() -> None:
    desk = ProofDesk(LANE, {0: EndlessSource()}, poll_seconds=0.0)
    for first in range(1, 20_000, 600):
        await desk.fetch(first)
        assert len(desk.find(1, 1 << 40)) <= POOL_WORDS + 2 * 600
        assert len(desk.find(first, first + REACH - 1)) == REACH


class Provider:
    """A provider that answers with its name, or not at all."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.is_up = True
        self.asked = 0

    async def _exchange(self, calls: Sequence[Any], *, alone: bool) -> list[Any]:
        self.asked += 1
        if not self.is_up:
            raise Unavailable("the provider does not answer", host=self.host)
        return [self.host]


async def test_a_failing_provider_is_replaced_and_not_asked_again() -> None:
    first, second = Provider("first"), Provider("second")
    rpc = FailoverRpc([first, second])  # type: ignore[list-item]
    assert await rpc.call("eth_chainId") == "first"
    first.is_up = False
    assert [await rpc.call("eth_chainId") for _ in range(3)] == ["second"] * 3
    assert first.asked == 2
    assert rpc.host == "second"


async def test_without_any_provider_it_is_unavailable() -> None:
    providers = [Provider("first"), Provider("second")]
    for provider in providers:
        provider.is_up = False
    with pytest.raises(Unavailable):
        await FailoverRpc(providers).call("eth_chainId")  # type: ignore[arg-type]


def test_a_failing_receiver_is_tried_ever_more_rarely() -> None:
    waits = [compute_retry_wait(attempts) for attempts in range(40)]
    assert 7 <= waits[0] <= 13
    assert all(waits[n + 3] > 2 * waits[n] for n in range(6))
    assert max(waits) <= 6 * 3600 * 1.25


@pytest.mark.parametrize(("age", "wait"), [(0, 3), (80, 10), (10**6, 300)])
def test_what_has_waited_long_is_looked_at_more_rarely(age: int, wait: int) -> None:
    assert compute_wait(3, age) == wait
