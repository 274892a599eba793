"""A submitter gets each call mined once, whatever happens to its transactions, and never two under one nonce."""

import asyncio

import pytest
from aiohttp import web

from comity.chain.revert import encode_revert
from comity.chain.rpc import Rpc, RpcError
from comity.chain.signer import LocalSigner
from comity.chain.submitter import Submitter
from comity.chain.transaction import compute_transaction_hash
from comity.core.errors import ConfigError, NotReady, Rejected, Unavailable

KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
SIGNER = LocalSigner(KEY)
GWEI = 10**9
TO = b"\x99" * 20


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def make(chain, clock):
    """Submitters whose clock the test moves, closed at its end."""
    made = []

    def build(rpc=None, signer=SIGNER, cap=1000 * GWEI, **options):
        options = {"poll_seconds": 0.01, "stuck_seconds": 30, "clock": clock} | options
        made.append(Submitter(rpc or chain.rpc, signer, chain_id=31337, max_fee_per_gas_cap=cap, **options))
        return made[-1]

    yield build
    for submitter in made:
        await submitter.close()


@pytest.fixture
async def proxied(proxy):
    async with Rpc(proxy.url, retries=0) as rpc:
        yield rpc


async def wait_for(accept):
    """Poll until a condition holds: nodes and submitters tell nobody when it does."""
    async with asyncio.timeout(20):
        while not accept():
            await asyncio.sleep(0.01)


class Pool:
    """The node's mempool, which mines only when told to."""

    def __init__(self, rpc):
        self.rpc = rpc

    async def hold(self):
        await self.rpc.call("evm_setAutomine", False)

    async def mine(self):
        await self.rpc.call("anvil_mine", 1)

    async def drop(self, transaction):
        await self.rpc.call("anvil_dropTransaction", transaction["hash"])

    async def read(self):
        """Pending and queued transactions of the signer, by nonce."""
        content = await self.rpc.call("txpool_content")
        mine = {}
        for part in ("pending", "queued"):
            for sender, by_nonce in content[part].items():
                if sender.lower() == "0x" + SIGNER.address.hex():
                    mine |= {int(nonce): transaction for nonce, transaction in by_nonce.items()}
        return mine

    async def until(self, accept):
        """Wait for a state of the pool."""
        async with asyncio.timeout(20):
            while not accept(content := await self.read()):
                await asyncio.sleep(0.01)
        return content


@pytest.fixture
def pool(chain):
    return Pool(chain.rpc)


async def finish(task):
    async with asyncio.timeout(20):
        return await task


@pytest.fixture
async def reverter(chain):
    reason = encode_revert("gate: already delivered")
    code = bytes.fromhex(f"61{len(reason):04x}600e60003961{len(reason):04x}6000fd") + reason
    await chain.rpc.call("anvil_setCode", b"\x66" * 20, code)
    return b"\x66" * 20


async def test_a_call_is_mined_and_its_receipt_returned(make, chain, emitter):
    submitter = make()
    receipt = await submitter.submit(emitter, b"")
    assert (receipt.status, receipt.logs[0].address) == (1, emitter)
    await submitter.submit(TO, b"", value=5)
    assert await chain.rpc.balance(TO) == 5
    assert submitter.in_flight == 0


async def test_a_contract_is_created(make, chain):
    receipt = await make().submit(None, bytes.fromhex("600a600c600039600a6000f3602a60005260206000f3"))
    assert int.from_bytes(await chain.rpc.eth_call(receipt.contract_address, b""), "big") == 42


async def test_forty_at_once_take_consecutive_nonces(make, chain):
    signed = []
    submitter = make(on_signed=lambda nonce, raw: signed.append(nonce))
    receipts = await asyncio.gather(*(submitter.submit(TO, b"", 1) for _ in range(40)))
    assert len({receipt.transaction_hash for receipt in receipts}) == 40
    assert signed == list(range(40))
    assert await chain.rpc.balance(TO) == 40


async def test_several_are_in_the_pool_before_the_first_is_mined(make, pool):
    await pool.hold()
    submitter = make()
    tasks = [asyncio.create_task(submitter.submit(TO, b"", 1)) for _ in range(5)]
    assert set(await pool.until(lambda content: len(content) == 5)) == set(range(5))
    await pool.mine()
    assert len({(await finish(task)).block_number for task in tasks}) == 1


