"""`deliver`: at most once, whatever the relayer varies; and when, and after what."""

import pytest

from comity.core.delivery import encode_body
from comity.core.envelope import Flags
from comity.core.types import to_address32
from tests.contracts.chain import DAY, GENESIS, refused
from tests.contracts.world import (
    DEADLINE,
    FIRST,
    OUTSIDER,
    REVERT,
    SECOND,
    YES,
    Sent,
    policy_of,
)

BOTH = policy_of([FIRST, SECOND])


@pytest.fixture
async def receiver(world):
    return await world.deploy_receiver()


@pytest.mark.threat("A6")
@pytest.mark.threat("B11")
async def test_deliver_executes_once_however_it_is_proved(world, sent, receiver):
    """Other padding, proofs, suffix, neighbours, beneficiary or relayer: the envelope is the same one."""
    for _ in range(3):
        sent.add(receiver)
    await world.deliver(sent.run(2, 2))
    variants = [
        {"delivery": sent.run(2, 2)},
        {"delivery": sent.run(2, 2), "sender": OUTSIDER, "beneficiary": to_address32(OUTSIDER)},
        {"delivery": sent.run(2, 2, up_to=2)},
        {"delivery": sent.run(2, 2, proofs={FIRST: YES, SECOND: YES})},
        {"delivery": sent.run(1, 3, bare=[1, 3])},
    ]
    for variant in variants:
        with refused("gate: already delivered"):
            await world.deliver(**variant)
    padded = sent.run(2, 2)
    with refused("gate: already delivered"):
        await world.deliver_body(padded.before, encode_body(padded, pad_length=999))
    await world.deliver(sent.run())
    assert await world.count(receiver) == 3


@pytest.mark.threat("C19")
async def test_deliver_executes_each_once_when_relayers_overlap(world, sent, receiver):
    for _ in range(5):
        sent.add(receiver)
    for first, last in ((2, 3), (1, 4), (3, 5)):
        await world.deliver(sent.run(first, last))
    for first, last in ((1, 1), (1, 5)):
        with refused("gate: already delivered"):
            await world.deliver(sent.run(first, last))
    assert await world.count(receiver) == 5


@pytest.mark.threat("A6")
async def test_deliver_keeps_marks_of_all_nonces_apart(world):
    """Around the border of a slot of 128 marks, each mark stands for its own nonce."""
    receiver = await world.deploy_receiver()
    sent = Sent(world.lane, start=125)
    for _ in range(6):
        sent.add(receiver)
    for nonce in (129, 127):
        await world.deliver(sent.run(nonce, nonce))
    assert [await world.mark(nonce) for nonce in range(125, 133)] == [0, 0, 1, 0, 1, 0, 0, 0]
    await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in range(125, 133)] == [0, 1, 1, 1, 1, 1, 1, 0]
    assert await world.count(receiver) == 6
    with refused("gate: already delivered"):
        await world.deliver(sent.run())


async def test_deliver_keeps_marks_of_policies_apart(world):
    """S20: what happens under one policy touches no mark of another, though the nonces are the same."""
    receiver = await world.deploy_receiver()
    broken, genuine = Sent(world.lane), Sent(world.lane)
    broken.add(receiver)
    genuine.add(receiver, policy=BOTH)
    await world.deliver(broken.run())
    assert await world.mark(1, BOTH) == 0
    await world.deliver(genuine.run(proofs={FIRST: YES, SECOND: YES}))
    assert [await world.mark(1), await world.mark(1, BOTH)] == [1, 1]
    assert await world.count(receiver) == 2


async def test_deliver_keeps_marks_of_lanes_apart(world, sent, receiver):
    await world.destination.act(world.target.authority, "open_incoming(uint256,bytes32)", 77, b"\x01" * 32)
    lane = (await world.destination.read(world.target.gate, "lane_from(uint256)", 77)).to_bytes(32, "big")
    signature = "set_policy(bytes32,address,uint256)"
    await world.destination.act(world.target.gate, signature, lane, receiver, 1 << FIRST, sender=receiver)
    other = Sent(lane)
    sent.add(receiver)
    other.add(receiver)
    await world.deliver(sent.run())
    await world.deliver(other.run())
    assert await world.count(receiver) == 2


async def test_deliver_flushes_marks_of_alternating_policies(world, sent, receiver):
    for nonce in range(1, 9):
        sent.add(receiver, policy=BOTH if nonce % 2 else 1 << FIRST)
    await world.deliver(sent.run(proofs={FIRST: YES, SECOND: YES}))
    assert [await world.mark(n, BOTH if n % 2 else 1 << FIRST) for n in range(1, 9)] == [1] * 8
    with refused("gate: already delivered"):
        await world.deliver(sent.run(proofs={FIRST: YES, SECOND: YES}))


