"""A chain's feed catches up, undoes reorgs, insists on missing logs, and halts only what contradicts itself."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from model_gate import GATE, LANE, LANE_RECORD, ROUTER, build_envelope
from model_logs import build_decided, build_dispatched, compute_dispatch_word

from comity.agents.relayer import feed as feed_module
from comity.agents.relayer.feed import ChainFeed
from comity.agents.relayer.indexer import DispatchIndex, Index, ReceiptIndex
from comity.chain.bindings import encode_words
from comity.chain.codec import Log
from comity.chain.follower import Advanced, Event, Reverted
from comity.core.envelope import Envelope
from comity.core.errors import Invalid, NotReady, Unavailable
from comity.core.types import EnvelopeId, Outcome, Word
from comity.store.port import Store

HASH = b"\x05" * 32


class ScriptedChain:
    """A follower and its providers in one; block n holds what was put there, and some answers leave logs out."""

    def __init__(self) -> None:
        self.script: list[list[Event]] = []
        self.logs: list[Log] = []
        self.words: dict[bytes, int] = {}
        self.answers_to_truncate = 0
        self.acknowledged = 0
        self.number = 0
        self.asked: list[tuple[int, int]] = []
        self.is_reorganised = False
        self.answer: Any = ...
        """In place of every word, if set."""

    hash = HASH
    host = "model"

    @property
    def cursor(self) -> "ScriptedChain":
        return self

    async def step(self) -> list[Event]:
        events = self.script.pop(0) if self.script else []
        for event in events:
            self.number = event.to_block
        return events

    def acknowledge(self) -> None:
        self.acknowledged += 1

    async def fetch_logs(self, start: int, end: int, address: Any, topics: Any) -> list[Log]:
        self.asked.append((start, end))
        found = [log for log in self.logs if start <= log.block_number <= end]
        if found and self.answers_to_truncate:
            self.answers_to_truncate -= 1
            return found[:-1]
        return found

    async def vote(self, ask: Callable[[Any], Any], identify: Any) -> Any:
        if self.is_reorganised:
            raise NotReady("the provider does not know this block")
        return await ask(self)

    async def batch(self, calls: list[tuple[str, Any]]) -> list[Any]:
        assert all(params[1] == {"blockHash": HASH} for _, params in calls), "words are read at the block followed"
        if self.answer is not ...:
            return [self.answer for _ in calls]
        return ["0x" + self.words[params[0]["to"]].to_bytes(32, "big").hex() for _, params in calls]

    def dispatch(self, envelopes: list[Envelope]) -> None:
        """Put an envelope into each block from its nonce's on."""
        self.logs += [build_dispatched(envelope) for envelope in envelopes]
        self.words[ROUTER] = compute_dispatch_word(envelopes)
        self.script.append([Advanced(1, len(envelopes), 0)])


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> ScriptedChain:
    monkeypatch.setattr(feed_module, "_RETRY_SECONDS", 0.0)
    return ScriptedChain()


@pytest.fixture
def halted() -> list[tuple[Index, Invalid]]:
    return []


@pytest.fixture
def feed(chain: ScriptedChain, store: Store, halted: list[tuple[Index, Invalid]]) -> ChainFeed:
    return ChainFeed(
        "a",
        lambda: chain,  # type: ignore[arg-type, return-value]
        chain,  # type: ignore[arg-type]
        [DispatchIndex(store, LANE_RECORD)],
        halt=lambda index, error: halted.append((index, error)),
        changed=lambda: None,
    )


def build_envelopes(count: int) -> list[Envelope]:
    return [build_envelope(nonce) for nonce in range(1, count + 1)]


async def test_a_feed_indexes_verifies_and_acknowledges(feed: ChainFeed, chain: ScriptedChain, store: Store) -> None:
    chain.dispatch(build_envelopes(5))
    assert await feed.step()
    assert store.load_dispatch_head(LANE) == 5
    assert (feed.block_number, chain.acknowledged) == (5, 1)
    assert not await feed.step()


async def test_the_newest_logs_left_out_are_noticed_by_the_word(
    feed: ChainFeed, chain: ScriptedChain, store: Store, halted: list[Any]
) -> None:
    chain.dispatch(build_envelopes(5))
    chain.answers_to_truncate = 1
    await feed.step()
    assert store.load_dispatch_head(LANE) == 5
    assert halted == []


async def test_logs_left_out_in_the_middle_are_noticed_by_the_gap(
    feed: ChainFeed, chain: ScriptedChain, store: Store
) -> None:
    chain.dispatch(build_envelopes(200))
    chain.answers_to_truncate = 1
    await feed.step()
    assert store.load_dispatch_head(LANE) == 200
    assert chain.asked.count((64, 200)) or any(start <= 64 <= end for start, end in chain.asked[2:])


