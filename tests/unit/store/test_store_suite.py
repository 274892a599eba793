"""What every store must do; twin of src/comity/store/port.py."""

import time
import tracemalloc
from dataclasses import replace

import pytest

from comity.core.errors import Invalid
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
    DeliveryState,
    DispatchRecord,
    HaltRecord,
    LaneRecord,
    ReceiptRecord,
    Store,
    TransactionRecord,
    TransactionState,
)

LANE = Lane(b"\x01" * 32)
OTHER_LANE = Lane(b"\x02" * 32)
NOW = Seconds(1000)


def a_hash(number: int, tag: bytes = b"h") -> Hash32:
    return Hash32(tag + number.to_bytes(31))


def an_id(nonce: int) -> EnvelopeId:
    return EnvelopeId(a_hash(nonce, b"e"))


def a_dispatch(nonce: int, *, lane: Lane = LANE, block: int | None = None) -> DispatchRecord:
    block = nonce if block is None else block
    return DispatchRecord(
        lane=lane,
        nonce=nonce,
        id=EnvelopeId(a_hash(nonce, b"e" if lane == LANE else b"f")),
        envelope=bytes([nonce % 256]) * 256,
        accumulator=Accumulator(nonce + 2**215),
        block_number=block,
        block_hash=a_hash(block, b"b"),
        tx_hash=a_hash(nonce, b"t"),
        seen_at=Seconds(nonce),
    )


def a_receipt(position: int, nonce: int, *, block: int, outcome: Outcome = Outcome.EXECUTED) -> ReceiptRecord:
    return ReceiptRecord(
        lane=LANE,
        position=position,
        envelope_id=an_id(nonce),
        outcome=outcome,
        beneficiary=Address32(b"\x07" * 32),
        result=a_hash(0),
        accumulator=Accumulator(position),
        block_number=block,
        block_hash=a_hash(block, b"b"),
        tx_hash=a_hash(position, b"t"),
    )


def a_word(nonce: int, height: int, accumulator: int = 5, *, snapshot: bool = False) -> AttestedWord:
    word = Word(nonce << 216 | accumulator)
    return AttestedWord(LANE, Direction.DISPATCHES, nonce, word, height, a_hash(height, b"b"), snapshot)


def an_attestation(attested: AttestedWord, set_id: int = 2**216 - 1) -> AttestationRecord:
    verifier, signer = Address(b"\x08" * 20), Address(b"\x09" * 20)
    return AttestationRecord(attested, ChainId(2**255), verifier, set_id, 3, signer, bytes(64))


def pending_nonces(store: Store, now: int = NOW, after: int = 0) -> list[int]:
    return [record.dispatch.nonce for record in store.load_pending(LANE, Seconds(now), limit=100, after=after)]


def test_cursor_is_absent_then_overwritten(store: Store) -> None:
    assert store.load_cursor("follower") is None
    store.save_cursor("follower", b"one")
    store.save_cursor("follower", b"two")
    assert store.load_cursor("follower") == b"two"


def test_lane_survives_chain_ids_of_256_bits(store: Store) -> None:
    record = LaneRecord(LANE, ChainId(2**256 - 1), Address32(b"\x03" * 32), ChainId(1), Address32(b"\x04" * 32))
    store.save_lane(record)
    store.save_lane(record)
    assert store.load_lanes() == [record]


def test_appended_dispatches_load_back_whole_and_in_order(store: Store) -> None:
    records = [a_dispatch(nonce) for nonce in range(1, 601)]
    assert store.append_dispatches(LANE, records) == 600
    assert store.load_dispatch_head(LANE) == 600
    assert list(store.load_dispatches(LANE, 2, 599)) == records[1:599]
    assert list(store.load_dispatches(LANE, 601, 700)) == []
    found = store.load_dispatch_by_id(an_id(7))
    assert found is not None
    assert found.dispatch == records[6]