# ------------------------------------------------------------------------------------------------ time


async def test_deliver_executes_at_the_deadline_and_not_after(world, sent, receiver):
    for _ in range(2):
        sent.add(receiver)
    await world.destination.warp(DEADLINE)
    await world.deliver(sent.run(1, 1))
    await world.destination.warp(DEADLINE + 1)
    with refused("gate: deadline passed"):
        await world.deliver(sent.run(2, 2))
    assert await world.count(receiver) == 1


async def test_deliver_waits_for_deliver_after(world, sent, receiver):
    sent.add(receiver, deliver_after=GENESIS + DAY)
    await world.destination.warp(GENESIS + DAY - 1)
    with refused("gate: too early"):
        await world.deliver(sent.run())
    await world.destination.warp(GENESIS + DAY)
    await world.deliver(sent.run())
    assert await world.mark(1) == 1


async def test_deliver_leaves_what_is_out_of_its_window_and_executes_the_rest(world, sent, receiver):
    sent.add(receiver, deliver_before=GENESIS + 10)
    sent.add(receiver, deliver_after=GENESIS + 100)
    sent.add(receiver)
    await world.destination.warp(GENESIS + 11)
    await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in (1, 2, 3)] == [0, 0, 1]


async def test_deliver_stops_while_a_guardian_pauses_the_lane(world, sent, receiver):
    sent.add(receiver)
    authority = world.target.authority
    await world.destination.act(authority, "set_guardian(address,bool)", OUTSIDER, True)
    await world.destination.act(authority, "pause(bytes32,uint256)", world.lane, DAY, sender=OUTSIDER)
    await world.destination.warp(GENESIS + DAY - 1)
    with refused("gate: lane paused"):
        await world.deliver(sent.run())
    await world.destination.warp(GENESIS + DAY)
    await world.deliver(sent.run())


async def test_deliver_goes_on_when_a_guardian_resumes_the_lane(world, sent, receiver):
    sent.add(receiver)
    authority = world.target.authority
    await world.destination.act(authority, "set_guardian(address,bool)", OUTSIDER, True)
    await world.destination.act(authority, "pause(bytes32,uint256)", world.lane, DAY, sender=OUTSIDER)
    await world.destination.act(authority, "resume(bytes32)", world.lane, sender=OUTSIDER)
    await world.deliver(sent.run())


# ------------------------------------------------------------------------------------------------ dependencies


async def test_deliver_waits_for_the_envelope_depended_on(world, sent, receiver):
    sent.add(receiver)
    sent.add(receiver, depends_on=1)
    with refused("gate: dependency undecided"):
        await world.deliver(sent.run(2, 2))
    assert await world.mark(2) == 0
    await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in (1, 2)] == [1, 1]


async def test_deliver_fails_without_a_call_what_depends_on_a_failure(world, sent, receiver):
    failing = await world.deploy_receiver(mode=REVERT)
    sent.add(failing)
    sent.add(receiver, depends_on=1, flags=Flags.RETRYABLE)
    sent.add(receiver, depends_on=2)
    await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in (1, 2, 3)] == [2, 2, 2]
    assert await world.count(receiver) == 0


async def test_deliver_finds_a_dependency_in_another_slot_of_marks(world):
    receiver, failing = await world.deploy_receiver(), await world.deploy_receiver(mode=REVERT)
    sent = Sent(world.lane, start=125)
    sent.add(receiver)
    sent.add(failing)
    sent.add(receiver, depends_on=126)
    sent.add(receiver, depends_on=127)
    sent.add(receiver, depends_on=125)
    await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in range(126, 131)] == [1, 2, 1, 2, 0]


async def test_deliver_counts_a_dependency_under_the_same_policy_only(world, sent, receiver):
    """An envelope under a policy that somebody broke satisfies no dependency of another."""
    sent.add(receiver)
    sent.add(receiver, depends_on=1, policy=BOTH)
    with refused("gate: dependency undecided"):
        await world.deliver(sent.run(2, 2, proofs={FIRST: YES, SECOND: YES}))
    await world.deliver(sent.run(1, 1))
    with refused("gate: dependency undecided"):
        await world.deliver(sent.run(2, 2, proofs={FIRST: YES, SECOND: YES}))


async def test_deliver_counts_a_retryable_failure_as_undecided(world, sent, receiver):
    failing = await world.deploy_receiver(mode=REVERT)
    sent.add(failing, flags=Flags.RETRYABLE)
    sent.add(receiver, depends_on=1)
    with refused("gate: dependency undecided"):
        await world.deliver(sent.run())
