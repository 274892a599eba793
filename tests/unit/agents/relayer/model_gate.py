"""A Gate in Python with its lane, for tests of the relayer without a chain: executes what it is sent.

It stands in for the Gate, for the account that sends to it and for the feed that tells what it decided.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from comity.agents.relayer.courier import Purpose
from comity.agents.relayer.gate import TIERED, Clock
from comity.chain.bindings import DELIVER
from comity.chain.rpc import RpcError
from comity.core.delivery import decode_body, is_envelope
from comity.core.envelope import REFUND_TO_SENDER, Envelope, Flags, decode
from comity.core.errors import Rejected, Unavailable
from comity.core.lane import compute_lane, compute_seed, compute_word, extend, pack_word
from comity.core.policy import Policy, is_satisfied
from comity.core.receipt import NO_RESULT, Receipt
from comity.core.types import (
    Accumulator,
    Address,
    Address32,
    ChainId,
    Direction,
    EnvelopeId,
    Gas,
    Hash32,
    Lane,
    Outcome,
    Seconds,
    Word,
    to_address32,
)
from comity.store.port import DispatchRecord, LaneRecord, ReceiptRecord, Store

ORIGIN, DESTINATION = ChainId(1), ChainId(2)
ROUTER, GATE = Address(b"\x11" * 20), Address(b"\x22" * 20)
LANE = compute_lane(ORIGIN, to_address32(ROUTER), DESTINATION, to_address32(GATE))
LANE_RECORD = LaneRecord(LANE, ORIGIN, to_address32(ROUTER), DESTINATION, to_address32(GATE))
RECEIVER, POISON, STRANGER = (Address(bytes([n]) * 20) for n in (0x33, 0x44, 0x55))
SENDER = to_address32(b"\x66" * 20)
FIRST, SECOND = Policy(frozenset({0})).word, Policy(frozenset({1})).word
BOTH = Policy(frozenset({0, 1})).word
GENESIS = Seconds(1_800_000_000)
HOUR = 3600
BLOCK_GAS = Gas(30_000_000)
NO_BLOCK = Hash32(bytes(32))


def build_envelope(nonce: int, **fields: Any) -> Envelope:
    """An envelope of the lane; `fields` replace its defaults."""
    defaults: dict[str, Any] = {
        "lane": LANE,
        "nonce": nonce,
        "flags": Flags.RETRYABLE,
        "sender": SENDER,
        "receiver": to_address32(RECEIVER),
        "deliver_before": Seconds(GENESIS + 30 * 24 * HOUR),
        "gas_limit": Gas(50_000),
        "policy": FIRST,
        "return_policy": FIRST,
        "refund_to": REFUND_TO_SENDER,
        "payload": nonce.to_bytes(32, "big"),
    }
    return Envelope(**(defaults | fields))


@dataclass
class Dispatches:
    """The origin's side of the lane."""

    store: Store
    rows: list[DispatchRecord] = field(default_factory=list)

    @property
    def accumulator(self) -> Accumulator:
        return self.rows[-1].accumulator if self.rows else compute_seed(LANE, Direction.DISPATCHES)

    def send(self, count: int = 1, **fields: Any) -> list[Envelope]:
        """Dispatch envelopes and index them."""
        sent = []
        rows = []
        for _ in range(count):
            envelope = build_envelope(len(self.rows) + 1, **fields)
            rows.append(self._append(envelope))
            sent.append(envelope)
        self.store.append_dispatches(LANE, rows)
        return sent

    def word(self, nonce: int) -> Word:
        """The lane's word after an entry."""
        return pack_word(nonce, self.rows[nonce - 1].accumulator)

    def _append(self, envelope: Envelope) -> DispatchRecord:
        row = DispatchRecord(
            lane=LANE,
            nonce=envelope.nonce,
            id=envelope.id,
            envelope=envelope.encode(),
            accumulator=extend(self.accumulator, envelope.id),
            block_number=envelope.nonce,
            block_hash=NO_BLOCK,
            tx_hash=NO_BLOCK,
            seen_at=Seconds(int(time.time())),
        )
        self.rows.append(row)
        return row


@dataclass
class Attestors:
    """A proof source for one verifier: proves the words that it was told to."""

    index: int
    words: list[Word] = field(default_factory=list)
    is_corrupt: bool = False

    async def fetch(self, lane: Lane, direction: Direction, min_nonce: int) -> list[tuple[Word, bytes]]:
        assert (lane, direction) == (LANE, Direction.DISPATCHES)
        words = [word for word in sorted(self.words) if word >> 216 >= min_nonce]
        return [(word, b"corrupt" if self.is_corrupt else build_proof(self.index, word)) for word in words]

    async def close(self) -> None:
        """Nothing to release."""


