"""A provider that lies: a JSON-RPC proxy before an Anvil, whose answers pass through one lie after another.

Lies about content are functions of method, parameters and true result; lies of the transport make the whole answer.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web

from comity.core.keccak import keccak
from comity.proofs import rlp
from comity.proofs.header import compute_block_hash

Lie = Callable[[str, list[Any], Any], Any]
"""Method, parameters and true result, to the result that is told."""
Garble = Callable[[bytes], web.Response]
"""The true body, to what is sent instead."""

LIE_WORD: Final = 7 << 216 | 666


class ChaosProxy:
    """Tells the truth until a test sets `lie` or `garble`, or points it at another chain."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.lie: Lie | None = None
        self.garble: Garble | None = None
        self.url = ""
        self.told = 0
        """How many answers were not the truth."""
        self.broken: Exception | None = None
        """A mistake of the test's own lie, which must not pass for a provider that is down."""
        self._session: aiohttp.ClientSession | None = None

    def be_honest(self) -> None:
        self.lie = self.garble = None

    async def answer(self, request: web.Request) -> web.Response:
        assert self._session
        asked = msgspec.json.decode(await request.read())
        async with self._session.post(self.upstream, json=asked) as response:
            answered = msgspec.json.decode(await response.read())
        if isinstance(asked, list):
            body = msgspec.json.encode([self._tell(one, two) for one, two in zip(asked, answered, strict=True)])
        else:
            body = msgspec.json.encode(self._tell(asked, answered))
        if self.garble:
            self.told += 1
            return self.garble(body)
        return web.Response(body=body, content_type="application/json")

    def _tell(self, asked: dict[str, Any], answered: dict[str, Any]) -> dict[str, Any]:
        if self.lie is None or "result" not in answered:
            return answered
        truth = msgspec.json.encode(answered["result"])
        try:
            told = self.lie(asked["method"], asked["params"], answered["result"])
        except Exception as error:
            self.broken = error
            raise
        self.told += msgspec.json.encode(told) != truth
        return {**answered, "result": told}

    @asynccontextmanager
    async def served(self) -> AsyncIterator["ChaosProxy"]:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/", self.answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.05)
        async with aiohttp.ClientSession() as self._session:
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield self
            finally:
                await runner.cleanup()
        assert self.broken is None, self.broken