def test_append_refuses_a_gap_a_foreign_lane_and_disorder(store: Store) -> None:
    store.append_dispatches(LANE, [a_dispatch(1)])
    with pytest.raises(Invalid, match="missing"):
        store.append_dispatches(LANE, [a_dispatch(3)])
    with pytest.raises(Invalid, match="not a run"):
        store.append_dispatches(LANE, [a_dispatch(2, lane=OTHER_LANE)])
    with pytest.raises(Invalid, match="not a run"):
        store.append_dispatches(LANE, [a_dispatch(2), a_dispatch(4)])
    assert store.load_dispatch_head(LANE) == 1


def test_append_is_idempotent_for_redelivered_logs(store: Store) -> None:
    store.append_dispatches(LANE, [a_dispatch(1), a_dispatch(2)])
    again = [replace(a_dispatch(nonce), seen_at=Seconds(99)) for nonce in (1, 2, 3)]
    assert store.append_dispatches(LANE, again) == 1
    assert store.load_dispatch_head(LANE) == 3


def test_append_refuses_another_envelope_for_a_stored_nonce(store: Store) -> None:
    store.append_dispatches(LANE, [a_dispatch(1), a_dispatch(2)])
    with pytest.raises(Invalid, match="another entry"):
        store.append_dispatches(LANE, [replace(a_dispatch(2), id=an_id(77)), a_dispatch(3)])
    assert store.load_dispatch_head(LANE) == 2


def test_append_may_begin_above_the_first_nonce(store: Store) -> None:
    assert store.append_dispatches(LANE, [a_dispatch(65), a_dispatch(66)]) == 2
    assert [record.nonce for record in store.load_dispatches(LANE, 1, 100)] == [65, 66]


def test_ten_thousand_dispatches_append_within_a_second(store: Store) -> None:
    records = [a_dispatch(nonce) for nonce in range(1, 10_001)]
    started = time.process_time()
    store.append_dispatches(LANE, records)
    assert time.process_time() - started < 1


