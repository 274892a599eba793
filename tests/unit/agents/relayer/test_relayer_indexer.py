"""What becomes of logs: each once, in order, from the right contract, and never against the contract's own word."""

import random

import pytest
from eth_abi.abi import encode as abi_encode
from hypothesis import given, settings
from hypothesis import strategies as st
from model_gate import GATE, LANE, LANE_RECORD, ORIGIN, ROUTER, build_envelope
from model_logs import build_decided, build_dispatched, build_log, build_receipt, compute_dispatch_word

from comity.agents.relayer.indexer import DispatchIndex, LogsMissing, ReceiptIndex, WordMismatch, verify_word
from comity.chain.bindings import DISPATCHED, FAILED, REPLIED
from comity.core.errors import Invalid
from comity.core.lane import compute_seed, extend, pack_word
from comity.core.receipt import compute_result
from comity.core.types import Direction, EnvelopeId, Lane, Outcome, Seconds, Word
from comity.store.port import DeliveryState, Store
from comity.store.sqlite import SqliteStore

NOW = Seconds(1000)


@pytest.fixture
def dispatch_index(store: Store) -> DispatchIndex:
    return DispatchIndex(store, LANE_RECORD)


@pytest.fixture
def receipt_index(store: Store) -> ReceiptIndex:
    return ReceiptIndex(store, LANE_RECORD)


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_every_log_five_times_in_any_order_is_indexed_once(rng: random.Random, count: int) -> None:
    store = SqliteStore(None)
    index = DispatchIndex(store, LANE_RECORD)
    envelopes = [build_envelope(nonce) for nonce in range(1, count + 1)]
    logs = [build_dispatched(envelope) for envelope in envelopes] * 5
    rng.shuffle(logs)
    assert index.index(logs, NOW) == count
    assert index.index(logs, NOW) == 0
    assert index.word == compute_dispatch_word(envelopes)
    assert DispatchIndex(store, LANE_RECORD).word == index.word, "a restart goes on from the store"
    store.close()


def test_the_same_event_from_another_contract_is_ignored(dispatch_index: DispatchIndex) -> None:
    forged = build_dispatched(build_envelope(1), address=GATE)
    assert dispatch_index.index([forged], NOW) == 0
    assert dispatch_index.word >> 216 == 0


def test_an_envelope_of_another_lane_is_ignored(dispatch_index: DispatchIndex) -> None:
    other = build_envelope(1, lane=Lane(b"\x09" * 32))
    assert dispatch_index.index([build_dispatched(other)], NOW) == 0


def test_an_envelope_that_is_not_its_ids_is_refused(dispatch_index: DispatchIndex, store: Store) -> None:
    log = build_log(ROUTER, [DISPATCHED, b"\x01" * 32], build_envelope(1).encode())
    with pytest.raises(Invalid, match="id"):
        dispatch_index.index([log], NOW)
    assert store.load_dispatch_head(LANE) == 0


def test_a_missing_nonce_is_asked_for_again_and_nothing_is_stored(dispatch_index: DispatchIndex, store: Store) -> None:
    logs = [build_dispatched(build_envelope(nonce)) for nonce in (1, 2, 4)]
    with pytest.raises(LogsMissing):
        dispatch_index.index(logs, NOW)
    assert store.load_dispatch_head(LANE) == 0
    assert dispatch_index.index([*logs, build_dispatched(build_envelope(3))], NOW) == 4


def test_a_reorg_replaces_the_entries_above_it(dispatch_index: DispatchIndex, store: Store) -> None:
    first = [build_envelope(nonce) for nonce in (1, 2, 3)]
    dispatch_index.index([build_dispatched(envelope) for envelope in first], NOW)
    assert dispatch_index.revert(1) == 2
    other = [build_envelope(nonce, payload=b"other") for nonce in (2, 3, 4)]
    assert dispatch_index.index([build_dispatched(envelope) for envelope in other], NOW) == 3
    assert dispatch_index.word == compute_dispatch_word([first[0], *other])


def test_the_contracts_word_is_what_the_logs_add_up_to(dispatch_index: DispatchIndex) -> None:
    verify_word(dispatch_index, Word(0))
    envelopes = [build_envelope(1), build_envelope(2)]
    dispatch_index.index([build_dispatched(envelopes[0])], NOW)
    with pytest.raises(LogsMissing):
        verify_word(dispatch_index, compute_dispatch_word(envelopes))
    with pytest.raises(WordMismatch):
        verify_word(dispatch_index, Word(dispatch_index.word ^ 1))
    with pytest.raises(WordMismatch):
        verify_word(dispatch_index, Word(0))
    verify_word(dispatch_index, compute_dispatch_word(envelopes[:1]))


def test_outcomes_are_learned_whoever_delivered(
    dispatch_index: DispatchIndex, receipt_index: ReceiptIndex, store: Store
) -> None:
    envelopes = [build_envelope(nonce) for nonce in (1, 2)]
    dispatch_index.index([build_dispatched(envelope) for envelope in envelopes], NOW)
    receipt_index.index([build_decided(1, envelopes[1].id, Outcome.EXECUTED)], NOW)
    rows = [store.load_dispatch(LANE, nonce) for nonce in (1, 2)]
    assert [row and row.state for row in rows] == [DeliveryState.PENDING, DeliveryState.DECIDED]
    receipt_index.revert(0)
    row = store.load_dispatch(LANE, 2)
    assert row is not None
    assert row.state is DeliveryState.PENDING, "a reorg of the destination opens it again"


@pytest.mark.parametrize(("topic", "outcome"), [(REPLIED, Outcome.EXECUTED), (FAILED, Outcome.FAILED)])
def test_a_result_goes_into_its_receipt(receipt_index: ReceiptIndex, topic: bytes, outcome: Outcome) -> None:
    ids = [EnvelopeId(bytes([n]) * 32) for n in (1, 2)]
    logs = [
        build_log(GATE, [topic, ids[1]], abi_encode(["bytes"], [b"said"]), block=2),
        build_decided(1, ids[0], Outcome.EXECUTED),
        build_decided(2, ids[1], outcome),
    ]
    random.Random(1).shuffle(logs)
    assert receipt_index.index(logs, NOW) == 2
    accumulator = compute_seed(LANE, Direction.RECEIPTS)
    for receipt in (
        build_receipt(1, ids[0], Outcome.EXECUTED),
        build_receipt(2, ids[1], outcome, compute_result(b"said")),
    ):
        accumulator = extend(accumulator, receipt.entry)
    assert receipt_index.word == pack_word(2, accumulator)


def test_a_receipt_for_another_origin_is_ignored(receipt_index: ReceiptIndex) -> None:
    stranger = build_decided(1, EnvelopeId(b"\x01" * 32), Outcome.EXECUTED, origin=ORIGIN + 7)
    assert receipt_index.index([stranger], NOW) == 0


def test_a_missing_position_is_asked_for_again(receipt_index: ReceiptIndex) -> None:
    with pytest.raises(LogsMissing):
        receipt_index.index([build_decided(2, EnvelopeId(b"\x01" * 32), Outcome.EXECUTED)], NOW)
