"""The JSON-RPC client against a real node over each transport, and against providers that misbehave."""

import asyncio
import json
import traceback

import pytest
from aiohttp import web

from comity.chain.codec import from_quantity
from comity.chain.revert import encode_revert
from comity.chain.rpc import Rpc, RpcError
from comity.core.errors import ConfigError, NotReady, Rejected, Unavailable
from comity.devnet.anvil import Anvil

TARGET = b"\x55" * 20


@pytest.fixture(scope="module")
async def node():
    async with Anvil(777, timestamp=1_700_000_000, ipc=True) as anvil:
        yield anvil


@pytest.fixture(params=["http", "ws", "ipc", "ipc path"])
async def rpc(node, request):
    url = {"http": node.url, "ws": node.ws_url, "ipc": f"ipc://{node.ipc_path}", "ipc path": str(node.ipc_path)}
    async with Rpc(url[request.param]) as made:
        yield made


async def test_typed_answers_over_each_transport(rpc):
    assert await rpc.chain_id() == 777
    await rpc.call("anvil_mine", 2)
    number = await rpc.block_number()
    block = await rpc.fetch_block()
    assert block.number == number
    assert await rpc.fetch_block(block.hash) == block == await rpc.fetch_block(number)
    assert (await rpc.fetch_block(number - 1)).hash == block.parent_hash
    assert len(block.state_root) == len(block.hash) == 32
    await rpc.call("anvil_setBalance", TARGET, hex(5))
    await rpc.call("anvil_setStorageAt", TARGET, bytes(32), (9).to_bytes(32, "big"))
    await rpc.call("anvil_mine", 1)
    assert await rpc.balance(TARGET) == 5
    assert await rpc.balance(TARGET, block.hash) in (0, 5)
    assert await rpc.storage_at(TARGET, 0) == 9
    proof = await rpc.fetch_proof(TARGET, [0, bytes(31) + b"\x01"], "latest")
    assert (proof.address, proof.balance) == (TARGET, 5)
    assert [(slot.key[-1], slot.value) for slot in proof.storage] == [(0, 9), (1, 0)]
    assert await rpc.transaction_count(TARGET, "pending") == 0
    assert await rpc.estimate_gas(TARGET, b"") == 21_000
    assert await rpc.fetch_receipt(bytes(32)) is None
    assert await rpc.code(TARGET) == b""
    history = await rpc.fee_history(2, "latest", [50])
    assert len(history.base_fees) == 3
    assert len(history.rewards) == 2


async def test_a_batch_larger_than_any_buffer_keeps_its_order(rpc):
    # Four hundred blocks are several hundred kilobytes: the answer comes in many pieces.
    answers = await rpc.batch([("eth_getBlockByNumber", ["0x0", True]), ("eth_chainId", [])] * 400)
    assert len(answers) == 800
    assert all(block["number"] == "0x0" for block in answers[::2])
    assert set(answers[1::2]) == {"0x309"}


async def test_many_calls_at_once_get_their_own_answers(rpc):
    expected = range(1, 40)
    overrides = [{TARGET: {"code": bytes([0x60, number]) + bytes.fromhex("60005260206000f3")}} for number in expected]
    calls = [rpc.eth_call(TARGET, b"", state_override=override) for override in overrides]
    assert [int.from_bytes(answer, "big") for answer in await asyncio.gather(*calls)] == list(expected)


async def test_an_unknown_block_is_not_ready(rpc):
    for unknown in (10**9, b"\x11" * 32):
        with pytest.raises(NotReady):
            await rpc.fetch_block(unknown)


async def test_an_unknown_method_is_an_rpc_error(rpc):
    with pytest.raises(RpcError) as refused:
        await rpc.call("comity_nothing")
    assert refused.value.code < 0
    answers = await rpc.batch([("eth_chainId", []), ("eth_getBalance", ["nonsense"])], return_exceptions=True)
    assert answers[0] == "0x309"
    assert isinstance(answers[1], RpcError)
    with pytest.raises(RpcError):
        await rpc.batch([("eth_chainId", []), ("eth_getBalance", ["nonsense"])])


