"""One Anvil chain that mines each transaction at once, driven from its own unlocked account: for measurements only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from comity.chain.codec import from_hex
from comity.chain.rpc import Rpc, TransactionReceipt
from comity.core.errors import Rejected, Unavailable
from comity.core.types import Address, ChainId
from comity.devnet.anvil import Anvil

GAS_LIMIT = 30_000_000
_RECEIPT_POLLS = 4_000
# Whether a contract fits is a test's business; here a draft that does not can be measured.
_UNLIMITED = ("--code-size-limit", "49152")


class LocalChain:
    """A running chain and its first development account."""

    def __init__(self, chain: ChainId, rpc: Rpc, account: Address) -> None:
        self.chain = chain
        self.rpc = rpc
        self.account = account

    @classmethod
    @asynccontextmanager
    async def start(cls, chain: ChainId, timestamp: int) -> AsyncIterator[Self]:
        """Run the chain; it ends with the block."""
        async with Anvil(chain, timestamp=timestamp, extra_args=_UNLIMITED) as anvil, Rpc(anvil.url, timeout=60) as rpc:
            accounts = await rpc.call("eth_accounts")
            yield cls(chain, rpc, Address(from_hex(accounts[0], 20)))

    async def fetch_nonce(self) -> int:
        """Return the account's next nonce."""
        return await self.rpc.transaction_count(self.account)

    async def send(self, to: Address | None, data: bytes, *, value: int = 0) -> TransactionReceipt:
        """Send and wait for the receipt. Raises: Rejected."""
        transaction: dict[str, Any] = {"from": self.account, "data": data, "value": hex(value), "gas": hex(GAS_LIMIT)}
        if to is not None:
            transaction["to"] = to
        transaction_hash = from_hex(await self.rpc.call("eth_sendTransaction", transaction), 32)
        for _ in range(_RECEIPT_POLLS):
            receipt = await self.rpc.fetch_receipt(transaction_hash)
            if receipt is None:
                await asyncio.sleep(0.005)
                continue
            if receipt.status != 1:
                await self._explain(to, data, value)
            return receipt
        raise Unavailable("the transaction was never mined", transaction=transaction_hash)

    async def call(self, to: Address, data: bytes) -> bytes:
        """Read a view."""
        return await self.rpc.eth_call(to, data, sender=self.account)

    @asynccontextmanager
    async def rolled_back(self) -> AsyncIterator[None]:
        """Undo everything that happens inside."""
        snapshot = await self.rpc.call("evm_snapshot")
        try:
            yield
        finally:
            await self.rpc.call("evm_revert", snapshot)

    async def _explain(self, to: Address | None, data: bytes, value: int) -> None:
        if to is not None:
            await self.rpc.eth_call(to, data, sender=self.account, value=value, gas=GAS_LIMIT)
        raise Rejected("the transaction failed", reason="out of gas, or the creation reverted")
