"""`deliver`: which verifiers count, and that only their own answer to the very question does."""

import pytest

from comity.core.delivery import encode_body
from comity.core.errors import Rejected
from tests.contracts.chain import DAY, GENESIS, refused
from tests.contracts.gate.test_deliver_run import build_body
from tests.contracts.world import FIRST, OUTSIDER, SECOND, THIRD, YES, policy_of

RETIREMENT = 30 * DAY
LIFETIME = GENESIS + 40 * DAY


@pytest.fixture
async def receiver(world):
    return await world.deploy_receiver()


async def owner_act(world, signature, *values):
    await world.destination.act(world.target.authority, signature, *values)


async def test_deliver_refuses_when_a_verifier_reverts(world, sent, receiver):
    sent.add(receiver)
    with refused("verdict: no"):
        await world.deliver(sent.run(proofs={FIRST: b"no"}))


async def test_deliver_refuses_when_one_of_two_verifiers_reverts(world, sent, receiver):
    sent.add(receiver)
    with refused("verdict: no"):
        await world.deliver(sent.run(proofs={FIRST: YES, SECOND: b"no"}))


@pytest.mark.threat("B1")
async def test_deliver_refuses_the_digest_of_another_checkpoint(world, sent, receiver):
    sent.add(receiver)
    with refused("gate: verifier refused"):
        await world.deliver(sent.run(proofs={FIRST: b"lie"}))


@pytest.mark.threat("B1")
@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("5f5ff3", "answers nothing"),
        ("60205ff3", "answers zero"),
        ("600160005260206000f3", "answers one"),
        ("36600060003760206000f3", "answers what it was asked"),
        ("60016000526001601ff3", "answers one byte"),
        ("", "is gone"),
    ],
    ids=lambda value: value if " " in value else "",
)
async def test_deliver_refuses_a_verifier_that_accepts_by_fallback(world, sent, receiver, code, name):
    sent.add(receiver)
    record = await world.destination.read(world.target.gate, "verifiers(uint256)", FIRST)
    await world.destination.rpc.call("anvil_setCode", (record & (1 << 160) - 1).to_bytes(20, "big"), "0x" + code)
    with pytest.raises(Rejected):
        await world.deliver(sent.run())
    assert await world.mark(1) == 0


@pytest.mark.threat("B1")
@pytest.mark.threat("A1")
@pytest.mark.parametrize("index", [4, 7, 119, 120, 255])
async def test_deliver_asks_only_registered_verifiers(world, sent, receiver, index):
    sent.add(receiver)
    with refused("gate: unknown verifier"):
        await world.deliver_body(1, build_body(sent.envelopes, proofs=[(FIRST, YES), (index, YES)]))


@pytest.mark.threat("B10")
@pytest.mark.parametrize("indices", [(FIRST, FIRST), (SECOND, FIRST), (FIRST, THIRD, SECOND)])
async def test_deliver_refuses_proofs_that_do_not_ascend(world, sent, receiver, indices):
    sent.add(receiver)
    with refused("gate: proofs not ascending"):
        await world.deliver_body(1, build_body(sent.envelopes, proofs=[(index, YES) for index in indices]))


async def test_deliver_counts_no_verifier_twice_towards_a_threshold(world, sent):
    policy = policy_of(threshold=2, optional=[FIRST, SECOND])
    sent.add(await world.deploy_receiver(policy), policy=policy)
    with refused("gate: proofs not ascending"):
        await world.deliver_body(1, build_body(sent.envelopes, proofs=[(FIRST, YES), (FIRST, YES)]))


async def test_deliver_refuses_a_revoked_verifier(world, sent, receiver):
    sent.add(receiver)
    await owner_act(world, "revoke(uint256)", FIRST)
    with refused("gate: verifier revoked"):
        await world.deliver(sent.run())


async def test_deliver_refuses_a_suspended_verifier_until_its_time_is_up(world, sent, receiver):
    sent.add(receiver)
    await owner_act(world, "set_guardian(address,bool)", OUTSIDER, True)
    await world.destination.act(world.target.authority, "suspend(uint256,uint256)", FIRST, DAY, sender=OUTSIDER)
    await world.destination.warp(GENESIS + DAY - 1)
    with refused("gate: verifier suspended"):
        await world.deliver(sent.run())
    await world.destination.warp(GENESIS + DAY)
    await world.deliver(sent.run())
    assert await world.mark(1) == 1


async def test_deliver_accepts_a_retired_verifier_for_thirty_days(world, sent, receiver):
    for _ in range(2):
        sent.add(receiver, deliver_before=LIFETIME)
    await owner_act(world, "retire(uint256)", FIRST)
    await world.destination.warp(GENESIS + RETIREMENT)
    await world.deliver(sent.run(1, 1))
    await world.destination.warp(GENESIS + RETIREMENT + 1)
    with refused("gate: verifier retired"):
        await world.deliver(sent.run(2, 2))


async def test_deliver_asks_verifiers_for_nothing_when_all_is_decided(world, sent, receiver):
    sent.add(receiver)
    delivery = sent.run()
    await world.deliver(delivery)
    before = sent.run(proofs={FIRST: b"no"})
    with refused("gate: already delivered"):
        await world.deliver_body(before.before, encode_body(before))
