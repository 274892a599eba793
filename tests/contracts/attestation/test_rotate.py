"""Constructor and `rotate`: only sets that can be a quorum, only by the delayed owner; the old set dies in time."""

from dataclasses import replace

import pytest

from comity.chain.bindings import encode_call
from comity.compiler import load_artifact
from comity.core.attestation import AttestationSet
from comity.core.keccak import keccak
from comity.core.types import Address
from comity.devnet import deploy
from tests.contracts.attestation.conftest import CHECKPOINT, FINALITY, create_verifier, make_signers
from tests.contracts.chain import DAY, GENESIS, refused
from tests.contracts.world import OUTSIDER

ROTATE = "rotate(address[],uint256,uint256,uint256)"
NEW = make_signers(4, start=10)
MEMBERS = [signer.address for signer in NEW]
MANY = sorted(keccak(b"%d" % n)[:20] for n in range(32))
INVALID = {
    "threshold zero": (MEMBERS, 0, FINALITY, "attestation: unreachable threshold"),
    "threshold beyond the members": (MEMBERS, 5, FINALITY, "attestation: unreachable threshold"),
    "no members": ([], 0, FINALITY, "attestation: unreachable threshold"),
    "no members, one to sign": ([], 1, FINALITY, "attestation: unreachable threshold"),
    "a member twice": ([MEMBERS[0], MEMBERS[0]], 2, FINALITY, "attestation: members not ascending"),
    "members descending": (MEMBERS[::-1], 2, FINALITY, "attestation: members not ascending"),
    "the zero member": ([bytes(20), *MEMBERS], 2, FINALITY, "attestation: members not ascending"),
    "no finality rule": (MEMBERS, 2, 0, "attestation: unknown finality rule"),
    "finality beyond its field": (MEMBERS, 2, 1 << 32, "attestation: unknown finality rule"),
}


async def rotate(verifier, *, members=MEMBERS, threshold=2, finality=FINALITY, overlap=0, sender=None):
    await verifier.chain.act(verifier.address, ROTATE, members, threshold, finality, overlap, sender=sender)


def adopt(verifier, members=MEMBERS, threshold=2):
    """The verifier as it is after its first rotation to the new members."""
    rotated = AttestationSet(epoch=2, threshold=threshold, finality=FINALITY, members=tuple(members))
    return replace(verifier, set=rotated, signers=NEW)


async def create(world, *, development=True, delay=0, members=MEMBERS, threshold=2, finality=FINALITY, owner=None):
    return await deploy.create(
        world.destination,
        load_artifact("Attestation"),
        owner=world.destination.account if owner is None else owner,
        delay=delay,
        development=development,
        members=members,
        threshold=threshold,
        finality=finality,
    )


async def test_rotate_hands_over_to_the_new_set_and_ends_the_old(world, verifier):
    old = verifier.build([0, 1])
    await rotate(verifier)
    rotated = adopt(verifier)
    assert await verifier.verify(rotated.build([1, 3])) == CHECKPOINT.digest
    await world.destination.warp(GENESIS + 1)
    with refused("attestation: set expired"):
        await verifier.verify(old)


async def test_rotate_keeps_the_old_set_for_the_overlap_and_no_longer(world, verifier):
    old = verifier.build([0, 1])
    await rotate(verifier, overlap=DAY)
    await world.destination.warp(GENESIS + DAY)
    await verifier.verify(old)
    await verifier.verify(adopt(verifier).build([0, 1]))
    await world.destination.warp(GENESIS + DAY + 1)
    with refused("attestation: set expired"):
        await verifier.verify(old)
    await verifier.verify(adopt(verifier).build([0, 1]))


async def test_rotate_twice_does_not_bring_the_first_set_back(world, verifier):
    old = verifier.build([0, 1])
    await rotate(verifier)
    await world.destination.warp(GENESIS + 1)
    await rotate(verifier, overlap=7 * DAY)
    with refused("attestation: set expired"):
        await verifier.verify(old)


async def test_rotate_for_a_lost_key_ends_every_older_set(world, verifier):
    old = verifier.build([0, 1])
    await rotate(verifier, overlap=7 * DAY)
    await verifier.verify(old)
    await rotate(verifier, members=MANY[:4], overlap=0)
    await world.destination.warp(GENESIS + 1)
    with refused("attestation: set expired"):
        await verifier.verify(old)