def reverting(revert_data):
    """Code that reverts with this data, which is appended to it."""
    size = len(revert_data)
    return {TARGET: {"code": bytes.fromhex(f"61{size:04x}600e60003961{size:04x}6000fd") + revert_data}}


@pytest.mark.parametrize(
    ("revert_data", "reason"),
    [
        (encode_revert("gate: already delivered"), "gate: already delivered"),
        (bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big"), "panic 0x11: arithmetic overflow"),
        (bytes.fromhex("deadbeef"), "0xdeadbeef"),
    ],
    ids=["string", "panic", "custom"],
)
async def test_a_revert_is_decoded(rpc, revert_data, reason):
    with pytest.raises(Rejected) as refused:
        await rpc.eth_call(TARGET, b"", state_override=reverting(revert_data))
    assert refused.value.reason == reason
    assert refused.value.values["data"] == revert_data


async def test_a_failed_execution_without_data_is_rejected(rpc):
    for code in ("fe", "60006000fd"):
        with pytest.raises(Rejected):
            await rpc.eth_call(TARGET, b"", state_override={TARGET: {"code": "0x" + code}})


def respond(question, **answer):
    return web.json_response({"jsonrpc": "2.0", "id": question["id"], **answer})


@pytest.mark.parametrize(
    "failure",
    [
        lambda question: web.Response(status=503),
        lambda question: web.Response(status=429),
        lambda question: web.Response(body=b"<html>busy</html>"),
        lambda question: web.Response(body=b"\xff\xfe"),
        lambda question: respond(question, error={"code": -32005, "message": "Too Many Requests"}),
        lambda question: respond({"id": 77}, result="0x9"),
        lambda question: web.json_response([]),
    ],
    ids=["503", "429", "html", "not utf-8", "rate limit", "another id", "empty batch"],
)
async def test_a_passing_failure_is_retried(http_server, failure):
    seen = []

    async def handle(request):
        seen.append(await request.json())
        return failure(seen[-1]) if len(seen) < 3 else respond(seen[-1], result="0x1")

    async with http_server(handle) as url, Rpc(url) as rpc:
        assert await rpc.chain_id() == 1
    assert len(seen) == 3


async def test_a_lasting_failure_becomes_unavailable_after_the_retries(http_server):
    seen = []

    async def handle(request):
        seen.append(1)
        return web.Response(status=500)

    async with http_server(handle) as url, Rpc(url, retries=2) as rpc:
        with pytest.raises(Unavailable):
            await rpc.chain_id()
    assert len(seen) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 301])
async def test_a_refusal_is_not_retried_and_a_redirect_is_not_followed(http_server, status):
    seen = []

    async def handle(request):
        seen.append(request.path)
        return web.Response(status=status, headers={"location": "/elsewhere"})

    async with http_server(handle) as url, Rpc(url) as rpc:
        with pytest.raises(Unavailable, match=str(status)):
            await rpc.chain_id()
    assert seen == ["/"]


@pytest.mark.parametrize("method", ["anvil_mine", "evm_increaseTime", "eth_sendTransaction"])
async def test_what_must_not_happen_twice_is_sent_once(http_server, method):
    seen = []

    async def handle(request):
        seen.append(1)
        return web.Response(status=503)

    async with http_server(handle) as url, Rpc(url) as rpc:
        with pytest.raises(Unavailable):
            await rpc.call(method)
        with pytest.raises(Unavailable):
            await rpc.batch([("eth_chainId", []), (method, [])])
    assert len(seen) == 2


async def test_a_silent_provider_meets_the_deadline(http_server):
    silence = asyncio.Event()

    async def handle(request):
        await silence.wait()

    async with http_server(handle) as url, Rpc(url, timeout=0.1) as rpc:
        with pytest.raises(Unavailable, match="no answer in"):
            await rpc.chain_id()
        silence.set()


