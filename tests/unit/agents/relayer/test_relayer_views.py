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
from comity.agents.relayer.providers import BATCH_CALLS, FailoverRpc
from comity.chain.bindings import POLICY_OF, VERIFIERS
from comity.chain.codec import Block
from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import Rpc, RpcError
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
        self.now = NOW
        self.asked: Counter[bytes] = Counter()

    async def fetch_block(self, block: str, full: bool) -> Block:
        return Block(1, NO_HASH, NO_HASH, self.now, NO_HASH, {"gasLimit": hex(self.block_gas)})

    async def batch(self, calls: Sequence[tuple[str, Any]]) -> list[Any]:
        return await self._exchange(calls, alone=False)

    async def _exchange(self, calls: Sequence[tuple[str, Any]], *, alone: bool) -> list[Any]:
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
    return GateView(GATE, ProviderQuorum([rpc], 1), RECEIVER)  # type: ignore[list-item]


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


class Provider(Rpc):
    """A provider that answers with its name or what it is told to, in batches of some size, or not at all."""

    host = ""

    def __init__(self, host: str) -> None:
        self.host = host
        self.is_up = True
        self.asked = 0
        self.answers: dict[str, Any] = {}
        self.batch_calls = 1000
        self.batches: list[int] = []

    async def _exchange(self, calls: Sequence[tuple[str, Any]], *, alone: bool) -> list[Any]:
        self.asked += 1
        self.batches.append(len(calls))
        if not self.is_up:
            raise Unavailable("the provider does not answer", host=self.host)
        if len(calls) > self.batch_calls:
            return [RpcError("batch too large", code=-32600)] * len(calls)
        return [self.answers.get(method, self.host) for method, _ in calls]


REFUSED = RpcError("header not found", code=-32000)
WORD = "0x" + bytes(32).hex()


async def test_a_failing_provider_is_replaced_and_not_asked_again() -> None:
    first, second = Provider("first"), Provider("second")
    rpc = FailoverRpc([first, second])
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
        await FailoverRpc(providers).call("eth_chainId")


@pytest.mark.parametrize("fault", [REFUSED, None, "0xzz", 7])
async def test_a_provider_that_answers_with_errors_or_nonsense_is_replaced(fault: Any) -> None:
    bad, good = Provider("bad"), Provider("good")
    bad.answers = {"eth_blockNumber": fault, "eth_call": fault}
    good.answers = {"eth_blockNumber": "0x10", "eth_call": WORD}
    assert await FailoverRpc([bad, good]).block_number() == 16
    gate = GateView(GATE, ProviderQuorum([bad, good], 2), RECEIVER)
    assert await gate.fetch_policies(LANE, [RECEIVER]) == {RECEIVER: 0}


async def test_a_provider_without_a_newest_block_is_replaced() -> None:
    bad, good = Provider("bad"), Provider("good")
    bad.answers = {"eth_getBlockByNumber": None}
    header = {name: WORD for name in ("hash", "parentHash", "stateRoot")} | {"number": "0x1", "timestamp": "0x5"}
    good.answers = {"eth_getBlockByNumber": header}
    assert (await FailoverRpc([bad, good]).fetch_block("latest")).timestamp == 5


async def test_what_a_pool_says_about_a_transaction_is_told_and_not_asked_of_the_next() -> None:
    first, second = Provider("first"), Provider("second")
    first.answers = {"eth_sendRawTransaction": RpcError("nonce too low", code=-32000)}
    with pytest.raises(RpcError, match="nonce too low"):
        await FailoverRpc([first, second]).send_raw_transaction(b"raw")
    assert second.asked == 0


async def test_batches_shrink_to_what_the_providers_take() -> None:
    only = Provider("only")
    only.batch_calls = 10
    rpc = FailoverRpc([only])
    calls: list[tuple[str, Any]] = [("eth_call", [n]) for n in range(160)]
    assert await rpc.batch(calls) == ["only"] * 160
    assert only.batches[:4] == [BATCH_CALLS, 25, 12, 6]
    assert set(only.batches[3:]) <= {6, 4}


async def test_an_outage_does_not_make_batches_shorter() -> None:
    only = Provider("only")
    only.is_up = False
    rpc = FailoverRpc([only])
    calls: list[tuple[str, Any]] = [("eth_call", [n]) for n in range(50)]
    with pytest.raises(Unavailable):
        await rpc.batch(calls)
    only.is_up, only.batches = True, []
    await rpc.batch(calls)
    assert only.batches == [50]


async def test_one_call_that_everybody_refuses_spoils_no_other() -> None:
    only = Provider("only")
    only.answers = {"eth_bad": REFUSED}
    calls: list[tuple[str, Any]] = [("eth_call", []), ("eth_bad", []), ("eth_call", [])]
    assert await FailoverRpc([only]).batch(calls, return_exceptions=True) == ["only", REFUSED, "only"]


async def test_a_verdict_is_what_a_quorum_says() -> None:
    providers = [Provider(name) for name in "abc"]
    gate = GateView(GATE, ProviderQuorum(providers, 2), RECEIVER)
    lie = Rejected("reverted", reason="gate: wrong chain")
    for provider in providers:
        provider.answers = {"eth_call": "0x"}
    providers[0].answers = {"eth_call": lie}
    assert await gate.rehearse([(b"", Gas(1))]) == ["gate: wrong chain"]
    assert await gate.confirm(b"", Gas(1)) is None
    providers[1].answers = {"eth_call": lie}
    assert await gate.confirm(b"", Gas(1)) == "gate: wrong chain"
    providers[1].answers = {"eth_call": Rejected("reverted", reason="gate: too early")}
    with pytest.raises(Unavailable):
        await gate.confirm(b"", Gas(1))


async def test_a_false_time_does_not_outlive_the_provider_that_told_it(
    gate: GateView, rpc: AnsweringRpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "_CLOCK_SECONDS", -1.0)
    rpc.now = NOW * 10
    assert (await gate.fetch_clock()).now >= NOW * 10
    rpc.now = NOW
    assert (await gate.fetch_clock()).now < NOW + DAY


def test_a_failing_receiver_is_tried_ever_more_rarely() -> None:
    waits = [compute_retry_wait(attempts) for attempts in range(40)]
    assert 7 <= waits[0] <= 13
    assert all(waits[n + 3] > 2 * waits[n] for n in range(6))
    assert max(waits) <= 6 * 3600 * 1.25


@pytest.mark.parametrize(("age", "wait"), [(0, 3), (80, 10), (10**6, 300)])
def test_what_has_waited_long_is_looked_at_more_rarely(age: int, wait: int) -> None:
    assert compute_wait(3, age) == wait