async def test_one_replaced_set_at_most_overlaps_the_current_one(world, verifier):
    """Else a key lost two rotations ago would still count."""
    first = verifier.build([0, 1])
    await rotate(verifier, overlap=7 * DAY)
    second = adopt(verifier).build([0, 1])
    await rotate(verifier, members=list(verifier.set.members), overlap=7 * DAY)
    await world.destination.warp(GENESIS + 1)
    with refused("attestation: set expired"):
        await verifier.verify(first)
    await verifier.verify(second)


async def test_the_same_members_sign_anew_for_each_epoch(verifier):
    """A signature made for the old epoch counts for no later one, though the members are the same."""
    members = list(verifier.set.members)
    await rotate(verifier, members=members)
    stale = verifier.build([0, 1], epoch=2)
    with refused("attestation: not signed by the set"):
        await verifier.verify(stale)


async def test_rotate_announces_the_set_in_its_event(verifier):
    receipt = await verifier.chain.act(verifier.address, ROTATE, MEMBERS, 3, FINALITY, 5)
    [log] = receipt.logs
    assert log.topics[1] == (2).to_bytes(32, "big")
    assert int.from_bytes(log.data[:32], "big") == adopt(verifier, threshold=3).set.id
    assert await verifier.chain.read(verifier.address, "epoch()") == 2


@pytest.mark.threat("C5")
async def test_an_outsider_rotates_nothing(verifier):
    for sender in (OUTSIDER, *verifier.set.members):
        with refused("owner: not the owner"):
            await rotate(verifier, sender=Address(sender))


async def test_rotate_must_be_announced_to_the_letter(world):
    verifier = await create_verifier(world.destination, 2, 3, development=False, delay=DAY)
    announced = encode_call(ROTATE, MEMBERS, 2, FINALITY, 0)
    await world.destination.act(verifier.address, "announce(bytes32)", keccak(announced))
    await world.destination.warp(GENESIS + DAY)
    for changes in ({"members": MEMBERS[:3]}, {"threshold": 3}, {"finality": 1}, {"overlap": 1}):
        with refused("owner: not announced"):
            await rotate(verifier, **changes)
    await rotate(verifier)
    with refused("owner: not announced"):
        await rotate(verifier)


@pytest.mark.threat("B3")
@pytest.mark.threat("B4")
@pytest.mark.threat("B10")
@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
async def test_no_set_can_be_adopted_that_is_no_quorum(world, verifier, invalid):
    members, threshold, finality, reason = invalid
    with refused(reason):
        await create(world, members=members, threshold=threshold, finality=finality)
    with refused(reason):
        await rotate(verifier, members=members, threshold=threshold, finality=finality)


@pytest.mark.threat("B6")
async def test_one_signer_is_no_quorum_outside_development(world):
    for members in (MEMBERS[:1], MEMBERS):
        with refused("attestation: one signer is not a quorum"):
            await create(world, development=False, delay=DAY, members=members, threshold=1)
        await create(world, members=members, threshold=1)


async def test_rotate_refuses_an_overlap_beyond_seven_days(verifier):
    with refused("attestation: overlap too long"):
        await rotate(verifier, overlap=7 * DAY + 1)
    await rotate(verifier, overlap=7 * DAY)


async def test_32_members_are_the_most(world):
    await create(world, members=MANY, threshold=32)
    with pytest.raises(Exception, match="revert"):
        await create(world, members=[*MANY, b"\xff" * 20], threshold=32)


async def test_a_verifier_outside_development_has_a_delay_and_an_owner(world):
    with refused("attestation: a delay is needed"):
        await create(world, development=False)
    with refused("owner: zero address"):
        await create(world, owner=bytes(20))


async def test_a_verifier_says_what_it_is(world, verifier):
    real = await create_verifier(world.destination, 2, 3, development=False, delay=DAY)
    for one, development in ((verifier, 1), (real, 0)):
        assert await world.destination.read(one.address, "development()") == development
        assert await world.destination.read(one.address, "assurance()") == 1
    domains = {await world.destination.read(one.address, "domain()") for one in (verifier, real)}
    assert len(domains) == 2