@asynccontextmanager
async def open_proxies(upstream: str, count: int = 3) -> AsyncIterator[list[ChaosProxy]]:
    """Several providers of one chain."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(ChaosProxy(upstream).served()) for _ in range(count)]


# ------------------------------------------------------------------------------------------------- lies about content


def drop_logs(method: str, params: list[Any], result: Any) -> Any:
    return [] if method == "eth_getLogs" else result


def duplicate_logs(method: str, params: list[Any], result: Any) -> Any:
    return [log for log in result for _ in range(3)] if method == "eth_getLogs" else result


def forge_logs(method: str, params: list[Any], result: Any) -> Any:
    """Other bytes in every log, under an id that fits them."""
    if method == "eth_getLogs":
        for log in result:
            forged = bytes.fromhex(log["data"][2:])[:-1] + b"\x66"
            log["data"] = "0x" + forged.hex()
            log["topics"] = [log["topics"][0], "0x" + keccak(forged).hex(), *log["topics"][2:]]
    return result


def invent_logs(method: str, params: list[Any], result: Any) -> Any:
    """One more envelope after the true ones, of the next nonce."""
    if method == "eth_getLogs" and result and len(result[-1]["topics"]) == 2 and len(result[-1]["data"]) > 500:
        forged = bytearray.fromhex(result[-1]["data"][2:])
        forged[6] += 1
        last = {**result[-1], "data": "0x" + forged.hex(), "logIndex": hex(int(result[-1]["logIndex"], 16) + 1)}
        last["topics"] = [last["topics"][0], "0x" + keccak(bytes(forged)).hex()]
        return [*result, last]
    return result


def forge_proofs(method: str, params: list[Any], result: Any) -> Any:
    """A well-formed trie that holds another word, under an account that is proved by a trie of its own."""
    if method == "eth_getProof":
        [slot, *_] = params[1]
        leaf = rlp.encode([b"\x20" + keccak(bytes.fromhex(slot[2:])), rlp.encode(rlp.from_int(LIE_WORD))])
        result["storageHash"] = "0x" + keccak(leaf).hex()
        result["storageProof"] = [
            {"key": key, "value": hex(LIE_WORD), "proof": ["0x" + leaf.hex()]} for key in params[1]
        ]
        account = [b"\x01", b"", keccak(leaf), bytes.fromhex(result["codeHash"][2:])]
        node = rlp.encode([b"\x20" + keccak(bytes.fromhex(params[0][2:])), rlp.encode(account)])
        result["accountProof"] = ["0x" + node.hex()]
    return result


def forge_blocks(method: str, params: list[Any], result: Any) -> Any:
    """Blocks that hash well and never were."""
    if method in ("eth_getBlockByNumber", "eth_getBlockByHash") and result:
        result["stateRoot"] = "0x" + "22" * 32
        result["hash"] = "0x" + compute_block_hash(result).hex()
    return result


def forge_state_roots(method: str, params: list[Any], result: Any) -> Any:
    """True hashes over false state roots."""
    if method in ("eth_getBlockByNumber", "eth_getBlockByHash") and result:
        result["stateRoot"] = "0x" + "22" * 32
    return result


def forge_calls(method: str, params: list[Any], result: Any) -> Any:
    """Views that answer something else."""
    return "0x" + LIE_WORD.to_bytes(32).hex() if method == "eth_call" and len(result) == 66 else result


def lag(method: str, params: list[Any], result: Any) -> Any:
    """A head that stopped at the first block."""
    return "0x1" if method == "eth_blockNumber" else result


def exaggerate(method: str, params: list[Any], result: Any) -> Any:
    """A head, and a final block, far beyond the true ones."""
    if method == "eth_blockNumber":
        return hex(int(result, 16) + 1000)
    if method == "eth_getBlockByNumber" and params[0] in ("finalized", "safe", "latest"):
        result["number"] = hex(int(result["number"], 16) + 1000)
        result["hash"] = "0x" + compute_block_hash(result).hex()
    return result


def forget(method: str, params: list[Any], result: Any) -> Any:
    """Nothing is known."""
    return None


def answer_nonsense(method: str, params: list[Any], result: Any) -> Any:
    return {"error": [method, {"0x": None}]}


CONTENT_LIES: Final[Sequence[Lie]] = (
    drop_logs,
    duplicate_logs,
    forge_logs,
    invent_logs,
    forge_proofs,
    forge_blocks,
    forge_state_roots,
    forge_calls,
    lag,
    exaggerate,
    forget,
    answer_nonsense,
)


# ----------------------------------------------------------------------------------------------- lies of the transport


def answer_429(body: bytes) -> web.Response:
    return web.Response(status=429, text="slow down")


def answer_503(body: bytes) -> web.Response:
    return web.Response(status=503, text="<html>try later</html>")


def answer_403(body: bytes) -> web.Response:
    return web.Response(status=403, text="your plan has ended")


def truncate(body: bytes) -> web.Response:
    return web.Response(body=body[: len(body) * 2 // 3], content_type="application/json")


def repeat(body: bytes) -> web.Response:
    """Every answer twice."""
    decoded = msgspec.json.decode(body)
    answers = decoded if isinstance(decoded, list) else [decoded]
    return web.Response(body=msgspec.json.encode(answers * 2), content_type="application/json")


def reorder(body: bytes) -> web.Response:
    """A batch backwards, which is allowed."""
    decoded = msgspec.json.decode(body)
    told = decoded[::-1] if isinstance(decoded, list) else decoded
    return web.Response(body=msgspec.json.encode(told), content_type="application/json")


TRANSPORT_LIES: Final[Sequence[Garble]] = (answer_429, answer_503, answer_403, truncate, repeat, reorder)
