"""The courier writes before it sends, and a restart sends the very same bytes again."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from model_gate import DESTINATION, GATE, LANE

from comity.agents.relayer.courier import Courier, Purpose
from comity.chain.codec import FeeHistory, TransactionReceipt
from comity.chain.signer import LocalSigner
from comity.chain.transaction import compute_transaction_hash
from comity.core.errors import NotReady, Rejected
from comity.core.types import Gas, Hash32
from comity.proofs import rlp
from comity.store.port import Store, TransactionState

SIGNER = LocalSigner(b"\x01" * 32)
PURPOSE = Purpose("deliver", LANE, 3, 7)
GAS = Gas(100_000)
NO_HASH = Hash32(bytes(32))


class InstantChain:
    """Mines every transaction at once, and remembers what was stored when it arrived."""

    host = "model"

    def __init__(self, store: Store) -> None:
        self.store = store
        self.status = 1
        self.is_mining = True
        self.base_fee = 10
        self.arrived: list[bytes] = []
        self.arrival = asyncio.Event()
        self.mined: dict[bytes, TransactionReceipt] = {}
        self.stored_on_arrival: list[str | None] = []

    async def fee_history(self, *_: Any) -> FeeHistory:
        return FeeHistory(1, (self.base_fee, self.base_fee), ((1,),))

    async def transaction_count(self, address: bytes, block: str = "latest") -> int:
        nonces = [int.from_bytes(rlp.decode(raw[1:])[1], "big") for raw in self._confirmed()]  # type: ignore[arg-type, index]
        return max(nonces, default=-1) + 1

    async def send_raw_transaction(self, raw: bytes) -> Hash32:
        tx_hash = compute_transaction_hash(raw)
        record = self.store.load_transaction(tx_hash)
        self.stored_on_arrival.append(record and record.purpose)
        self.arrived.append(raw)
        self.arrival.set()
        if self.is_mining:
            self.mine(tx_hash)
        return tx_hash

    def mine(self, tx_hash: bytes) -> None:
        self.mined[tx_hash] = TransactionReceipt(
            status=self.status,
            gas_used=21_000,
            block_number=9,
            block_hash=NO_HASH,
            logs=(),
            transaction_hash=Hash32(tx_hash),
            effective_gas_price=1,
        )

    async def fetch_receipt(self, tx_hash: bytes) -> TransactionReceipt | None:
        return self.mined.get(tx_hash)

    async def batch(self, calls: Sequence[tuple[str, Any]]) -> list[Any]:
        return [self.mined.get(params[0]) and {} for _, params in calls]

    async def call(self, method: str, *_: Any) -> Any:
        return {} if method == "eth_getTransactionByHash" else None

    async def eth_call(self, *_: Any, **__: Any) -> bytes:
        raise Rejected("reverted", reason="gate: already delivered")

    def _confirmed(self) -> list[bytes]:
        return [raw for raw in self.arrived if compute_transaction_hash(raw) in self.mined]


@pytest.fixture
def chain(store: Store) -> InstantChain:
    return InstantChain(store)


def build_courier(store: Store, chain: InstantChain) -> Courier:
    return Courier(
        store,
        chain,  # type: ignore[arg-type]
        SIGNER,
        chain=DESTINATION,
        max_fee_per_gas_cap=1000,
        poll_seconds=0.001,
    )


async def test_a_transaction_is_stored_with_its_purpose_before_it_leaves(store: Store, chain: InstantChain) -> None:
    courier = build_courier(store, chain)
    receipt = await courier.send(GATE, b"run", GAS, PURPOSE)
    assert chain.stored_on_arrival == [str(PURPOSE)]
    record = store.load_transaction(receipt.transaction_hash)
    assert record is not None
    assert (record.state, record.block_number) == (TransactionState.FINAL, 9)
    assert courier.load_unfinished() == {}
    await courier.close()


async def test_a_mined_revert_is_told_with_its_reason_and_block(store: Store, chain: InstantChain) -> None:
    chain.status = 0
    courier = build_courier(store, chain)
    with pytest.raises(Rejected) as caught:
        await courier.send(GATE, b"run", GAS, PURPOSE)
    assert caught.value.reason == "gate: already delivered"
    assert caught.value.values["block_number"] == 9
    assert courier.load_unfinished() == {}
    await courier.close()


async def test_a_restart_sends_the_same_bytes_and_learns_their_block(store: Store, chain: InstantChain) -> None:
    chain.is_mining = False
    courier = build_courier(store, chain)
    sending = asyncio.create_task(courier.send(GATE, b"run", GAS, PURPOSE))
    await chain.arrival.wait()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await courier.close()
    [raw] = set(chain.arrived)

    after = build_courier(store, chain)
    [(tx_hash, purpose)] = after.load_unfinished().items()
    assert purpose == PURPOSE
    chain.is_mining = True
    assert await after.resume(tx_hash) == 9
    assert set(chain.arrived) == {raw}
    assert after.load_unfinished() == {}


async def test_a_transaction_whose_nonce_another_took_is_lost(store: Store, chain: InstantChain) -> None:
    chain.is_mining = False
    courier = build_courier(store, chain)
    sending = asyncio.create_task(courier.send(GATE, b"run", GAS, PURPOSE))
    await chain.arrival.wait()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await courier.close()

    foreign = InstantChain(store)
    other = build_courier(store, foreign)
    await other.send(GATE, b"other run", GAS, Purpose("deliver", LANE, 8, 9))
    await other.close()
    chain.arrived += foreign.arrived
    chain.mined |= foreign.mined
    after = build_courier(store, chain)
    [tx_hash] = after.load_unfinished()
    arrived = len(chain.arrived)
    assert await after.resume(tx_hash) is None
    assert len(chain.arrived) == arrived, "it is not offered in vain"
    assert after.load_unfinished() == {}


async def test_fees_above_the_cap_leave_nothing_behind(store: Store, chain: InstantChain) -> None:
    chain.base_fee = 10_000
    courier = build_courier(store, chain)
    with pytest.raises(NotReady):
        await courier.send(GATE, b"run", GAS, PURPOSE)
    assert chain.arrived == []
    assert courier.load_unfinished() == {}
    await courier.close()


def test_a_purpose_reads_back() -> None:
    assert Purpose.parse(str(PURPOSE)) == PURPOSE
