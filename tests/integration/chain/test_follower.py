"""A follower tells of every block once, undoes what a reorg undid, and stops when finality was broken."""

import random

import pytest

from comity.chain.follower import Advanced, ChainChanged, Cursor, FinalityViolated, Follower, Reverted
from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import Rpc
from comity.core.errors import Invalid, NotReady, Unavailable
from comity.core.finality import FINALIZED, LATEST, FinalityRule
from comity.devnet.anvil import Anvil

DEEP = FinalityRule.from_depth(50)


class Store:
    """Keeps a cursor as a database would: as bytes."""

    def __init__(self):
        self.encoded = None

    def load(self):
        return None if self.encoded is None else Cursor.decode(self.encoded)

    def save(self, cursor):
        self.encoded = cursor.encode()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def follow(chain, store):
    """A follower that resumes from the store; as a new process would."""

    def make(source=None, finality=FINALIZED, **options):
        return Follower(
            source or chain.rpc, finality=finality, load_cursor=store.load, save_cursor=store.save, **options
        )

    return make


def numbers(logs):
    return [log.block_number for log in logs]


async def test_new_blocks_are_told_once_and_become_final_later(follow, chain):
    follower = follow()
    assert await follower.step() == []
    await chain.mine(5)
    assert await follower.step() == [Advanced(from_block=1, to_block=5, final_to=3)]
    assert await follower.step() == []
    await chain.mine(1)
    assert await follower.step() == [Advanced(from_block=6, to_block=6, final_to=4)]


async def test_finality_alone_is_told_too(follow, chain, proxy):
    await chain.mine(5)
    async with Rpc(proxy.url) as rpc:
        follower = follow(rpc)
        earlier = (await chain.rpc.fetch_block(2)).header
        proxy.alter = lambda method, params, answer: earlier if params[:1] == ["finalized"] else answer
        assert await follower.step() == [Advanced(from_block=1, to_block=5, final_to=2)]
        proxy.alter = lambda method, params, answer: answer
        assert await follower.step() == [Advanced(from_block=6, to_block=5, final_to=3)]
        proxy.alter = lambda method, params, answer: earlier if params[:1] == ["finalized"] else answer
        assert await follower.step() == []
        assert follower.cursor.final[0] == 3


@pytest.mark.parametrize("start", [0, 1, 4])
async def test_the_first_block_is_as_asked(follow, chain, start):
    await chain.mine(5)
    [event] = await follow(start_block=start).step()
    assert (event.from_block, event.to_block) == (max(1, start), 5)


async def test_a_start_beyond_the_head_is_not_ready(follow, chain):
    with pytest.raises(NotReady):
        await follow(start_block=9).step()


@pytest.mark.parametrize(("rule", "final"), [(LATEST, 5), (FINALIZED, 3), (FinalityRule.from_depth(4), 1)], ids=str)
async def test_final_is_by_the_rule(follow, chain, rule, final):
    await chain.mine(5)
    assert await follow(finality=rule).step() == [Advanced(from_block=1, to_block=5, final_to=final)]


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_reorg_is_undone_to_the_block_before_it(follow, chain, depth):
    follower = follow(finality=DEEP)
    await chain.mine(6)
    await follower.step()
    await chain.reorg(depth)
    assert await follower.step() == [Reverted(to_block=6 - depth)]
    assert await follower.step() == [Advanced(from_block=7 - depth, to_block=6, final_to=0)]
    assert follower.cursor.hash == (await chain.rpc.fetch_block(6)).hash


async def test_a_reorg_to_a_longer_chain_is_seen_by_its_parent_hash(follow, chain):
    follower = follow(finality=DEEP)
    await chain.mine(6)
    await follower.step()
    await chain.reorg(2)
    await chain.mine(3)
    assert await follower.step() == [Reverted(to_block=4)]
    assert await follower.step() == [Advanced(from_block=5, to_block=9, final_to=0)]


async def test_a_reorg_between_head_and_headers_is_not_ready_and_then_seen(follow, chain, proxy):
    await chain.mine(6)
    async with Rpc(proxy.url) as rpc:
        follower = follow(rpc, finality=DEEP)
        await follower.step()
        await chain.mine(4)
        other = dict((await chain.rpc.fetch_block(8)).header)
        await chain.reorg(3)
        proxy.alter = lambda method, params, answer: (
            other if (method, params[:1]) == ("eth_getBlockByNumber", ["0x8"]) else answer
        )
        with pytest.raises(NotReady):
            await follower.step()
        proxy.alter = lambda method, params, answer: answer
        assert await follower.step() == [Advanced(from_block=7, to_block=10, final_to=0)]