async def test_what_would_revert_is_rejected_before_a_nonce_is_used(make, chain, reverter):
    signed = []
    submitter = make(on_signed=lambda nonce, raw: signed.append(nonce))
    with pytest.raises(Rejected) as refused:
        await submitter.submit(reverter, b"")
    assert refused.value.reason == "gate: already delivered"
    assert signed == []
    assert await chain.rpc.transaction_count(SIGNER.address, "pending") == 0


async def test_a_mined_failure_is_replayed_for_its_reason(make, reverter):
    with pytest.raises(Rejected) as refused:
        await make().submit(reverter, b"", gas=100_000)
    assert refused.value.reason == "gate: already delivered"
    assert refused.value.values["block_number"] == 1
    assert len(refused.value.values["transaction_hash"]) == 32


async def test_a_mined_failure_for_want_of_gas_says_so(make, emitter):
    with pytest.raises(Rejected) as refused:
        await make().submit(emitter, b"", gas=21_100)
    assert "gas" in refused.value.reason.lower()


async def test_a_transaction_is_handed_over_before_it_is_broadcast(make, chain, pool):
    def refuse(nonce, raw):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await make(on_signed=refuse).submit(TO, b"")
    assert await pool.read() == {}
    assert await chain.rpc.transaction_count(SIGNER.address, "pending") == 0


async def poll(proxy, times=5):
    """Let a submitter look at the chain some times more."""
    seen = proxy.requests
    await wait_for(lambda: proxy.requests >= seen + times * 4)


async def test_a_stuck_transaction_is_replaced_by_a_dearer_one_and_only_one_is_mined(  # noqa: PLR0917
    make, chain, pool, clock, proxy, proxied
):
    await pool.hold()
    task = asyncio.create_task(make(proxied).submit(TO, b"", 1))
    first = (await pool.until(lambda content: content))[0]
    clock.now += 29
    await poll(proxy)
    assert (await pool.read())[0]["hash"] == first["hash"]
    clock.now += 1
    second = (await pool.until(lambda content: content[0]["hash"] != first["hash"]))[0]
    for fee in ("maxFeePerGas", "maxPriorityFeePerGas"):
        assert int(second[fee], 16) * 1000 >= int(first[fee], 16) * 1125
    assert {name: second[name] for name in ("to", "value", "input")} == {
        name: first[name] for name in ("to", "value", "input")
    }
    assert len(await pool.read()) == 1
    await pool.mine()
    receipt = await finish(task)
    assert receipt.transaction_hash.hex() == second["hash"][2:]
    assert await chain.rpc.balance(TO) == 1


async def test_a_replacement_never_exceeds_the_cap(make, pool, clock, proxy, proxied):
    await pool.hold()
    signed = []
    submitter = make(proxied, cap=2 * GWEI, on_signed=lambda nonce, raw: signed.append(raw))
    task = asyncio.create_task(submitter.submit(TO, b"", 1))
    [transaction] = (await pool.until(lambda content: content)).values()
    assert int(transaction["maxFeePerGas"], 16) <= 2 * GWEI
    clock.now += 300
    await poll(proxy)
    assert len(signed) == 1
    await pool.mine()
    await finish(task)


async def test_the_original_may_still_be_the_one_that_is_mined(make, chain, pool, clock):
    """The replacement is lost on its way; the original's receipt counts."""
    await pool.hold()
    raws = []
    task = asyncio.create_task(make(on_signed=lambda nonce, raw: raws.append(raw)).submit(TO, b"", 1))
    await pool.until(lambda content: content)
    clock.now += 30
    await pool.until(lambda content: len(raws) == 2)
    [replacement] = (await pool.read()).values()
    await pool.drop(replacement)
    await chain.rpc.send_raw_transaction(raws[0])
    await pool.mine()
    receipt = await finish(task)
    assert receipt.transaction_hash in [compute_transaction_hash(raw) for raw in raws]
    assert await chain.rpc.balance(TO) == 1


async def test_a_dropped_transaction_is_sent_again(make, pool):
    await pool.hold()
    task = asyncio.create_task(make().submit(TO, b"", 1))
    [transaction] = (await pool.until(lambda content: content)).values()
    await pool.drop(transaction)
    [again] = (await pool.until(lambda content: content)).values()
    assert again["hash"] == transaction["hash"]
    await pool.mine()
    await finish(task)


