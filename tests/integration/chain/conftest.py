"""Chains, and providers that fail, lag or lie: a proxy before Anvil whose answers a test may change."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import stamina
from aiohttp import ClientSession, web

from comity.chain.rpc import Rpc
from comity.devnet.anvil import Anvil

# Emits one log, topic 1, whose data is the block's timestamp.
EMITTER_CODE = bytes.fromhex("426000526001602060" + "00a100")
EMITTER = bytes(19) + b"\x77"
TIMESTAMP = 1_700_000_000

Alter = Callable[[str, list[Any], Any], Any]


class Chain:
    """An Anvil chain with a contract that emits a log whenever it is called."""

    def __init__(self, anvil: Anvil, rpc: Rpc) -> None:
        self.anvil, self.rpc, self.url = anvil, rpc, anvil.url
        self.accounts: list[str] = []

    async def prepare(self) -> None:
        self.accounts = await self.rpc.call("eth_accounts")
        await self.rpc.call("anvil_setCode", EMITTER, EMITTER_CODE)

    async def mine(self, blocks: int = 1) -> None:
        await self.rpc.call("anvil_mine", blocks)

    async def emit(self) -> int:
        """Emit one log; the number of its block."""
        sent = await self.rpc.call("eth_sendTransaction", {"from": self.accounts[0], "to": EMITTER})
        # Anvil may answer before the block exists.
        while (receipt := await self.rpc.fetch_receipt(bytes.fromhex(sent[2:]))) is None:
            await asyncio.sleep(0.005)
        return receipt.block_number

    async def reorg(self, depth: int) -> None:
        """Replace the newest blocks by as many others, which are empty."""
        await self.rpc.call("anvil_reorg", depth, [])

    async def rollback(self, depth: int) -> None:
        await self.rpc.call("anvil_rollback", depth)


class Proxy:
    """A provider whose answers pass through `alter(method, params, answer)`; it may raise a `web.HTTPException`."""

    def __init__(self, upstream: str) -> None:
        self.alter: Alter = lambda method, params, answer: answer
        self.methods: list[str] = []
        self.requests = 0
        self.url = ""
        self._upstream = upstream

    async def handle(self, request: web.Request) -> web.Response:
        self.requests += 1
        asked = await request.json()
        async with ClientSession() as session, session.post(self._upstream, json=asked) as response:
            answered = await response.json()
        pairs = list(zip(asked, answered, strict=True)) if isinstance(asked, list) else [(asked, answered)]
        self.methods += [question["method"] for question, _ in pairs]
        altered = []
        for question, answer in pairs:
            result = self.alter(question["method"], question["params"], answer.get("result"))
            if isinstance(result, RpcFailure):
                altered.append({"jsonrpc": "2.0", "id": question["id"], "error": result.error})
            elif result is answer.get("result"):
                altered.append(answer)
            else:
                altered.append({"jsonrpc": "2.0", "id": question["id"], "result": result})
        return web.json_response(altered if isinstance(asked, list) else altered[0])


class RpcFailure:
    """Returned by `alter`: a JSON-RPC error instead of a result."""

    def __init__(self, code: int, message: str) -> None:
        self.error = {"code": code, "message": message}


@asynccontextmanager
async def serve(handler: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    """An HTTP server on a free loopback port; its URL."""
    application = web.Application()
    application.router.add_post("/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _no_backoff():
    """Retry at once; the number of attempts stays."""
    stamina.set_testing(True, attempts=100, cap=True)
    yield
    stamina.set_testing(False)


@pytest.fixture
async def chain():
    async with Anvil(31337, timestamp=TIMESTAMP) as anvil, Rpc(anvil.url) as rpc:
        prepared = Chain(anvil, rpc)
        await prepared.prepare()
        yield prepared


@pytest.fixture
async def proxy(chain):
    made = Proxy(chain.url)
    async with serve(made.handle) as made.url:
        yield made


@pytest.fixture
async def proxies(chain):
    """Three providers of one chain."""
    made = [Proxy(chain.url) for _ in range(3)]
    async with AsyncExitStack() as stack:
        for one in made:
            one.url = await stack.enter_async_context(serve(one.handle))
        yield made


@pytest.fixture
def rpc_failure():
    return RpcFailure


@pytest.fixture
def http_server():
    return serve


@pytest.fixture
def emitter():
    return EMITTER