def build_proof(index: int, word: Word) -> bytes:
    """What the model's verifier at an index accepts."""
    return bytes([index]) + word.to_bytes(32, "big")


@dataclass
class ModelGate:
    """The Gate, the relayer's account and the feed of receipts in one."""

    store: Store
    now: Seconds = GENESIS
    block_gas: Gas = BLOCK_GAS
    policies: dict[Address, int] = field(default_factory=lambda: {RECEIVER: FIRST, POISON: FIRST})
    failing: set[Address] = field(default_factory=lambda: {POISON})
    dead_verifiers: set[int] = field(default_factory=set)
    words_of_verifiers: dict[int, str] = field(default_factory=dict)
    """What hostile verifiers revert with."""
    refused_gas: int = 1 << 24
    """The pool takes nothing that asks for more."""
    failing_when_sent: set[EnvelopeId] = field(default_factory=set)
    """Envelopes that make the pool refuse the transaction that carries them, whatever a rehearsal says."""
    is_paused: bool = False
    decided: dict[EnvelopeId, Outcome] = field(default_factory=dict)
    executions: Counter[EnvelopeId] = field(default_factory=Counter)
    runs: list[list[int]] = field(default_factory=list)
    """Nonces that each transaction decided."""
    carried: list[list[int]] = field(default_factory=list)
    """Nonces that each transaction carried."""
    mining: asyncio.Event = field(default_factory=asyncio.Event)
    rehearsals: int = 0
    receipts: list[ReceiptRecord] = field(default_factory=list)
    unseen: list[ReceiptRecord] = field(default_factory=list)
    is_feed_open: bool = True
    is_block_unseen: bool = False
    """The feed never comes to the blocks that it is asked to wait for."""
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    address: Address = GATE
    block_number: int = 1
    _carried: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mining.set()
        self.caught_up.set()

    # as GateView

    async def fetch_clock(self) -> Clock:
        return Clock(self.now, time.monotonic(), self.block_gas)

    async def fetch_block_number(self) -> int:
        return self.block_number

    async def fetch_policies(self, lane: Lane, receivers: Sequence[Address]) -> dict[Address, int]:
        return {receiver: self.policies.get(receiver, 0) for receiver in receivers}

    async def fetch_live(self, indices: Sequence[int]) -> int:
        return sum(1 << index for index in indices)

    def forget_verifiers(self) -> None:
        pass

    async def rehearse(self, calls: Sequence[tuple[bytes, Gas]], *, block: str = "latest") -> list[str | None]:
        self.rehearsals += len(calls)
        return [self._rehearse(data) for data, _ in calls]

    async def confirm(self, data: bytes, gas: Gas, *, block: str = "latest") -> str | None:
        return self._rehearse(data)

    def _rehearse(self, data: bytes) -> str | None:
        try:
            self._run(data)
        except Rejected as error:
            return error.reason
        return None

    # as Courier

    def load_unfinished(self) -> dict[Hash32, Purpose]:
        return {}

    async def send(self, to: Address, data: bytes, gas: Gas, purpose: Purpose) -> "ModelReceipt":
        await self.mining.wait()
        if gas > self.refused_gas:
            raise RpcError("transaction gas limit too high", code=-32000)
        if any(each.id in self.failing_when_sent for each in self._read_envelopes(data)):
            raise RpcError("internal error", code=-32603)
        self.block_number += 1
        self.execute(data)
        return ModelReceipt(self.block_number, 0)

    def _read_envelopes(self, data: bytes) -> list[Envelope]:
        if data[:4] != DELIVER:
            return []
        body = data[132 : 132 + int.from_bytes(data[100:132], "big")]
        delivery = decode_body(Accumulator(int.from_bytes(data[4:36], "big")), Address32(data[36:68]), body)
        return [decode(entry) for entry in delivery.entries if is_envelope(entry)]

    # as ChainFeed

    async def wait_for(self, block_number: int) -> None:
        if self.is_block_unseen:
            raise Unavailable("the block is not seen")
        if self.is_feed_open:
            self.store.append_receipts(LANE, self.unseen)
            self.unseen = []

    # the Gate

    def execute(self, data: bytes) -> None:
        """Do what a transaction does, whoever sent it. Raises: Rejected."""
        outcomes = self._run(data)
        self.carried.append(self._carried)
        self.runs.append([envelope.nonce for envelope, _ in outcomes])
        for envelope, outcome in outcomes:
            self.decided[envelope.id] = outcome
            self.executions[envelope.id] += outcome is Outcome.EXECUTED
            self._append(envelope.id, outcome)

    def _run(self, data: bytes) -> list[tuple[Envelope, Outcome]]:
        if data[:4] != DELIVER:
            return [(self._expire(data), Outcome.EXPIRED)]
        if self.is_paused:
            raise Rejected("reverted", reason="gate: lane paused")
        length = int.from_bytes(data[100:132], "big")
        before = Accumulator(int.from_bytes(data[4:36], "big"))
        delivery = decode_body(before, Address32(data[36:68]), data[132 : 132 + length])
        word = compute_word(before, delivery.first_nonce, _hash(delivery.entries), delivery.suffix)
        verified = 0
        for index, proof in delivery.proofs.items():
            if index in self.words_of_verifiers:
                raise Rejected("reverted", reason=self.words_of_verifiers[index])
            if index in self.dead_verifiers or proof != build_proof(index, word):
                raise Rejected("reverted", reason="gate: verifier refused")
            verified |= 1 << index
        outcomes: list[tuple[Envelope, Outcome]] = []
        cause = ""
        envelopes = [decode(entry) for entry in delivery.entries if is_envelope(entry)]
        self._carried = [envelope.nonce for envelope in envelopes]
        for envelope in envelopes:
            done = {done.nonce for done, outcome in outcomes}
            refusal = self._refuse(envelope, verified, done)
            if refusal is None:
                outcomes.append((envelope, Outcome.EXECUTED))
            elif isinstance(refusal, Outcome):
                outcomes.append((envelope, refusal))
            else:
                cause = refusal
        if not outcomes:
            raise Rejected("reverted", reason=cause)
        return outcomes

    def _refuse(self, envelope: Envelope, verified: int, done: set[int]) -> str | Outcome | None:
        receiver = Address(envelope.receiver[12:])
        if envelope.id in self.decided:
            return "gate: already delivered"
        if not is_satisfied(envelope.policy, verified):
            return "gate: policy not satisfied"
        if self.now < envelope.deliver_after:
            return "gate: too early"
        if self.now > envelope.deliver_before:
            return "gate: deadline passed"
        if envelope.depends_on and envelope.depends_on not in done:
            row = self.store.load_dispatch(LANE, envelope.depends_on)
            if row is None or row.dispatch.id not in self.decided:
                return "gate: dependency undecided"
        if not self.policies.get(receiver):
            return "gate: receiver has no policy"
        policy = self.policies[receiver]
        if not is_satisfied(FIRST if policy == TIERED else policy, verified):
            return "gate: policy not satisfied"
        if receiver in self.failing:
            return "gate: receiver failed" if envelope.flags & Flags.RETRYABLE else Outcome.FAILED
        return None

    def _expire(self, data: bytes) -> Envelope:
        length = int.from_bytes(data[68:100], "big")
        envelope = decode(data[100 : 100 + length])
        if self.now <= envelope.deliver_before:
            raise Rejected("reverted", reason="gate: deadline not passed")
        if envelope.id in self.decided:
            raise Rejected("reverted", reason="gate: already delivered")
        return envelope

    def _append(self, envelope_id: EnvelopeId, outcome: Outcome) -> None:
        last = self.receipts[-1] if self.receipts else None
        position = last.position + 1 if last else 1
        accumulator = last.accumulator if last else compute_seed(LANE, Direction.RECEIPTS)
        receipt = Receipt(
            origin=ORIGIN,
            outcome=outcome,
            position=position,
            envelope_id=envelope_id,
            beneficiary=Address(SENDER[12:]),
            result=NO_RESULT,
        )
        row = ReceiptRecord(
            lane=LANE,
            position=position,
            envelope_id=envelope_id,
            outcome=outcome,
            beneficiary=SENDER,
            result=NO_RESULT,
            accumulator=extend(accumulator, receipt.entry),
            block_number=self.block_number,
            block_hash=NO_BLOCK,
            tx_hash=NO_BLOCK,
        )
        self.receipts.append(row)
        self.unseen.append(row)


@dataclass(frozen=True)
class ModelReceipt:
    """Of a transaction that the model executed."""

    block_number: int
    gas_used: int


def _hash(entries: Sequence[bytes]) -> list[bytes]:
    return [decode(entry).id if is_envelope(entry) else entry for entry in entries]