async def test_a_reorg_below_the_final_block_stops_the_follower(follow, chain, store):
    follower = follow()
    await chain.mine(6)
    await follower.step()
    follower.acknowledge()
    expected = (await chain.rpc.fetch_block(4)).hash
    await chain.reorg(3)
    for again in (follower, follower, follow()):
        with pytest.raises(FinalityViolated) as stopped:
            await again.step()
        assert isinstance(stopped.value, Invalid)
        assert stopped.value.values["number"] == 4
        assert stopped.value.values["expected"] == expected
        assert stopped.value.values["found"] == (await chain.rpc.fetch_block(4)).hash != expected


async def test_a_reorg_down_to_the_final_block_is_borne(follow, chain):
    follower = follow()
    await chain.mine(6)
    await follower.step()
    await chain.reorg(2)
    assert await follower.step() == [Reverted(to_block=4)]


async def test_a_lagging_provider_moves_nothing_back(follow, chain, proxies):
    await chain.mine(8)
    quorum = ProviderQuorum([Rpc(proxy.url) for proxy in proxies], 2)
    follower = follow(quorum, finality=DEEP)
    await follower.step()
    old = [(await chain.rpc.fetch_block(number)).header for number in (5, 0)]
    for proxy in proxies:
        for header in old:
            proxy.alter = lambda method, params, answer, header=header: (
                header["number"] if method == "eth_blockNumber" else answer
            )
            assert await follower.step() == []
            assert follower.cursor.number == 8
    await quorum.close()


async def test_a_provider_behind_the_final_block_is_unavailable(follow, chain, store):
    follower = follow()
    await chain.mine(400)
    for _ in range(3):
        await follower.step()
    follower.acknowledge()
    await chain.rollback(399)
    with pytest.raises(Unavailable):
        await follow().step()
    assert follower.cursor.number == 400


async def test_a_shortened_chain_counts_once_it_differs(follow, chain):
    follower = follow(finality=DEEP)
    await chain.mine(6)
    await follower.step()
    await chain.rollback(2)
    assert await follower.step() == []
    await chain.emit()
    assert await follower.step() == [Reverted(to_block=4)]
    assert await follower.step() == [Advanced(from_block=5, to_block=5, final_to=0)]


async def test_another_process_goes_on_where_the_first_stood(follow, chain):
    first = follow()
    await chain.mine(5)
    await first.step()
    first.acknowledge()
    await chain.mine(2)
    assert await follow().step() == [Advanced(from_block=6, to_block=7, final_to=5)]


async def test_a_reorg_during_downtime_is_seen(follow, chain):
    first = follow(finality=DEEP)
    await chain.mine(5)
    await first.step()
    first.acknowledge()
    await chain.reorg(2)
    await chain.mine(4)
    assert await follow(finality=DEEP).step() == [Reverted(to_block=3)]


async def test_events_that_were_not_acknowledged_come_again(follow, chain):
    await chain.mine(5)
    expected = await follow().step()
    assert await follow().step() == expected
    again = follow()
    assert await again.step() == expected
    await again.step()
    assert await follow().step() == []


async def test_iteration_acknowledges_each_event_after_it_was_handled(follow, chain, store):
    await chain.mine(5)
    follower = follow(poll_seconds=0)
    async for event in follower:
        if event == Advanced(from_block=1, to_block=5, final_to=3):
            assert store.encoded is None
            await chain.mine(1)
        else:
            assert event == Advanced(from_block=6, to_block=6, final_to=4)
            assert store.load().number == 5
            break


async def test_another_chain_is_refused(follow, chain, store):
    follower = follow()
    await chain.mine(5)
    await follower.step()
    follower.acknowledge()
    for chain_id, timestamp in ((31338, 1_700_000_000), (31337, 1_600_000_000)):
        async with Anvil(chain_id, timestamp=timestamp) as other, Rpc(other.url) as rpc:
            await rpc.call("anvil_mine", 9)
            with pytest.raises(ChainChanged):
                await follow(rpc).step()


async def test_another_chain_id_alone_is_another_chain(follow, chain, proxy):
    follower = follow()
    await chain.mine(5)
    await follower.step()
    follower.acknowledge()
    proxy.alter = lambda method, params, answer: "0x1" if method == "eth_chainId" else answer
    async with Rpc(proxy.url) as rpc:
        with pytest.raises(ChainChanged) as refused:
            await follow(rpc).step()
    assert refused.value.values["found_chain"] == 1


