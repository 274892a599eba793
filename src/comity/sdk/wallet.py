"""One account on one chain, for people's commands: what it reads needs a quorum, what it sends is mined on return.

Trusts one provider to take transactions and to name fees within the cap; see `chain.submitter`.
"""

from typing import Final

from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import TransactionReceipt
from comity.chain.signer import TransactionSigner
from comity.chain.submitter import Submitter
from comity.core.types import Address, ChainId

MAX_FEE_PER_GAS: Final = 500 * 10**9
"""Wei per gas; dearer than this, a command waits rather than pays."""

_POLL_SECONDS: Final = 0.2
_GAS_MARGIN_PERCENT: Final = 120
_SNAPSHOT_GAS: Final = 25_000
"""What crosses a snapshot writes a slot that the estimate may not have seen."""


class Wallet:
    """A signer on one chain; `close` it when done."""

    def __init__(self, chain: ChainId, quorum: ProviderQuorum, signer: TransactionSigner) -> None:
        self.account: Address = signer.address
        self._quorum = quorum
        self._submitter = Submitter(
            quorum.providers[0],
            signer,
            chain_id=chain,
            max_fee_per_gas_cap=MAX_FEE_PER_GAS,
            poll_seconds=_POLL_SECONDS,
        )

    async def close(self) -> None:
        """Stop watching transactions."""
        await self._submitter.close()

    async def fetch_nonce(self) -> int:
        """The account's next nonce. Raises: Unavailable."""
        return await self._quorum.vote(lambda rpc: rpc.transaction_count(self.account, "pending"))

    async def call(self, to: Address, data: bytes) -> bytes:
        """Read a view as this account. Raises: Unavailable, Rejected."""
        return await self._quorum.vote(lambda rpc: rpc.eth_call(to, data, sender=self.account))

    async def send(self, to: Address | None, data: bytes, *, value: int = 0) -> TransactionReceipt:
        """Send a transaction and wait until it is in a block.

        Raises: Rejected with the decoded reason, and nothing is signed when the estimate already reverts; Unavailable.
        """
        estimate = await self._quorum.providers[0].estimate_gas(to, data, sender=self.account, value=value)
        gas = estimate * _GAS_MARGIN_PERCENT // 100 + _SNAPSHOT_GAS
        return await self._submitter.submit(to, data, value, gas)
