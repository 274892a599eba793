"""`expire`: past its deadline anyone gets an undecided envelope its receipt; it decides nothing else."""

import pytest
from eth_abi.abi import encode as abi_encode

from comity.chain.bindings import encode_expire
from comity.core.envelope import Asset
from comity.core.keccak import keccak
from comity.core.lane import compute_seed, extend, pack_word
from comity.core.types import Direction, Outcome, to_address32
from tests.contracts.chain import DAY, GENESIS, refused
from tests.contracts.gate.test_deliver import RECEIPT_TYPE
from tests.contracts.world import DEADLINE, ORIGIN, OUTSIDER, RELAYER, Sent, decided

ASSET = Asset(b"\1" * 32, 1, b"\2" * 32, 2)


@pytest.fixture
async def envelope(world, sent):
    """One that nobody delivered in time."""
    made = sent.add(await world.deploy_receiver())
    await world.destination.warp(DEADLINE + 1)
    return made


async def test_expire_gives_the_relayer_a_receipt(world, envelope):
    [one] = decided(await world.expire(envelope.encode()))
    assert (one.id, one.outcome, one.position) == (envelope.id, Outcome.EXPIRED, 1)
    assert (one.origin, one.beneficiary) == (ORIGIN, to_address32(RELAYER))
    receipt = ORIGIN << 208 | int.from_bytes(RELAYER, "big") << 48 | 1 << 8 | 5
    entry = keccak(
        abi_encode(["bytes32", "uint256", "bytes32", "bytes32"], [RECEIPT_TYPE, receipt, envelope.id, bytes(32)])
    )
    assert await world.word() == pack_word(1, extend(compute_seed(world.lane, Direction.RECEIPTS), entry))


async def test_expire_names_the_beneficiary_that_was_given(world, envelope):
    [one] = decided(await world.expire(envelope.encode(), beneficiary=to_address32(OUTSIDER)))
    assert one.beneficiary == to_address32(OUTSIDER)


async def test_expire_refuses_a_beneficiary_that_is_no_account(world, envelope):
    with refused("gate: malformed beneficiary"):
        await world.expire(envelope.encode(), beneficiary=b"\1" * 32)


async def test_expire_is_refused_at_the_deadline_itself(world, sent):
    envelope = sent.add(await world.deploy_receiver())
    await world.destination.warp(DEADLINE)
    with refused("gate: deadline not passed"):
        await world.expire(envelope.encode())
    await world.deliver(sent.run())


async def test_expire_is_refused_for_what_was_executed(world, sent):
    envelope = sent.add(await world.deploy_receiver())
    await world.deliver(sent.run())
    await world.destination.warp(DEADLINE + 1)
    with refused("gate: already delivered"):
        await world.expire(envelope.encode())


async def test_nothing_is_executed_after_it_expired(world, sent, envelope):
    await world.expire(envelope.encode())
    with refused("gate: deadline passed"):
        await world.deliver(sent.run())


async def test_expire_of_a_forged_call_burns_nothing(world, sent):
    """An attacker's envelope of the same nonce and policy, with an old deadline, leaves the genuine one as it was."""
    receiver = await world.deploy_receiver()
    genuine = sent.add(receiver)
    forged = Sent(world.lane).add(receiver, deliver_before=GENESIS - DAY)
    await world.expire(forged.encode())
    assert await world.mark(genuine.nonce) == 0
    await world.deliver(sent.run())
    assert await world.count(receiver) == 1


async def test_expire_of_an_envelope_with_assets_happens_once(world, sent):
    envelope = sent.add(OUTSIDER, assets=(ASSET,), deliver_before=GENESIS - DAY)
    await world.expire(envelope.encode())
    assert await world.destination.read(world.target.gate, "status(bytes32)", envelope.id) == Outcome.EXPIRED
    with refused("gate: already delivered"):
        await world.expire(envelope.encode())


async def test_expire_works_while_the_lane_is_paused_and_every_verifier_revoked(world, envelope):
    authority = world.target.authority
    await world.destination.act(authority, "set_guardian(address,bool)", OUTSIDER, True)
    await world.destination.act(authority, "pause(bytes32,uint256)", world.lane, DAY, sender=OUTSIDER)
    for index in range(4):
        await world.destination.act(authority, "revoke(uint256)", index)
    await world.expire(envelope.encode())


async def test_expire_takes_the_longest_envelope(world, sent):
    envelope = sent.add(OUTSIDER, payload=b"\xff" * 16384, deliver_before=GENESIS - DAY)
    [one] = decided(await world.expire(envelope.encode()))
    assert one.id == envelope.id


@pytest.mark.threat("A1")
async def test_expire_refuses_a_lane_that_nobody_opened(world):
    for lane in (keccak(b"another lane"), b"\xff" * 32):
        envelope = Sent(lane).add(OUTSIDER, deliver_before=GENESIS - DAY)
        with refused("gate: unknown lane"):
            await world.expire(envelope.encode())


async def test_expire_refuses_what_is_not_an_envelope(world, sent):
    encoding = sent.add(OUTSIDER, deliver_before=GENESIS - DAY).encode()
    malformed = {
        "empty": b"",
        "cut off": encoding[:245],
        "too short": encoding[:-1],
        "too long": encoding + b"\0",
        "another version": b"\2" + encoding[1:],
        "unknown flag": encoding[:1] + b"\x80" + encoding[2:],
        "nonce zero": encoding[:2] + bytes(5) + encoding[7:],
        "depends on itself": encoding[:17] + encoding[2:7] + encoding[22:],
        "no deadline": encoding[:12] + bytes(5) + encoding[17:],
        "an asset that is not there": encoding[:26] + b"\1" + encoding[27:],
        "five assets": encoding[:26] + b"\5" + encoding[27:],
        "five conditions": encoding[:27] + b"\5" + encoding[28:],
    }
    for name, each in malformed.items():
        with refused("gate: malformed envelope"):
            await world.destination.send(world.target.gate, encode_expire(each, bytes(32)))
        assert name


async def test_expire_keeps_a_snapshot_at_every_64th_receipt(world):
    old = Sent(world.lane)
    for _ in range(64):
        await world.expire(old.add(OUTSIDER, deliver_before=GENESIS - DAY).encode())
    kept = await world.destination.read(world.target.gate, "snapshots(bytes32,uint256)", world.lane, 64)
    assert kept == await world.word()
    assert kept >> 216 == 64