async def test_a_nonce_that_another_transaction_holds_is_left_to_it(make, chain, pool, proxy, proxied):
    """The provider does not count what the pool holds."""
    proxy.alter = lambda method, params, answer: "0x0" if params[1:] == ["pending"] else answer
    signed = []
    await pool.hold()
    foreign = {"from": chain.accounts[0], "to": bytes(20), "maxFeePerGas": hex(900 * GWEI), "nonce": "0x0"}
    await chain.rpc.call("eth_sendTransaction", foreign)
    submitter = make(proxied, on_signed=lambda nonce, raw: signed.append(nonce))
    task = asyncio.create_task(submitter.submit(TO, b"", 1))
    await pool.until(lambda content: set(content) == {0, 1})
    await pool.mine()
    await finish(task)
    assert signed == [0, 1]
    assert await chain.rpc.balance(TO) == 1


async def test_a_call_whose_nonce_was_used_after_it_was_broadcast_is_sent_under_another(make, chain, pool):
    await pool.hold()
    task = asyncio.create_task(make().submit(TO, b"", 1))
    await pool.until(lambda content: content)
    foreign = {"from": chain.accounts[0], "to": bytes(20), "nonce": "0x0", "gas": "0x5208"}
    fees = {"maxFeePerGas": hex(900 * GWEI), "maxPriorityFeePerGas": hex(90 * GWEI)}
    await chain.rpc.call("eth_sendTransaction", foreign | fees)
    await pool.mine()
    await pool.until(lambda content: 1 in content)
    await pool.mine()
    await finish(task)
    assert await chain.rpc.balance(TO) == 1
    assert await chain.rpc.transaction_count(SIGNER.address) == 2


async def test_a_new_process_goes_on_after_what_is_in_the_pool(make, pool):
    await pool.hold()
    first, second = make(), make()
    tasks = [asyncio.create_task(first.submit(TO, b"", 1))]
    await pool.until(lambda content: set(content) == {0})
    tasks.append(asyncio.create_task(second.submit(TO, b"", 1)))
    await pool.until(lambda content: set(content) == {0, 1})
    await pool.mine()
    for task in tasks:
        await finish(task)


async def test_two_processes_with_one_key_both_get_everything_mined(make, chain):
    targets = {b"\x01" * 20: make(), b"\x02" * 20: make()}
    await asyncio.gather(*(submitter.submit(to, b"", 1) for to, submitter in targets.items() for _ in range(8)))
    assert [await chain.rpc.balance(to) for to in targets] == [8, 8]


async def test_a_gap_that_an_earlier_process_left_is_filled(  # noqa: PLR0917
    make, chain, pool, proxy, proxied, clock
):
    """The provider counts a transaction that the pool has dropped since."""
    await pool.hold()
    proxy.alter = lambda method, params, answer: (
        "0x1" if method == "eth_getTransactionCount" and params[1] == "pending" else answer
    )
    task = asyncio.create_task(make(proxied).submit(TO, b"", 1))
    await pool.until(lambda content: set(content) == {1})
    clock.now += 30
    content = await pool.until(lambda content: set(content) == {0, 1})
    assert content[0]["to"] == content[0]["from"]
    await pool.mine()
    await finish(task)
    assert await chain.rpc.transaction_count(SIGNER.address) == 2


async def test_while_something_is_in_flight_a_lagging_count_reuses_no_nonce(make, proxy, proxied):
    """The provider shows neither the second transaction nor what the pool holds."""
    signed, hidden = [], []

    def alter(method, params, answer):
        if method == "eth_getTransactionCount":
            return "0x0" if params[1] == "pending" else hex(min(int(answer, 16), 1))
        return None if method == "eth_getTransactionReceipt" and params[0] in hidden else answer

    def on_signed(nonce, raw):
        signed.append(nonce)
        if nonce == 1:
            hidden.append("0x" + compute_transaction_hash(raw).hex())

    submitter = make(proxied, on_signed=on_signed)
    await submitter.submit(TO, b"", 1)
    proxy.alter = lambda method, params, answer: "0x1" if params[1:] == ["pending"] else alter(method, params, answer)
    second = asyncio.create_task(submitter.submit(TO, b"", 1))
    await wait_for(lambda: hidden and submitter.in_flight)
    proxy.alter = alter
    await submitter.submit(TO, b"", 1)
    assert signed == [0, 1, 2]
    proxy.alter = lambda method, params, answer: answer
    await finish(second)


