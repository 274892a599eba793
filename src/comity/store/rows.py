"""Records of the port to rows of the schema and back; numbers above 63 bits become big-endian blobs.

Trusts the schema. Spec: spec/lane.md. Twins: port.py, schema.sql.
"""

from typing import Any, Final

from sqlalchemy import Row

from comity.core.types import (
    Accumulator,
    Address,
    Address32,
    ChainId,
    Direction,
    EnvelopeId,
    Hash32,
    Lane,
    Outcome,
    Seconds,
    Word,
)
from comity.store.port import (
    AttestationRecord,
    AttestedWord,
    DeliveryRecord,
    DeliveryState,
    DispatchRecord,
    HaltRecord,
    LaneRecord,
    ReceiptRecord,
    TransactionRecord,
    TransactionState,
)

ACCUMULATOR_BYTES: Final = 27
WORD_BYTES: Final = 32

Values = dict[str, Any]


def to_blob(number: int) -> bytes:
    """Write a uint256."""
    return number.to_bytes(WORD_BYTES)


def from_lane(record: LaneRecord) -> Values:
    return {
        "lane": record.lane,
        "origin": to_blob(record.origin),
        "router": record.router,
        "destination": to_blob(record.destination),
        "gate": record.gate,
    }


def to_lane(row: Row[Any]) -> LaneRecord:
    return LaneRecord(
        Lane(row.lane),
        ChainId(int.from_bytes(row.origin)),
        Address32(row.router),
        ChainId(int.from_bytes(row.destination)),
        Address32(row.gate),
    )


def from_dispatch(record: DispatchRecord) -> Values:
    return {
        "lane": record.lane,
        "nonce": record.nonce,
        "id": record.id,
        "envelope": record.envelope,
        "accumulator": record.accumulator.to_bytes(ACCUMULATOR_BYTES),
        "block_number": record.block_number,
        "block_hash": record.block_hash,
        "tx_hash": record.tx_hash,
        "seen_at": record.seen_at,
    }


def to_dispatch(row: Row[Any]) -> DispatchRecord:
    return DispatchRecord(
        lane=Lane(row.lane),
        nonce=row.nonce,
        id=EnvelopeId(row.id),
        envelope=row.envelope,
        accumulator=Accumulator(int.from_bytes(row.accumulator)),
        block_number=row.block_number,
        block_hash=Hash32(row.block_hash),
        tx_hash=Hash32(row.tx_hash),
        seen_at=Seconds(row.seen_at),
    )


def to_delivery(row: Row[Any]) -> DeliveryRecord:
    return DeliveryRecord(
        dispatch=to_dispatch(row),
        state=DeliveryState(row.state),
        outcome=None if row.outcome is None else Outcome(row.outcome),
        cause=row.cause,
        attempts=row.attempts,
        next_attempt_at=Seconds(row.next_attempt_at),
    )


def from_receipt(record: ReceiptRecord) -> Values:
    return {
        "lane": record.lane,
        "position": record.position,
        "envelope_id": record.envelope_id,
        "outcome": int(record.outcome),
        "beneficiary": record.beneficiary,
        "result": record.result,
        "accumulator": record.accumulator.to_bytes(ACCUMULATOR_BYTES),
        "block_number": record.block_number,
        "block_hash": record.block_hash,
        "tx_hash": record.tx_hash,
    }


def to_receipt(row: Row[Any]) -> ReceiptRecord:
    return ReceiptRecord(
        lane=Lane(row.lane),
        position=row.position,
        envelope_id=EnvelopeId(row.envelope_id),
        outcome=Outcome(row.outcome),
        beneficiary=Address32(row.beneficiary),
        result=Hash32(row.result),
        accumulator=Accumulator(int.from_bytes(row.accumulator)),
        block_number=row.block_number,
        block_hash=Hash32(row.block_hash),
        tx_hash=Hash32(row.tx_hash),
    )


def from_transaction(record: TransactionRecord) -> Values:
    return {
        "hash": record.hash,
        "chain": to_blob(record.chain),
        "sender": record.sender,
        "nonce": record.nonce,
        "raw": record.raw,
        "purpose": record.purpose,
        "state": int(record.state),
        "block_number": record.block_number,
    }


def to_transaction(row: Row[Any]) -> TransactionRecord:
    return TransactionRecord(
        hash=Hash32(row.hash),
        chain=ChainId(int.from_bytes(row.chain)),
        sender=Address(row.sender),
        nonce=row.nonce,
        raw=row.raw,
        purpose=row.purpose,
        state=TransactionState(row.state),
        block_number=row.block_number,
    )


def from_attested(attested: AttestedWord) -> Values:
    return {
        "lane": attested.lane,
        "direction": int(attested.direction),
        "nonce": attested.nonce,
        "word": to_blob(attested.word),
        "height": attested.height,
        "block_hash": attested.block_hash,
        "snapshot": int(attested.snapshot),
    }


def to_attested(row: Row[Any]) -> AttestedWord:
    return AttestedWord(
        lane=Lane(row.lane),
        direction=Direction(row.direction),
        nonce=row.nonce,
        word=Word(int.from_bytes(row.word)),
        height=row.height,
        block_hash=Hash32(row.block_hash),
        snapshot=bool(row.snapshot),
    )


def from_attestation(record: AttestationRecord) -> Values:
    return {
        "lane": record.attested.lane,
        "direction": int(record.attested.direction),
        "nonce": record.attested.nonce,
        "verify_chain": to_blob(record.verify_chain),
        "verifier": record.verifier,
        "set_id": to_blob(record.set_id),
        "epoch": record.epoch,
        "signer": record.signer,
        "signature": record.signature,
    }


def to_attestation(row: Row[Any]) -> AttestationRecord:
    return AttestationRecord(
        attested=to_attested(row),
        verify_chain=ChainId(int.from_bytes(row.verify_chain)),
        verifier=Address(row.verifier),
        set_id=int.from_bytes(row.set_id),
        epoch=row.epoch,
        signer=Address(row.signer),
        signature=row.signature,
    )


def from_halt(record: HaltRecord) -> Values:
    return {
        "lane": record.lane,
        "direction": int(record.direction),
        "reason": record.reason,
        "evidence": record.evidence,
        "halted_at": record.halted_at,
    }


def to_halt(row: Row[Any]) -> HaltRecord:
    return HaltRecord(Lane(row.lane), Direction(row.direction), row.reason, row.evidence, Seconds(row.halted_at))