@pytest.mark.parametrize("result", [None, 7, "7", "0xzz", [], {}])
async def test_a_malformed_answer_is_the_providers_fault(http_server, result):
    async def handle(request):
        return respond(await request.json(), result=result)

    async with http_server(handle) as url, Rpc(url) as rpc:
        with pytest.raises(Unavailable, match="malformed"):
            await rpc.chain_id()
        with pytest.raises(Unavailable, match="malformed"):
            await rpc.fetch_proof(TARGET, [])


async def test_a_malformed_answer_in_a_batch_is_the_providers_fault(http_server):
    async def handle(request):
        good, bad = await request.json()
        return web.json_response([{"id": good["id"], "result": "0x1"}, {"id": bad["id"], "result": None}])

    async with http_server(handle) as url, Rpc(url) as rpc:
        calls = [("eth_chainId", []), ("eth_blockNumber", [])]
        assert await rpc.batch(calls) == ["0x1", None]
        for in_place in (False, True):
            with pytest.raises(Unavailable, match="malformed"):
                await rpc.batch(calls, parse=from_quantity, return_exceptions=in_place)


async def test_a_batch_is_parsed_around_its_errors(http_server):
    async def handle(request):
        good, bad = await request.json()
        return web.json_response([{"id": good["id"], "result": "0x7"}, {"id": bad["id"], "error": {"code": -32000}}])

    async with http_server(handle) as url, Rpc(url) as rpc:
        calls = [("eth_chainId", []), ("eth_blockNumber", [])]
        number, error = await rpc.batch(calls, parse=from_quantity, return_exceptions=True)
        assert number == 7
        assert isinstance(error, RpcError)
        with pytest.raises(RpcError):
            await rpc.batch(calls, parse=from_quantity)


def nest(depth, opening=b"[", closing=b"]"):
    return b'{"jsonrpc":"2.0","id":0,"result":' + opening * depth + b"1" + closing * depth + b"}"


@pytest.mark.parametrize("depth", [20, 1_000, 1_000_000])
@pytest.mark.parametrize(
    "body",
    [nest, lambda depth: nest(depth, b'{"data":', b"}"), lambda depth: nest(depth).replace(b"result", b"unknown")],
    ids=["arrays", "objects", "unknown field"],
)
async def test_an_answer_nested_too_deeply_is_the_providers_fault_and_not_asked_for_again(http_server, depth, body):
    """However large the stack is allowed to be: a library raises that limit beyond what the machine gives."""
    seen = []

    async def handle(request):
        seen.append(1)
        return web.Response(body=body(depth))

    async with http_server(handle) as url, Rpc(url) as rpc:
        with pytest.raises(Unavailable, match="nested"):
            await rpc.call("eth_chainId")
    assert len(seen) == 1


async def test_error_data_as_deep_as_can_be_decoded_is_no_crash(http_server):
    data = b'{"data":' * 6 + b"1" + b"}" * 6
    error = b'{"jsonrpc":"2.0","id":0,"error":{"code":3,"message":"revert","data":' + data + b"}}"

    async def handle(request):
        return web.Response(body=error)

    async with http_server(handle) as url, Rpc(url) as rpc:
        with pytest.raises(Rejected):
            await rpc.eth_call(TARGET, b"")


async def test_nesting_over_ipc_is_refused(tmp_path):
    async def handle(reader, writer):
        await reader.readuntil(b"}")
        writer.write(nest(100_000))
        await writer.drain()

    server = await asyncio.start_unix_server(handle, tmp_path / "ipc")
    async with server, Rpc(str(tmp_path / "ipc")) as rpc:
        with pytest.raises(Unavailable, match="nested"):
            await rpc.chain_id()


async def test_an_answer_beyond_bounds_is_refused(http_server, monkeypatch):
    monkeypatch.setattr("comity.chain.transport.MAX_ANSWER_BYTES", 1000)

    async def handle(request):
        return web.Response(body=b" " * 1001 + b"{}")

    async with http_server(handle) as url, Rpc(url) as rpc:
        with pytest.raises(Unavailable, match="too large"):
            await rpc.chain_id()