async def test_a_provider_that_keeps_logs_back_for_good_is_not_believed(
    feed: ChainFeed, chain: ScriptedChain, store: Store, halted: list[Any]
) -> None:
    chain.dispatch(build_envelopes(5))
    chain.answers_to_truncate = 10**6
    with pytest.raises(Unavailable):
        await feed.step()
    assert chain.acknowledged == 0, "a restart asks again"
    assert halted == []


async def test_a_contradiction_halts_the_lane_and_not_the_feed(
    feed: ChainFeed, chain: ScriptedChain, halted: list[Any]
) -> None:
    chain.dispatch(build_envelopes(3))
    chain.words[ROUTER] ^= 1
    assert await feed.step()
    assert [index.lane for index, _ in halted] == [LANE]
    chain.script.append([Advanced(4, 4, 0)])
    assert await feed.step(), "other lanes go on"
    assert len(halted) == 1


async def test_a_forged_id_halts_the_lane(feed: ChainFeed, chain: ScriptedChain, halted: list[Any]) -> None:
    genuine, other = build_dispatched(build_envelope(1)), build_dispatched(build_envelope(2))
    chain.logs = [msgspec.structs.replace(genuine, data=other.data)]
    chain.script = [[Advanced(1, 1, 0)]]
    await feed.step()
    assert [index.lane for index, _ in halted] == [LANE]


async def test_a_reorg_is_undone_before_the_new_blocks_come(
    feed: ChainFeed, chain: ScriptedChain, store: Store
) -> None:
    old = build_envelopes(4)
    chain.dispatch(old)
    await feed.step()
    new = [*old[:2], build_envelope(3, payload=b"new")]
    chain.logs = [build_dispatched(envelope) for envelope in new]
    chain.words[ROUTER] = compute_dispatch_word(new)
    chain.script.append([Reverted(2)])
    chain.script.append([Advanced(3, 3, 0)])
    await feed.step()
    assert store.load_dispatch_head(LANE) == 2
    await feed.step()
    rows = list(store.load_dispatches(LANE, 1, 10))
    assert [row.id for row in rows] == [envelope.id for envelope in new]


async def test_a_block_reorganised_away_during_the_check_blames_no_lane(
    feed: ChainFeed, chain: ScriptedChain, halted: list[Any]
) -> None:
    chain.dispatch(build_envelopes(2))
    chain.is_reorganised = True
    await feed.step()
    assert halted == []


async def test_waiting_for_a_block_ends_when_it_is_indexed(feed: ChainFeed, chain: ScriptedChain) -> None:
    waiting = asyncio.create_task(feed.wait_for(3))
    await asyncio.sleep(0)
    assert not waiting.done()
    chain.dispatch(build_envelopes(3))
    await feed.step()
    await asyncio.wait_for(waiting, 5)


async def test_a_block_far_above_the_head_is_not_waited_for(feed: ChainFeed, chain: ScriptedChain) -> None:
    chain.dispatch(build_envelopes(3))
    await feed.step()
    feed.caught_up.set()
    with pytest.raises(Unavailable, match="far above"):
        await asyncio.wait_for(feed.wait_for(10**12), 5)


async def test_waiting_for_a_block_that_never_comes_has_an_end(
    feed: ChainFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "_PATIENCE_SECONDS", 0.01)
    with pytest.raises(Unavailable, match="not seen"):
        await asyncio.wait_for(feed.wait_for(3), 5)


async def test_a_malformed_word_is_an_answer_that_does_not_count(feed: ChainFeed, chain: ScriptedChain) -> None:
    chain.dispatch(build_envelopes(3))
    chain.answer = None
    with pytest.raises(Unavailable):
        await feed.step()


async def test_one_feed_serves_both_directions(chain: ScriptedChain, store: Store) -> None:
    indexes: list[Index] = [DispatchIndex(store, LANE_RECORD), ReceiptIndex(store, LANE_RECORD)]
    feed = ChainFeed(
        "a",
        lambda: chain,  # type: ignore[arg-type, return-value]
        chain,  # type: ignore[arg-type]
        indexes,
        halt=lambda index, error: None,
        changed=lambda: None,
    )
    [envelope] = build_envelopes(1)
    chain.dispatch([envelope])
    decided = build_decided(1, EnvelopeId(envelope.id), Outcome.EXECUTED)
    chain.logs.append(decided)
    probe = ReceiptIndex(type(store)(None), LANE_RECORD)  # type: ignore[call-arg]
    probe.index([decided], feed_module.Seconds(0))
    chain.words[GATE] = Word(probe.word)
    await feed.step()
    row = store.load_dispatch(LANE, 1)
    assert row is not None
    assert row.outcome is Outcome.EXECUTED


def test_words_are_asked_by_lane() -> None:
    assert encode_words(LANE)[4:] == LANE