def test_streaming_a_backlog_holds_only_a_page(store: Store) -> None:
    for first in range(1, 8001, 1000):
        store.append_dispatches(LANE, [a_dispatch(nonce) for nonce in range(first, first + 1000)])
    tracemalloc.start()
    read = sum(len(record.envelope) for record in store.load_dispatches(LANE, 1, 8000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read == 8000 * 256
    assert peak < read / 2


def test_revert_forgets_only_above_the_block_and_in_the_lane(store: Store) -> None:
    store.append_dispatches(LANE, [a_dispatch(nonce) for nonce in range(1, 6)])
    store.append_dispatches(OTHER_LANE, [a_dispatch(nonce, lane=OTHER_LANE) for nonce in range(1, 6)])
    assert store.revert_dispatches(LANE, 3) == 2
    assert store.load_dispatch_head(LANE) == 3
    assert store.load_dispatch_head(OTHER_LANE) == 5
    assert store.append_dispatches(LANE, [a_dispatch(4, block=9)]) == 1


def test_deferred_envelope_returns_when_due_and_notready_costs_no_attempt(store: Store) -> None:
    store.append_dispatches(LANE, [a_dispatch(nonce) for nonce in (1, 2, 3)])
    store.defer_envelopes(LANE, [1, 2], "gate: too early", Seconds(1500), costs_attempt=False)
    store.defer_envelopes(LANE, [2], "provider down", Seconds(1600), costs_attempt=True)
    assert pending_nonces(store) == [3]
    assert pending_nonces(store, 1500) == [1, 3]
    assert pending_nonces(store, 1600, after=1) == [2, 3]
    first, second = (record for record in store.load_pending(LANE, Seconds(1600), limit=2))
    assert (first.attempts, first.cause) == (0, "gate: too early")
    assert (second.attempts, second.cause, second.next_attempt_at) == (1, "provider down", 1600)


def test_dead_envelope_is_listed_until_revived(store: Store) -> None:
    store.append_dispatches(LANE, [a_dispatch(1), a_dispatch(2)])
    store.bury_envelope(LANE, 1, "gate: malformed envelope")
    assert pending_nonces(store) == [2]
    assert [(record.dispatch.nonce, record.cause) for record in store.load_dead(LANE, limit=9)] == [
        (1, "gate: malformed envelope")
    ]
    store.revive_envelope(LANE, 1)
    assert pending_nonces(store) == [1, 2]
    assert store.load_dead(LANE, limit=9) == []


def test_backlog_counts_and_names_the_oldest(store: Store) -> None:
    assert store.load_backlog(LANE) == (0, None)
    store.append_dispatches(LANE, [a_dispatch(1), a_dispatch(2), a_dispatch(3)])
    store.append_receipts(LANE, [a_receipt(1, 1, block=50)])
    store.defer_envelopes(LANE, [2], "waiting", Seconds(10**10), costs_attempt=False)
    assert store.load_backlog(LANE) == (2, a_dispatch(2))


def test_receipt_decides_its_envelope_even_a_dead_one(store: Store) -> None:
    store.append_dispatches(LANE, [a_dispatch(1), a_dispatch(2)])
    store.bury_envelope(LANE, 2, "gave up")
    store.append_receipts(LANE, [a_receipt(1, 2, block=50, outcome=Outcome.FILLED)])
    decided = store.load_dispatch(LANE, 2)
    assert decided is not None
    assert (decided.state, decided.outcome, decided.cause) == (DeliveryState.DECIDED, Outcome.FILLED, None)
    assert pending_nonces(store) == [1]


def test_receipt_seen_before_its_dispatch_still_decides_it(store: Store) -> None:
    store.append_receipts(LANE, [a_receipt(1, 1, block=50, outcome=Outcome.FAILED)])
    store.append_dispatches(LANE, [a_dispatch(1), a_dispatch(2)])
    decided = store.load_dispatch(LANE, 1)
    assert decided is not None
    assert decided.outcome == Outcome.FAILED
    assert pending_nonces(store) == [2]


def test_first_receipt_is_the_outcome(store: Store) -> None:
    store.append_dispatches(LANE, [a_dispatch(1)])
    expired = [a_receipt(2, 1, block=51, outcome=Outcome.EXPIRED), a_receipt(3, 1, block=52, outcome=Outcome.EXPIRED)]
    store.append_receipts(LANE, [a_receipt(1, 1, block=50), *expired])
    decided = store.load_dispatch(LANE, 1)
    assert decided is not None
    assert decided.outcome == Outcome.EXECUTED
    assert store.load_receipt_of(LANE, an_id(1)) == a_receipt(1, 1, block=50)


def test_reverted_receipt_reopens_its_envelope_unless_an_earlier_one_remains(store: Store) -> None:
    store.append_dispatches(LANE, [a_dispatch(1), a_dispatch(2)])
    receipts = [a_receipt(1, 1, block=50), a_receipt(2, 2, block=51), a_receipt(3, 1, block=52)]
    store.append_receipts(LANE, receipts)
    assert store.revert_receipts(LANE, 50) == 2
    assert pending_nonces(store) == [2]
    assert store.load_receipt_head(LANE) == 1
    assert list(store.load_receipts(LANE, 1, 9)) == receipts[:1]


def test_transaction_commits_together_or_not_at_all(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction():  # noqa: PT012
        store.save_cursor("follower", b"moved")
        store.append_dispatches(LANE, [a_dispatch(1)])
        raise RuntimeError("crash between the two")
    assert store.load_cursor("follower") is None
    assert store.load_dispatch_head(LANE) == 0
    with store.transaction():
        store.save_cursor("follower", b"moved")
    assert store.load_cursor("follower") == b"moved"


def test_open_transactions_are_those_not_yet_final(store: Store) -> None:
    chain, sender = ChainId(2**200), Address(b"\x05" * 20)
    first, bumped, second = (
        TransactionRecord(a_hash(index), chain, sender, nonce, bytes([index]), "deliver")
        for index, nonce in ((1, 0), (2, 0), (3, 1))
    )
    for record in (first, second, bumped):
        store.save_transaction(record)
    assert store.load_open_transactions(chain, sender) == [first, bumped, second]
    store.set_transaction_state(first.hash, TransactionState.REPLACED)
    store.set_transaction_state(bumped.hash, TransactionState.MINED, 9)
    assert store.load_open_transactions(chain, sender) == [
        replace(bumped, state=TransactionState.MINED, block_number=9),
        second,
    ]
    assert store.load_highest_nonce(chain, sender) == 1
    assert store.load_highest_nonce(ChainId(1), sender) is None


def test_attestor_cannot_promise_two_words_of_one_nonce(store: Store) -> None:
    store.reserve_word(a_word(5, height=10))
    store.reserve_word(a_word(5, height=10))
    with pytest.raises(Invalid):
        store.reserve_word(a_word(5, height=10, accumulator=6))
    with pytest.raises(Invalid):
        store.reserve_word(a_word(5, height=99, accumulator=6, snapshot=True))
    assert store.load_attested_word(LANE, Direction.DISPATCHES, 5) == a_word(5, height=10)


def test_attestor_cannot_promise_two_words_of_one_height(store: Store) -> None:
    store.reserve_word(a_word(5, height=10))
    with pytest.raises(Invalid):
        store.reserve_word(a_word(6, height=10))


@pytest.mark.parametrize(("nonce", "height"), [(4, 11), (6, 9)])
def test_attestor_cannot_promise_a_nonce_that_goes_backwards(store: Store, nonce: int, height: int) -> None:
    store.reserve_word(a_word(5, height=10))
    with pytest.raises(Invalid, match="backwards"):
        store.reserve_word(a_word(nonce, height))


def test_attestor_may_fill_in_older_words_and_snapshots(store: Store) -> None:
    store.reserve_word(a_word(200, height=10))
    store.reserve_word(a_word(100, height=8))
    store.reserve_word(a_word(128, height=10, snapshot=True))
    store.reserve_word(a_word(64, height=10, snapshot=True))
    assert store.load_highest_attested_word(LANE, Direction.DISPATCHES) == a_word(200, height=10)
    assert store.load_attested_words(LANE, Direction.DISPATCHES, from_height=9, limit=9) == [
        a_word(200, height=10),
        a_word(128, height=10, snapshot=True),
        a_word(64, height=10, snapshot=True),
    ]


def test_attestation_needs_its_word_promised_first(store: Store) -> None:
    with pytest.raises(Invalid):
        store.save_attestation(an_attestation(a_word(5, height=10)))


def test_attestations_load_newest_first_within_bounds(store: Store) -> None:
    for nonce in range(1, 6):
        store.reserve_word(a_word(nonce, height=nonce))
        store.save_attestation(an_attestation(a_word(nonce, height=nonce)))
        store.save_attestation(an_attestation(a_word(nonce, height=nonce)))
    loaded = store.load_attestations(LANE, Direction.DISPATCHES, min_nonce=2, max_nonce=4, limit=2)
    assert loaded == [an_attestation(a_word(nonce, height=nonce)) for nonce in (4, 3)]
    oldest = store.load_attestations(LANE, Direction.DISPATCHES, min_nonce=2, max_nonce=4, limit=2, oldest_first=True)
    assert [record.attested.nonce for record in oldest] == [2, 3]
    assert store.load_attestations(LANE, Direction.RECEIPTS, min_nonce=0, max_nonce=9, limit=2) == []


def test_first_reason_of_a_halt_stays_until_an_operator_clears_it(store: Store) -> None:
    halt = HaltRecord(LANE, Direction.RECEIPTS, "reorg below finality", '{"height": 3}', NOW)
    store.save_halt(halt)
    store.save_halt(replace(halt, reason="again"))
    assert store.load_halts() == [halt]
    store.clear_halt(LANE, Direction.RECEIPTS)
    assert store.load_halts() == []