@pytest.mark.parametrize("result", ["0x" + "f" * 5000, "0x1" + "0" * 64, "0x" + "0" * 65])
async def test_a_quantity_beyond_256_bits_is_malformed(http_server, result):
    async def handle(request):
        return respond(await request.json(), result=result)

    async with http_server(handle) as url, Rpc(url) as rpc:
        with pytest.raises(Unavailable, match="malformed"):
            await rpc.chain_id()


async def test_a_batch_refused_as_a_whole_fails_each_call(http_server):
    async def handle(request):
        return web.json_response(
            {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "batch too large"}}
        )

    async with http_server(handle) as url, Rpc(url) as rpc:
        answers = await rpc.batch([("eth_chainId", [])] * 3, return_exceptions=True)
    assert [answer.code for answer in answers] == [-32600] * 3


async def test_batch_answers_are_matched_by_id(http_server):
    async def handle(request):
        asked = await request.json()
        answers = [{"jsonrpc": "2.0", "id": one["id"], "result": one["params"][0]} for one in asked]
        return web.json_response(answers[::-1])

    async with http_server(handle) as url, Rpc(url) as rpc:
        assert await rpc.batch([("echo", ["a"]), ("echo", ["b"]), ("echo", ["c"])]) == ["a", "b", "c"]


async def test_a_late_ipc_answer_is_never_taken_for_the_next_one(tmp_path):
    """The first request is answered only once a second one came over the same connection."""
    connections = []

    async def handle(reader, writer):
        connections.append(writer)
        first = json.loads(await reader.readuntil(b"}"))
        if len(connections) == 1:
            first = {"id": first["id"], "result": "0xbad"}
            await reader.read(1)
        writer.write(json.dumps({"id": first["id"], "result": first.get("result", "0x1")}).encode())
        await writer.drain()

    server = await asyncio.start_unix_server(handle, tmp_path / "ipc")
    async with server, Rpc(str(tmp_path / "ipc"), timeout=0.1) as rpc:
        with pytest.raises(Unavailable):
            await rpc.chain_id()
        assert await rpc.chain_id() == 1
    assert len(connections) == 2


CANARY = "c4nary-t0ken"


@pytest.mark.parametrize(
    "failure",
    [lambda: web.Response(status=401), lambda: web.Response(status=503), lambda: web.Response(body=b"[")],
    ids=["401", "503", "not json"],
)
async def test_no_error_shows_more_of_the_url_than_its_host(http_server, failure, capfd):
    async def handle(request):
        return failure()

    async with http_server(handle) as url:
        secret = f"{url.replace('://', f'://user:{CANARY}@')}/v3/{CANARY}?key={CANARY}"
        async with Rpc(secret, retries=1) as rpc:
            with pytest.raises(Unavailable) as refused:
                await rpc.chain_id()
            assert rpc.host in str(refused.value)
            assert CANARY not in repr(rpc)
    assert CANARY not in "".join(traceback.format_exception(refused.value))
    captured = capfd.readouterr()
    assert CANARY not in captured.out + captured.err


@pytest.mark.parametrize("scheme", ["http", "ws", "https", "wss"])
async def test_an_unreachable_provider_does_not_show_its_token(scheme):
    async with Rpc(f"{scheme}://127.0.0.1:1/{CANARY}", retries=0) as rpc:
        with pytest.raises(Unavailable) as refused:
            await rpc.chain_id()
    assert CANARY not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("url", ["", f"ftp://{CANARY}", f"http:///{CANARY}", f"http://host:port/{CANARY}", "ipc://"])
def test_an_unusable_url_is_a_configuration_error_that_does_not_show_it(url):
    with pytest.raises(ConfigError) as refused:
        Rpc(url)
    assert CANARY not in "".join(traceback.format_exception(refused.value, limit=0))
