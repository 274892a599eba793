"""One Anvil chain for the contract tests: free gas, any sender, a clock that stands still, a reason for each revert."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path

import pytest

from comity.chain import codec
from comity.chain.bindings import encode_call
from comity.chain.rpc import Rpc, TransactionReceipt
from comity.compiler import load_artifact_of
from comity.core.errors import NotReady, Rejected
from comity.core.types import Address, ChainId
from comity.devnet import deploy
from comity.devnet.anvil import Anvil

GENESIS = 1_800_000_000
"""Unix seconds of every block until a test moves the clock."""

DAY = 86_400
POLLS = 5_000
GAS = 30_000_000
SUPPORT = Path(__file__).parents[1] / "contracts_support"


class Chain:
    """A running chain; `account` deploys, and owns what it deployed."""

    def __init__(self, chain: ChainId, rpc: Rpc) -> None:
        self.chain = chain
        self.rpc = rpc
        self.account = Address(b"\x0d" * 20)
        self._sent = count()

    @classmethod
    @asynccontextmanager
    async def start(cls, chain: ChainId) -> "AsyncIterator[Chain]":
        arguments = ("--base-fee", "0", "--auto-impersonate")
        async with Anvil(chain, timestamp=GENESIS, extra_args=arguments) as anvil, Rpc(anvil.url, timeout=60) as rpc:
            await rpc.call("anvil_setBlockTimestampInterval", 0)
            yield cls(chain, rpc)

    async def fetch_nonce(self) -> int:
        return await self.rpc.transaction_count(self.account)

    async def send(
        self, to: Address | None, data: bytes, *, value: int = 0, sender: Address | None = None, gas: int = GAS
    ) -> TransactionReceipt:
        """Send a transaction that must succeed. Raises: Rejected with its reason."""
        receipt = await self.attempt(to, data, value=value, sender=sender, gas=gas)
        if receipt.status != 1:
            await self.call(to, data, value=value, sender=sender, gas=gas)
            raise Rejected("the transaction failed", reason="only as a transaction")
        return receipt

    async def attempt(
        self, to: Address | None, data: bytes, *, value: int = 0, sender: Address | None = None, gas: int = GAS
    ) -> TransactionReceipt:
        """Send a transaction that may fail."""
        # After a rollback the node would take the same transaction for one that it has mined already.
        limit = gas - next(self._sent) if gas == GAS else gas
        transaction = {"from": sender or self.account, "data": data, "gas": hex(limit), "gasPrice": "0x0"}
        if to is not None:
            transaction["to"] = to
        if value:
            transaction["value"] = hex(value)
            await self.rpc.call("anvil_setBalance", sender or self.account, hex(value))
        sent = codec.from_hex(await self.rpc.call("eth_sendTransaction", transaction), 32)
        for attempt in range(POLLS):
            receipt = await self.rpc.fetch_receipt(sent)
            if receipt is not None and await self._is_canonical(receipt):
                return receipt
            await asyncio.sleep(0.002)
            if attempt % 250 == 249:
                # After a rollback the node can still know a transaction of this hash, and not mine it by itself.
                await self.rpc.call("evm_mine")
        raise AssertionError("the transaction was never mined")

    async def _is_canonical(self, receipt: TransactionReceipt) -> bool:
        """Whether the receipt is of a block that no rollback has undone."""
        try:
            return (await self.rpc.fetch_block(receipt.block_number)).hash == receipt.block_hash
        except NotReady:
            return False

    async def call(
        self, to: Address | None, data: bytes, *, value: int = 0, sender: Address | None = None, gas: int = GAS
    ) -> bytes:
        """Answer of a view, or what a transaction would return. Raises: Rejected with its reason."""
        return await self.rpc.eth_call(to, data, sender=sender or self.account, value=value, gas=gas)

    async def simulate(self, to: Address, data: bytes, *, sender: Address, gas: int) -> tuple[bool, list[codec.Log]]:
        """Whether a transaction with this gas would succeed, and its logs; nothing is changed."""
        call = {"from": sender, "to": to, "input": data, "gas": hex(gas), "gasPrice": "0x0"}
        [block] = await self.rpc.call("eth_simulateV1", {"blockStateCalls": [{"calls": [call]}]}, "latest")
        [outcome] = block["calls"]
        return outcome["status"] == "0x1", [codec.parse_log(log) for log in outcome["logs"]]

    async def act(
        self, to: Address, signature: str, *values: object, sender: Address | None = None
    ) -> TransactionReceipt:
        """Send a call by its signature. Raises: Rejected with its reason."""
        return await self.send(to, encode_call(signature, *values), sender=sender)

    async def read(self, to: Address, signature: str, *values: object) -> int:
        """One word of a view."""
        return int.from_bytes((await self.call(to, encode_call(signature, *values)))[:32], "big")

    async def create(self, name: str, **arguments: object) -> Address:
        """Deploy one of the contracts that exist for tests only."""
        return await deploy.create(self, load_artifact_of(SUPPORT / f"{name}.vy"), **arguments)

    async def warp(self, timestamp: int) -> None:
        """Move the clock, for the blocks from now on."""
        await self.rpc.call("evm_setNextBlockTimestamp", timestamp)
        await self.rpc.call("evm_mine")

    @asynccontextmanager
    async def as_fork(self, chain: ChainId) -> AsyncIterator[None]:
        """The same state under another chain id, as after a fork."""
        await self.rpc.call("anvil_setChainId", chain)
        try:
            yield
        finally:
            await self.rpc.call("anvil_setChainId", self.chain)

    @asynccontextmanager
    async def rolled_back(self) -> AsyncIterator[None]:
        """Undo whatever happens inside."""
        snapshot = await self.rpc.call("evm_snapshot")
        try:
            yield
        finally:
            await self.rpc.call("evm_revert", snapshot)


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """What happens inside must revert for exactly this reason; "" is a revert without one."""
    with pytest.raises(Rejected) as raised:
        yield
    assert raised.value.reason == reason, f"refused for {raised.value.reason!r}, not for {reason!r}"