def test_a_cursor_is_read_back_or_refused():
    cursor = Cursor(chain_id=1, genesis=b"g", number=5, hash=b"h", final=(3, b"f"), recent=((5, b"h"),))
    assert Cursor.decode(cursor.encode()) == cursor
    assert (cursor.find_hash(5), cursor.find_hash(3), cursor.find_hash(4)) == (b"h", b"f", None)
    with pytest.raises(Invalid):
        Cursor.decode(b'{"number": 5}')


async def test_a_long_catch_up_jumps_among_final_blocks_and_misses_no_log(follow, chain, emitter):
    expected = [await chain.emit()]
    await chain.mine(500)
    expected.append(await chain.emit())
    await chain.mine(400)
    expected.append(await chain.emit())
    follower = follow(max_range=300)
    events = []
    while more := await follower.step():
        events += more
    assert events[0] == Advanced(from_block=1, to_block=300, final_to=300)
    assert [event.from_block for event in events[1:]] == [event.to_block + 1 for event in events[:-1]]
    assert events[-1].to_block == expected[-1]
    assert numbers(await follower.fetch_logs(1, events[-1].to_block, emitter)) == expected


async def test_a_jump_is_refused_from_a_block_that_was_reorganised_away(follow, chain):
    follower = follow(finality=DEEP)
    await chain.mine(10)
    await follower.step()
    await chain.reorg(5)
    await chain.mine(400)
    assert await follower.step() == [Reverted(to_block=5)]


async def test_logs_are_filtered_by_address_and_topic(follow, chain, emitter):
    number = await chain.emit()
    follower = follow()
    await follower.step()
    one, two = (1).to_bytes(32, "big"), (2).to_bytes(32, "big")
    for address in (None, emitter, [emitter, bytes(20)]):
        for topics in ((), (one,), ((two, one),), (None,)):
            assert numbers(await follower.fetch_logs(1, number, address, topics)) == [number]
    assert await follower.fetch_logs(1, number, bytes(20)) == []
    assert await follower.fetch_logs(1, number, emitter, [two]) == []
    assert await follower.fetch_logs(1, number, emitter, [None, one]) == []


async def test_logs_of_blocks_not_followed_yet_are_not_ready(follow, chain):
    follower = follow()
    with pytest.raises(NotReady):
        await follower.fetch_logs(1, 1)
    await chain.mine(3)
    await follower.step()
    with pytest.raises(NotReady):
        await follower.fetch_logs(1, 4)


async def test_a_reorg_between_step_and_logs_is_not_ready_instead_of_a_loss(follow, chain, emitter):
    follower = follow(finality=DEEP)
    number = await chain.emit()
    await follower.step()
    await chain.reorg(1)
    with pytest.raises(NotReady):
        await follower.fetch_logs(1, number, emitter)
    assert await follower.step() == [Reverted(to_block=number - 1)]
    await follower.step()
    assert await follower.fetch_logs(1, number, emitter) == []


async def test_a_node_that_answers_nothing_for_an_unknown_block_loses_no_log(follow, chain, proxy, emitter):
    async with Rpc(proxy.url) as rpc:
        follower = follow(rpc, finality=DEEP)
        number = await chain.emit()
        await follower.step()
        await chain.reorg(1)
        proxy.alter = lambda method, params, answer: [] if method == "eth_getLogs" else answer
        with pytest.raises(NotReady):
            await follower.fetch_logs(1, number, emitter)


@pytest.fixture
async def caught_up(follow, chain, proxy):
    """A follower behind a proxy whose old blocks are asked for by range, with logs in three of them."""
    expected = []
    for _ in range(3):
        expected.append(await chain.emit())
        await chain.mine(20)
    await chain.mine(600)
    async with Rpc(proxy.url) as rpc:
        follower = follow(rpc)
        while await follower.step():
            pass
        yield follower, expected


def range_length(params):
    return int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1


async def test_a_range_too_large_is_halved_and_nothing_is_lost(caught_up, proxy, emitter, rpc_failure):
    follower, expected = caught_up
    served = []

    def alter(method, params, answer):
        if method != "eth_getLogs" or "blockHash" in params[0]:
            return answer
        if range_length(params) > 10:
            return rpc_failure(-32005, "query returned more than 10000 results")
        served.append(range_length(params))
        return answer

    proxy.alter = alter
    assert numbers(await follower.fetch_logs(1, 100, emitter)) == expected
    assert sum(served) == 100


