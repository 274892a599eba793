"""A chain whose words a test sets at will, and providers that lie at will."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import vyper
from aiohttp import web

from comity.agents.attestor import Duty
from comity.chain.bindings import encode_call
from comity.chain.rpc import Rpc
from comity.chain.signer import LocalSigner
from comity.core.attestation import AttestationSet
from comity.core.finality import FinalityRule
from comity.core.lane import compute_lane
from comity.core.types import Address, ChainId, Direction, Lane, Word, to_address32
from comity.store.port import AttestationRecord, LaneRecord, Store
from comity.tiers.attestation import AttestationVerifier

CHAIN_ID = ChainId(31337)
OTHER_CHAIN_ID = ChainId(31338)
DEPTH = 3
FINALITY = FinalityRule.from_depth(DEPTH)
SIGNERS = sorted((LocalSigner(bytes([index]) * 32) for index in (1, 2, 3)), key=lambda signer: signer.address)
SET = AttestationSet(1, 2, FINALITY.code, tuple(signer.address for signer in SIGNERS))
VERIFIER = AttestationVerifier(OTHER_CHAIN_ID, Address(b"\x0a" * 20))
KEEPER_SOURCE = Path(__file__).parents[3] / "contracts_support/word_keeper.vy"

Mutate = Callable[[str, list[Any], Any], Any]
"""Method, parameters and true result, to the result that is told."""

_others = itertools.count(1)


def word(nonce: int, accumulator: int = 7) -> Word:
    return Word(nonce << 216 | accumulator)


@dataclass
class FaultyProvider:
    """A JSON-RPC proxy that tells the truth until told otherwise."""

    upstream: str
    mutate: Mutate | None = None
    is_down: bool = False
    url: str = ""
    broken: Exception | None = None
    """A mistake of the test's own lie, which must not pass for a provider that is down."""

    async def answer(self, request: web.Request) -> web.Response:
        call = await request.json()
        if self.is_down:
            return web.Response(status=403)
        async with aiohttp.ClientSession() as session, session.post(self.upstream, json=call) as response:
            answer = await response.json()
        if self.mutate and "result" in answer:
            told = self._tell(call, answer["result"])
            answer = {"jsonrpc": "2.0", "id": call["id"]} | (
                {"error": {"code": -32000, "message": str(told)}} if isinstance(told, Exception) else {"result": told}
            )
        return web.json_response(answer)

    def _tell(self, call: dict[str, Any], result: Any) -> Any:
        assert self.mutate
        try:
            return self.mutate(call["method"], call["params"], result)
        except Exception as error:
            self.broken = error
            raise

    async def start(self) -> web.AppRunner:
        application = web.Application()
        application.router.add_post("/", self.answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner


@dataclass
class KeeperChain:
    """One Anvil with the word keeper on it."""

    rpc: Rpc
    url: str
    account: str
    keeper: Address

    async def send(self, to: Address, data: bytes) -> int:
        """Mine a transaction in a block of its own; return its height."""
        transaction = {"from": self.account, "to": to, "data": data, "gas": hex(1_000_000)}
        tx_hash = await self.rpc.call("eth_sendTransaction", transaction)
        return await self.wait_for(tx_hash)

    async def wait_for(self, tx_hash: str) -> int:
        while (receipt := await self.rpc.call("eth_getTransactionReceipt", tx_hash)) is None:
            pass
        assert receipt["status"] == "0x1"
        return int(receipt["blockNumber"], 16)

    async def set_word(self, lane: Lane, held: Word, *, keeper: Address | None = None) -> int:
        return await self.send(keeper or self.keeper, encode_call("set_word(bytes32,uint256)", lane, held))

    async def set_snapshot(self, lane: Lane, held: Word, *, nonce: int | None = None) -> int:
        at = held >> 216 if nonce is None else nonce
        return await self.send(self.keeper, encode_call("set_snapshot(bytes32,uint256,uint256)", lane, at, held))

    async def mine(self, blocks: int = 1) -> None:
        await self.rpc.call("anvil_mine", hex(blocks))

    async def finalize(self) -> None:
        """Make the block that is latest now the newest final one."""
        await self.mine(DEPTH)

    async def reorg(self, depth: int) -> None:
        """Replace the last blocks by empty ones."""
        await self.rpc.call("anvil_reorg", depth, [])

    async def deploy_keeper(self) -> Address:
        compiled = vyper.compile_code(KEEPER_SOURCE.read_text(), output_formats=["bytecode"])
        transaction = {"from": self.account, "data": compiled["bytecode"], "gas": hex(3_000_000)}
        tx_hash = await self.rpc.call("eth_sendTransaction", transaction)
        await self.wait_for(tx_hash)
        receipt = await self.rpc.call("eth_getTransactionReceipt", tx_hash)
        return Address(bytes.fromhex(receipt["contractAddress"][2:]))


def build_duty(chain: KeeperChain, direction: Direction = Direction.DISPATCHES) -> Duty:
    """A fresh lane, kept by the keeper as its Router, or as its Gate."""
    keeper, other = to_address32(chain.keeper), to_address32(b"\x0b" + next(_others).to_bytes(19))
    origin, router, destination, gate = CHAIN_ID, keeper, OTHER_CHAIN_ID, other
    if direction == Direction.RECEIPTS:
        origin, router, destination, gate = OTHER_CHAIN_ID, other, CHAIN_ID, keeper
    lane = compute_lane(origin, router, destination, gate)
    record = LaneRecord(lane, origin, router, destination, gate)
    return Duty("one->two", record, direction, VERIFIER, SET)


def load_signed(store: Store, duty: Duty) -> list[AttestationRecord]:
    """What this store would serve, newest first."""
    return store.load_attestations(duty.id, duty.direction, min_nonce=0, max_nonce=2**40 - 1, limit=1000)


def load_nonces(store: Store, duty: Duty) -> list[int]:
    return [record.attested.nonce for record in load_signed(store, duty)]