async def test_a_lost_answer_to_a_broadcast_does_not_send_twice(make, chain, proxy, proxied):
    lost = []

    def alter(method, params, answer):
        if method == "eth_sendRawTransaction" and not lost:
            lost.append(answer)
            raise web.HTTPBadGateway
        return answer

    proxy.alter = alter
    receipt = await make(proxied).submit(TO, b"", 1)
    assert lost == ["0x" + receipt.transaction_hash.hex()]
    assert await chain.rpc.balance(TO) == 1
    assert await chain.rpc.transaction_count(SIGNER.address) == 1


async def test_a_nonce_too_high_is_looked_up_again(make, proxy, proxied, rpc_failure):
    refused, signed = [], []

    def alter(method, params, answer):
        if params[1:] == ["pending"] and not refused:
            return "0x5"
        if method == "eth_sendRawTransaction" and not refused:
            refused.append(params)
            return rpc_failure(-32000, "nonce too high")
        return answer

    proxy.alter = alter
    await make(proxied, on_signed=lambda nonce, raw: signed.append(nonce)).submit(TO, b"", 1)
    assert signed == [5, 0]


async def test_nonces_that_are_never_accepted_are_unavailable(make, proxy, proxied, rpc_failure):
    proxy.alter = lambda method, params, answer: (
        rpc_failure(-32000, "nonce too high") if method == "eth_sendRawTransaction" else answer
    )
    submitter = make(proxied)
    with pytest.raises(Unavailable):
        await submitter.submit(TO, b"", 1)
    assert submitter.in_flight == 0


async def test_another_refusal_is_passed_on_and_uses_no_nonce(make, chain, proxy, proxied, rpc_failure):
    submitter = make(proxied)
    proxy.alter = lambda method, params, answer: (
        rpc_failure(-32000, "intrinsic gas too low") if method == "eth_sendRawTransaction" else answer
    )
    with pytest.raises(RpcError, match="intrinsic"):
        await submitter.submit(TO, b"", 1)
    assert submitter.in_flight == 0


async def test_a_base_fee_above_the_cap_waits_without_signing(make):
    signed = []
    with pytest.raises(NotReady) as refused:
        await make(cap=1000, on_signed=lambda nonce, raw: signed.append(nonce)).submit(TO, b"")
    assert refused.value.values["max_fee_per_gas_cap"] == 1000
    assert signed == []


async def test_an_empty_account_is_the_operators_to_fill(make):
    submitter = make(signer=LocalSigner(b"\x05" * 32))
    with pytest.raises(ConfigError) as refused:
        await submitter.submit(TO, b"", gas=21_000)
    assert refused.value.values["address"] == LocalSigner(b"\x05" * 32).address
    assert submitter.in_flight == 0


async def test_a_cancelled_caller_leaves_its_transaction_watched(make, chain, pool):
    await pool.hold()
    submitter = make()
    task = asyncio.create_task(submitter.submit(TO, b"", 1))
    [transaction] = (await pool.until(lambda content: content)).values()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await pool.drop(transaction)
    await pool.until(lambda content: content)
    await pool.mine()
    await chain.rpc.call("evm_setAutomine", True)
    await submitter.submit(TO, b"", 1)
    assert await chain.rpc.balance(TO) == 2


async def test_a_caller_cancelled_during_the_broadcast_leaves_its_transaction_watched(make, chain, pool):
    await pool.hold()
    tasks = []
    submitter = make(on_signed=lambda nonce, raw: tasks[0].cancel())
    tasks.append(asyncio.create_task(submitter.submit(TO, b"", 1)))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    await wait_for(lambda: submitter.in_flight)
    await pool.mine()
    await wait_for(lambda: not submitter.in_flight)
    assert await chain.rpc.balance(TO) == 1


async def test_an_unreachable_provider_only_delays(make, pool, proxy, proxied):
    await pool.hold()
    task = asyncio.create_task(make(proxied).submit(TO, b"", 1))
    await pool.until(lambda content: content)

    def fail(method, params, answer):
        raise web.HTTPServiceUnavailable

    proxy.alter = fail
    await poll(proxy)
    assert not task.done()
    proxy.alter = lambda method, params, answer: answer
    await pool.mine()
    await finish(task)


async def test_closing_ends_the_wait_of_every_caller(make, pool):
    await pool.hold()
    submitter = make()
    tasks = [asyncio.create_task(submitter.submit(TO, b"", 1)) for _ in range(3)]
    await pool.until(lambda content: len(content) == 3)
    await submitter.close()
    for task in tasks:
        with pytest.raises(Unavailable):
            await finish(task)
    assert submitter.in_flight == 0