async def test_a_provider_that_refuses_even_one_block_is_unavailable(caught_up, proxy, emitter, rpc_failure):
    follower, _ = caught_up
    proxy.alter = lambda method, params, answer: rpc_failure(-32005, "no") if method == "eth_getLogs" else answer
    with pytest.raises(Unavailable):
        await follower.fetch_logs(1, 100, emitter)


async def test_a_range_is_refused_when_its_last_block_is_unknown_or_another(caught_up, proxy, chain, emitter):
    follower, _ = caught_up
    other = (await chain.rpc.fetch_block(99)).header
    # The first look is the follower's own; one more stands before the logs and one after them.
    for wrong, at in ((None, {3}), (other, {3}), (other, {2, 3})):
        looks = []

        def alter(method, params, answer, *, wrong=wrong, at=at, looks=looks):
            if (method, params[0]) == ("eth_getBlockByNumber", "0x64"):
                looks.append(1)
                return wrong if len(looks) in at else answer
            return answer

        proxy.alter = alter
        with pytest.raises(NotReady):
            await follower.fetch_logs(1, 100, emitter)


@pytest.mark.parametrize(
    "change",
    [
        {"address": "0x" + "99" * 20},
        {"blockNumber": "0x3e7"},
        {"removed": True},
        {"topics": []},
        {"data": "not hex"},
        {"blockHash": None},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("recent", [True, False])
async def test_logs_that_were_not_asked_for_are_refused(  # noqa: PLR0917
    caught_up, proxy, chain, emitter, change, recent
):
    follower, _ = caught_up
    topic = (1).to_bytes(32, "big")
    first, last = 1, 100
    if recent:
        first = last = await chain.emit()
        await follower.step()
    assert await follower.fetch_logs(first, last, emitter, [topic])
    proxy.alter = lambda method, params, answer: [log | change for log in answer] if method == "eth_getLogs" else answer
    with pytest.raises(Unavailable):
        await follower.fetch_logs(first, last, emitter, [topic])


async def test_one_provider_of_three_cannot_hide_or_invent_a_log(follow, chain, proxies, emitter):
    number = await chain.emit()
    quorum = ProviderQuorum([Rpc(proxy.url) for proxy in proxies], 2)
    follower = follow(quorum)
    await follower.step()
    for liar in proxies:
        for lie in ([], lambda logs: logs * 2):
            liar.alter = lambda method, params, answer, lie=lie: (
                (lie(answer) if callable(lie) else lie) if method == "eth_getLogs" else answer
            )
            assert numbers(await follower.fetch_logs(1, number, emitter)) == [number]
        liar.alter = lambda method, params, answer: answer
    await quorum.close()


class Consumer:
    """Keeps the logs that a follower's events leave, and saves them together with the cursor."""

    def __init__(self, follow, emitter):
        self._follow, self._emitter = follow, emitter
        self._saved = []
        self.crash()

    def crash(self):
        """Start again from what was saved."""
        self.follower, self.logs = self._follow(finality=DEEP), list(self._saved)

    def save(self):
        self.follower.acknowledge()
        self._saved = list(self.logs)

    async def step(self):
        self.save()
        events = await self.follower.step()
        for event in events:
            if isinstance(event, Reverted):
                self.logs = [log for log in self.logs if log.block_number <= event.to_block]
            else:
                self.logs += await self.follower.fetch_logs(event.from_block, event.to_block, self._emitter)
        return events


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_a_consumer_keeps_exactly_the_logs_of_the_chain(follow, chain, emitter, seed):
    """Blocks, logs, reorgs, roll-backs and crashes at random, within the depth of the rule."""
    generator = random.Random(seed)
    consumer = Consumer(follow, emitter)
    await chain.mine(2)
    for _ in range(60):
        action = generator.choice(["emit"] * 4 + ["mine", "reorg", "rollback", "crash"] + ["step"] * 4)
        depth = min(generator.randint(1, 4), await chain.rpc.block_number() - 1)
        if action == "emit":
            await chain.emit()
        elif action == "mine":
            await chain.mine(generator.randint(1, 5))
        elif action in ("reorg", "rollback") and depth:
            await getattr(chain, action)(depth)
        elif action == "crash":
            consumer.crash()
        else:
            await consumer.step()
    await chain.emit()
    await chain.mine(5)
    while await consumer.step():
        pass
    assert consumer.follower.cursor.hash == (await chain.rpc.fetch_block("latest")).hash
    assert consumer.logs == await chain.rpc.fetch_logs(emitter, from_block=0)
    assert consumer.logs
