"""`deliver`: what is executed, what a hook is given, and what the receipts say of it."""

import pytest
from eth_abi.abi import encode as abi_encode

from comity.chain.bindings import FAILED, REPLIED, decode_result
from comity.chain.revert import encode_revert
from comity.core.interop_address import InteropAddress
from comity.core.keccak import keccak
from comity.core.lane import compute_seed, extend, pack_word
from comity.core.types import Direction, Outcome, to_address32
from tests.contracts.chain import refused
from tests.contracts.world import (
    FIRST,
    ORIGIN,
    OUTSIDER,
    RELAYER,
    REPLY,
    REPLY_TWICE,
    REPLY_WRONG_MAGIC,
    REVERT,
    SECOND,
    SENDER,
    YES,
    decided,
)

RECEIPT_TYPE = keccak(b"Receipt(uint256 receipt,bytes32 id,bytes32 result)")
NO_RESULT = bytes(32)


def compute_receipts(lane, receipts, start=0, accumulator=None):
    """The word of the lane's receipts: (outcome, id, result) each, written out as the specification has it."""
    accumulator = compute_seed(lane, Direction.RECEIPTS) if accumulator is None else accumulator
    for position, (outcome, envelope_id, result) in enumerate(receipts, start=start + 1):
        receipt = ORIGIN << 208 | int.from_bytes(RELAYER, "big") << 48 | position << 8 | outcome
        entry = keccak(
            abi_encode(["bytes32", "uint256", "bytes32", "bytes32"], [RECEIPT_TYPE, receipt, envelope_id, result])
        )
        accumulator = extend(accumulator, entry)
    return pack_word(start + len(receipts), accumulator)


async def test_deliver_executes_a_run_in_order(world, sent):
    receiver = await world.deploy_receiver()
    ids = [sent.add(receiver).id for _ in range(3)]
    receipt = await world.deliver(sent.run())
    outcomes = [(one.id, one.outcome, one.position, one.origin) for one in decided(receipt)]
    assert outcomes == [(id_, Outcome.EXECUTED, at, ORIGIN) for at, id_ in enumerate(ids, start=1)]
    assert await world.count(receiver) == 3
    assert [await world.mark(nonce) for nonce in (1, 2, 3)] == [1, 1, 1]
    assert await world.word() == compute_receipts(world.lane, [(1, id_, NO_RESULT) for id_ in ids])


async def test_deliver_skips_bare_entries_and_checks_those_that_follow(world, sent):
    receiver = await world.deploy_receiver()
    for _ in range(6):
        sent.add(receiver)
    receipt = await world.deliver(sent.run(2, 4, bare=[3]))
    assert [await world.mark(nonce) for nonce in range(1, 7)] == [0, 1, 0, 1, 0, 0]
    assert len(decided(receipt)) == 2


async def test_deliver_gives_the_hook_its_message_and_context(world, sent):
    receiver = await world.deploy_receiver()
    envelope = sent.add(receiver, payload=b"\x07" * 900)
    await world.deliver(sent.run(proofs={FIRST: YES, SECOND: YES}))
    sender = InteropAddress.from_evm(ORIGIN, SENDER).encode()
    kept = {
        "last_id()": envelope.id,
        "id_seen()": envelope.id,
        "lane_seen()": world.lane,
        "verified_seen()": (1 << FIRST | 1 << SECOND).to_bytes(32, "big"),
        "last_sender()": keccak(sender),
        "last_payload()": keccak(envelope.payload),
    }
    for view, expected in kept.items():
        assert await world.destination.read(receiver, view) == int.from_bytes(expected, "big"), view


@pytest.mark.parametrize("size", [0, 1, 41, 42, 43, 266, 267, 490, 491, 714, 715, 1024])
async def test_deliver_reads_a_payload_of_any_size(world, sent, size):
    receiver = await world.deploy_receiver()
    payload = bytes(n % 255 + 1 for n in range(size))
    sent.add(receiver, payload=payload)
    await world.deliver(sent.run())
    assert await world.destination.read(receiver, "last_payload()") == int.from_bytes(keccak(payload), "big")


async def test_deliver_names_each_envelopes_own_sender_and_id(world, sent):
    receiver = await world.deploy_receiver()
    for sender in (SENDER, OUTSIDER):
        sent.add(receiver, sender=to_address32(sender))
    await world.deliver(sent.run())
    expected = keccak(InteropAddress.from_evm(ORIGIN, OUTSIDER).encode())
    assert await world.destination.read(receiver, "last_sender()") == int.from_bytes(expected, "big")
    assert await world.destination.read(receiver, "id_seen()") == int.from_bytes(keccak(sent.envelopes[1]), "big")


