"""Sends one chain's transactions so that a kill at any moment neither loses nor repeats one.

A transaction is stored, with its purpose, before its first byte leaves; a restart sends the same bytes again and waits
for them. Trusts the provider for availability: what was decided is learned from the Gate's own logs. Spec section 7.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from comity.agents.runner import failpoint
from comity.chain.codec import TransactionReceipt
from comity.chain.rpc import Rpc, RpcError
from comity.chain.signer import TransactionSigner
from comity.chain.submitter import Submitter
from comity.chain.transaction import compute_transaction_hash
from comity.core.errors import ConfigError, NotReady, Rejected
from comity.core.keccak import keccak
from comity.core.types import Address, ChainId, Gas, Hash32, Lane
from comity.proofs import rlp
from comity.store.port import Store, TransactionRecord, TransactionState

_CALLDATA_FIELD = 7  # of a type 2 transaction
_PATIENCE_POLLS = 60
"""How often a transaction of an earlier process is looked for before its envelopes are planned again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a transaction is for: some consecutive envelopes of a lane."""

    action: str
    lane: Lane
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.action} 0x{self.lane.hex()} {self.first} {self.last}"

    @classmethod
    def parse(cls, text: str) -> "Purpose":
        """Read what `str` wrote."""
        action, lane, first, last = text.split()
        return cls(action, Lane(bytes.fromhex(lane[2:])), int(first), int(last))


class Courier:
    """One account on one chain; any number of transactions in flight."""

    def __init__(
        self,
        store: Store,
        rpc: Rpc,
        signer: TransactionSigner,
        *,
        chain: ChainId,
        max_fee_per_gas_cap: int,
        poll_seconds: float = 1.0,
    ) -> None:
        self.chain = chain
        self.address = signer.address
        self._store = store
        self._rpc = rpc
        self._poll_seconds = poll_seconds
        self._purposes: dict[Hash32, str] = {}
        self._signed: dict[str, list[Hash32]] = {}
        self._submitter = Submitter(
            rpc,
            signer,
            chain_id=chain,
            max_fee_per_gas_cap=max_fee_per_gas_cap,
            poll_seconds=poll_seconds,
            on_signed=self._persist,
        )

    @property
    def in_flight(self) -> int:
        """Transactions signed and not yet mined."""
        return self._submitter.in_flight

    async def close(self) -> None:
        """Stop watching; what is in flight is found again by `resume`."""
        await self._submitter.close()

    async def send(self, to: Address, data: bytes, gas: Gas, purpose: Purpose) -> TransactionReceipt:
        """Send a call and return the receipt of its success.

        Raises:
            Rejected: it was mined and reverted; `block_number` is among the values.
            NotReady, Unavailable, ConfigError: it was not sent.
        """
        key, text = keccak(data), str(purpose)
        self._purposes[key] = text
        try:
            receipt = await self._submitter.submit(to, data, gas=gas)
            self._close_out(text, receipt.transaction_hash, receipt.block_number)
            failpoint("relayer.confirmed")
            return receipt
        except Rejected as error:
            self._close_out(text, error.values.get("transaction_hash"), error.values.get("block_number"))
            raise
        except (NotReady, ConfigError, RpcError):
            self._close_out(text, None, None)
            raise
        finally:
            self._purposes.pop(key, None)

    def load_unfinished(self) -> Mapping[Hash32, Purpose]:
        """Load what an earlier process signed and did not see mined."""
        return {
            record.hash: Purpose.parse(record.purpose)
            for record in self._store.load_open_transactions(self.chain, self.address)
        }

    async def resume(self, tx_hash: Hash32) -> int | None:
        """Send an earlier process's transaction again and wait for it; its block's number, or None when it is lost.

        Raises:
            Unavailable: the provider does not answer.
        """
        record = self._store.load_transaction(tx_hash)
        if record is None:
            return None
        for _ in range(_PATIENCE_POLLS):
            receipt = await self._rpc.fetch_receipt(tx_hash)
            if receipt is not None:
                self._store.set_transaction_state(tx_hash, TransactionState.FINAL, receipt.block_number)
                return receipt.block_number
            used = await self._rpc.transaction_count(self.address, "latest")
            if used > record.nonce and await self._rpc.fetch_receipt(tx_hash) is None:
                break
            await self._offer(record.raw)
            await asyncio.sleep(self._poll_seconds)
        log.info("transaction.lost", transaction=tx_hash, nonce=record.nonce)
        self._store.set_transaction_state(tx_hash, TransactionState.DROPPED)
        return None

    async def _offer(self, raw: bytes) -> None:
        try:
            await self._rpc.send_raw_transaction(raw)
        except (RpcError, Rejected):
            pass  # known, used or outbid: the polls tell which

    def _persist(self, nonce: int, raw: bytes) -> None:
        """Store a transaction before it is broadcast."""
        calldata = rlp.decode(raw[1:])[_CALLDATA_FIELD]
        purpose = self._purposes.get(keccak(calldata)) if isinstance(calldata, bytes) else None
        if purpose is None:
            return  # it only fills a gap between nonces
        tx_hash = compute_transaction_hash(raw)
        failpoint("relayer.signed")
        self._store.save_transaction(TransactionRecord(tx_hash, self.chain, self.address, nonce, raw, purpose))
        self._signed.setdefault(purpose, []).append(tx_hash)
        failpoint("relayer.persisted")

    def _close_out(self, purpose: str, mined: Hash32 | None, block_number: int | None) -> None:
        with self._store.transaction():
            for tx_hash in self._signed.pop(purpose, []):
                unmined = TransactionState.REPLACED if mined else TransactionState.DROPPED
                state = TransactionState.FINAL if tx_hash == mined else unmined
                self._store.set_transaction_state(tx_hash, state, block_number if tx_hash == mined else None)
