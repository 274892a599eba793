"""One account that sends one transaction at a time and waits for it; agents use `chain.submitter` instead.

Trusts the quorum for nonces, fees and receipts: a liar could make it pay more, never sign for another chain or account.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from comity.chain.bindings import classify_revert
from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import FeeHistory, Rpc, RpcError, TransactionReceipt
from comity.chain.signer import TransactionSigner
from comity.core.errors import ComityError, NotReady, Rejected, Unavailable
from comity.core.types import Address, ChainId, Hash32

WAIT_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.1
_GAS_MARGIN: Final = 1.2
_SNAPSHOT_GAS: Final = 25_000
"""A dispatch or receipt that crosses a snapshot writes one slot more than the estimate saw."""
_MIN_PRIORITY_FEE: Final = 10**6
_FEE_BLOCKS: Final = 10


class Wallet:
    """A signer on one chain."""

    def __init__(self, chain: ChainId, quorum: ProviderQuorum, signer: TransactionSigner) -> None:
        self.chain = chain
        self._quorum = quorum
        self._signer = signer
        self._lock = asyncio.Lock()

    @property
    def account(self) -> Address:
        """The sender."""
        return self._signer.address

    async def fetch_nonce(self) -> int:
        """The account's next nonce. Raises: Unavailable."""
        return await self._quorum.vote(lambda provider: provider.transaction_count(self.account, "pending"))

    async def call(self, to: Address, data: bytes) -> bytes:
        """Read a view as this account. Raises: Unavailable, Rejected."""
        return await self._quorum.vote(lambda provider: provider.eth_call(to, data, sender=self.account))

    async def send(self, to: Address | None, data: bytes, *, value: int = 0) -> TransactionReceipt:
        """Send a transaction and wait until it is mined.

        Raises: Rejected with the decoded reason, before anything is signed when the estimate already reverts; Unavailable.
        """
        async with self._lock:
            raw = await self._build(to, data, value)
            transaction_hash = await self._broadcast(raw)
        receipt = await self._wait(transaction_hash)
        if receipt.status != 1:
            await self._explain(to, data, value, receipt)
        return receipt

    async def _build(self, to: Address | None, data: bytes, value: int) -> bytes:
        gas = await self._ask_any(lambda rpc: rpc.estimate_gas(to, data, sender=self.account, value=value))
        fees = await self._ask_any(lambda rpc: rpc.fee_history(_FEE_BLOCKS, "latest", [50.0]))
        priority = compute_priority_fee(fees)
        return self._signer.sign_transaction(
            {
                "chainId": self.chain,
                "nonce": await self.fetch_nonce(),
                "maxPriorityFeePerGas": priority,
                "maxFeePerGas": 2 * fees.base_fees[-1] + priority,
                "gas": int(gas * _GAS_MARGIN) + _SNAPSHOT_GAS,
                "to": to,
                "value": value,
                "data": data,
            }
        )