async def test_deliver_puts_a_reply_into_the_receipt(world, sent):
    receiver = await world.deploy_receiver(mode=REPLY)
    silent = await world.deploy_receiver()
    ids = [sent.add(receiver).id, sent.add(silent).id]
    receipt = await world.deliver(sent.run())
    assert [decode_result(log).content for log in receipt.logs if log.topics[0] == REPLIED] == [b"done"]
    # The reply to the one is not carried over to the next.
    expected = [(1, ids[0], keccak(b"done")), (1, ids[1], NO_RESULT)]
    assert await world.word() == compute_receipts(world.lane, expected)


async def test_deliver_keeps_the_last_of_two_replies(world, sent):
    receiver = await world.deploy_receiver(mode=REPLY_TWICE)
    envelope = sent.add(receiver)
    await world.deliver(sent.run())
    assert await world.word() == compute_receipts(world.lane, [(1, envelope.id, keccak(b"done"))])


async def test_deliver_puts_the_reason_of_a_failure_into_the_receipt(world, sent):
    receiver = await world.deploy_receiver(mode=REVERT)
    envelope = sent.add(receiver)
    receipt = await world.deliver(sent.run())
    reason = encode_revert("receiver: no")
    assert [decode_result(log).content for log in receipt.logs if log.topics[0] == FAILED] == [reason]
    assert await world.word() == compute_receipts(world.lane, [(2, envelope.id, keccak(reason))])
    assert await world.mark(1) == 2


@pytest.mark.threat("C8")
async def test_deliver_forgets_the_reply_of_a_hook_that_fails(world, sent):
    receiver = await world.deploy_receiver(mode=REPLY_WRONG_MAGIC)
    silent = await world.deploy_receiver()
    ids = [sent.add(receiver).id, sent.add(silent).id]
    receipt = await world.deliver(sent.run())
    assert not [log for log in receipt.logs if log.topics[0] == REPLIED]
    assert await world.count(receiver) == 0
    reason = keccak(encode_revert("gate: receiver did not acknowledge"))
    assert await world.word() == compute_receipts(world.lane, [(2, ids[0], reason), (1, ids[1], NO_RESULT)])


async def test_deliver_names_the_beneficiary_that_the_relayer_chose(world, sent):
    receiver = await world.deploy_receiver()
    sent.add(receiver)
    [one] = decided(await world.deliver(sent.run(), beneficiary=to_address32(OUTSIDER)))
    assert one.beneficiary == to_address32(OUTSIDER)


async def test_deliver_names_the_relayer_when_no_beneficiary_is_given(world, sent):
    receiver = await world.deploy_receiver()
    sent.add(receiver)
    [one] = decided(await world.deliver(sent.run()))
    assert one.beneficiary == to_address32(RELAYER)


async def test_deliver_refuses_a_beneficiary_that_is_no_account(world, sent):
    receiver = await world.deploy_receiver()
    sent.add(receiver)
    with refused("gate: malformed beneficiary"):
        await world.deliver(sent.run(), beneficiary=b"\x01".ljust(32, b"\0"))


async def test_deliver_keeps_a_snapshot_at_every_64th_receipt(world, sent):
    receiver = await world.deploy_receiver()
    ids = [sent.add(receiver, gas_limit=200_000).id for _ in range(65)]
    await world.deliver(sent.run())
    kept = await world.destination.read(world.target.gate, "snapshots(bytes32,uint256)", world.lane, 64)
    assert kept == compute_receipts(world.lane, [(1, id_, NO_RESULT) for id_ in ids[:64]])
    assert await world.word() == compute_receipts(world.lane, [(1, id_, NO_RESULT) for id_ in ids])
    assert await world.destination.read(world.target.gate, "snapshots(bytes32,uint256)", world.lane, 65) == 0


async def test_deliver_goes_on_where_the_last_receipt_stands(world, sent):
    receiver = await world.deploy_receiver()
    ids = [sent.add(receiver).id for _ in range(2)]
    await world.deliver(sent.run(1, 1))
    await world.deliver(sent.run(2, 2))
    assert await world.word() == compute_receipts(world.lane, [(1, id_, NO_RESULT) for id_ in ids])
