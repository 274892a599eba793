"""Logs as Router and Gate emit them, and the words that they add up to."""

from typing import Any

from model_gate import GATE, LANE, NO_BLOCK, ORIGIN, ROUTER, SENDER

from comity.chain.bindings import DECIDED, DISPATCHED
from comity.chain.codec import Log
from comity.core.envelope import Envelope
from comity.core.lane import compute_seed, extend, pack_word
from comity.core.receipt import NO_RESULT, Receipt
from comity.core.types import Address, Direction, EnvelopeId, Hash32, Outcome, Word


def build_log(address: Address, topics: list[bytes], data: bytes, *, block: int = 1, index: int = 0) -> Log:
    return Log(
        address=address,
        topics=tuple(Hash32(topic) for topic in topics),
        data=data,
        block_number=block,
        block_hash=NO_BLOCK,
        transaction_hash=Hash32(block.to_bytes(32, "big")),
        transaction_index=0,
        log_index=index,
    )


def build_dispatched(envelope: Envelope, *, address: Address = ROUTER, **fields: Any) -> Log:
    return build_log(address, [DISPATCHED, envelope.id], envelope.encode(), block=envelope.nonce, **fields)


def build_decided(position: int, envelope_id: EnvelopeId, outcome: Outcome, *, origin: int = ORIGIN) -> Log:
    receipt = origin << 208 | int.from_bytes(SENDER, "big") << 48 | position << 8 | outcome
    return build_log(GATE, [DECIDED, envelope_id], receipt.to_bytes(32, "big"), block=position, index=1)


def compute_dispatch_word(envelopes: list[Envelope]) -> Word:
    accumulator = compute_seed(LANE, Direction.DISPATCHES)
    for envelope in envelopes:
        accumulator = extend(accumulator, envelope.id)
    return pack_word(len(envelopes), accumulator)


def build_receipt(position: int, envelope_id: EnvelopeId, outcome: Outcome, result: Hash32 = NO_RESULT) -> Receipt:
    return Receipt(
        origin=ORIGIN,
        outcome=outcome,
        position=position,
        envelope_id=envelope_id,
        beneficiary=Address(SENDER[12:]),
        result=result,
    )
