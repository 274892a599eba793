"""`deliver`: never under less than the sender's policy, the receiver's, and the lane's floor, together."""

from itertools import product

import pytest

from comity.chain.bindings import encode_call
from comity.core.policy import is_satisfied
from comity.core.types import Address
from tests.contracts.chain import refused
from tests.contracts.gate.test_deliver_run import build_body
from tests.contracts.world import FIRST, POLICY, SECOND, THIRD, YES, Sent, policy_of

BOTH = policy_of([FIRST, SECOND])
EITHER = policy_of(threshold=1, optional=[FIRST, SECOND])
TWO_OF_THREE = policy_of(threshold=2, optional=[FIRST, SECOND, THIRD])
POLICIES = (POLICY, BOTH, EITHER, TWO_OF_THREE, policy_of([THIRD], 1, [FIRST, SECOND]))
ACCEPTING = [tuple(n for n in (FIRST, SECOND, THIRD) if mask >> n & 1) for mask in range(2, 16, 2)]

VALUATION_REVERTS, VALUATION_BURNS, VALUATION_IS_SILENT = ((1 << 256) - 1 - n for n in range(3))


def say_yes(*indices):
    return dict.fromkeys(indices, YES)


async def set_policy(world, receiver, policy):
    await world.destination.act(
        world.target.gate, "set_policy(bytes32,address,uint256)", world.lane, receiver, policy, sender=receiver
    )


async def set_tiers(world, receiver, tiers):
    await world.destination.act(
        world.target.gate,
        "set_tiers(bytes32,address,(uint256,uint256)[])",
        world.lane,
        receiver,
        tiers,
        sender=receiver,
    )


async def set_floor(world, policy):
    await world.destination.act(world.target.authority, "set_floor(bytes32,uint256)", world.lane, policy)


@pytest.mark.parametrize("accepting", ACCEPTING, ids=str)
async def test_deliver_executes_exactly_under_the_sender_the_receiver_and_the_floor(world, accepting):
    """S6, for every set of accepting verifiers: every sender's policy with every receiver's and every floor."""
    verified = sum(1 << index for index in accepting)
    for floor in (0, BOTH, TWO_OF_THREE):
        await set_floor(world, floor)
        for asked, accepted in product(POLICIES, POLICIES):
            async with world.destination.rolled_back():
                sent = Sent(world.lane)
                sent.add(await world.deploy_receiver(accepted), policy=asked)
                expected = all(is_satisfied(word, verified) for word in (asked, accepted, floor) if word)
                if expected:
                    await world.deliver(sent.run(proofs=say_yes(*accepting)))
                else:
                    with refused("gate: policy not satisfied"):
                        await world.deliver(sent.run(proofs=say_yes(*accepting)))
                assert await world.mark(1, asked) == expected


async def test_deliver_leaves_a_receiver_without_a_policy(world, sent):
    sent.add(await world.deploy_receiver(policy=0))
    with refused("gate: receiver has no policy"):
        await world.deliver(sent.run(proofs=say_yes(FIRST, SECOND, THIRD)))


@pytest.mark.threat("B4")
@pytest.mark.parametrize(
    "word",
    [0, 1 << 120, 1 << 240, 1 << 240 | 2, 2 << 240 | 2 << 120, 1 << 240 | 2 << 120 | 2, (1 << 256) - 1],
    ids=hex,
)
async def test_deliver_executes_nothing_under_an_ill_formed_policy(world, word):
    """Not even one that the empty set, or any set, would satisfy by arithmetic."""
    sent = Sent(world.lane)
    sent.add(await world.deploy_receiver(), payload=b"")
    encoding = sent.envelopes[0][:128] + word.to_bytes(32, "big") + sent.envelopes[0][160:]
    with refused("gate: policy not satisfied"):
        await world.deliver_body(1, build_body([encoding], proofs=[(index, YES) for index in (FIRST, SECOND, THIRD)]))


async def test_deliver_executes_what_is_satisfied_and_leaves_the_rest_of_a_run(world, sent):
    """Envelopes under another policy, and of another receiver, neither gain from their neighbours nor suffer."""
    weak, strong, closed = [await world.deploy_receiver(policy) for policy in (POLICY, BOTH, 0)]
    for receiver in (weak, strong, weak, closed, weak):
        sent.add(receiver)
    sent.add(weak, policy=BOTH)
    sent.add(weak)
    await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in (1, 2, 3, 4, 5, 7)] == [1, 0, 1, 0, 1, 1]
    assert await world.mark(6, BOTH) == 0
    assert await world.count(weak) == 4


async def test_deliver_reads_the_policy_again_after_a_hook_changed_it(world, sent):
    receiver = await world.deploy_receiver()
    forbid = encode_call("set_policy(bytes32,address,uint256)", world.lane, receiver, BOTH)
    await world.destination.act(receiver, "set_call(address,bytes)", world.target.gate, forbid)
    for _ in range(2):
        sent.add(receiver)
    await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in (1, 2)] == [1, 0]


async def test_deliver_reads_the_policy_of_another_receiver_after_a_hook_changed_it(world, sent):
    other = await world.deploy_receiver()
    owner = await world.deploy_receiver()
    await world.destination.act(other, "set_owner(address)", owner)
    forbid = encode_call("set_policy(bytes32,address,uint256)", world.lane, other, 0)
    await world.destination.act(owner, "set_call(address,bytes)", world.target.gate, forbid)
    for receiver in (other, owner, other):
        sent.add(receiver)
    await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in (1, 2, 3)] == [1, 1, 0]


@pytest.mark.threat("E14")
async def test_deliver_judges_what_is_in_flight_by_the_policy_it_was_sent_under(world, sent):
    """The receiver may ask for more at any time; nobody can make the sender's policy less."""
    receiver = await world.deploy_receiver(policy=EITHER)
    sent.add(receiver, policy=BOTH)
    await set_policy(world, receiver, POLICY)
    with refused("gate: policy not satisfied"):
        await world.deliver(sent.run(proofs=say_yes(FIRST)))
    await world.deliver(sent.run(proofs=say_yes(FIRST, SECOND)))


async def test_deliver_holds_the_floor_against_sender_and_receiver(world, sent):
    sent.add(await world.deploy_receiver())
    await set_floor(world, BOTH)
    with refused("gate: policy not satisfied"):
        await world.deliver(sent.run())
    await set_floor(world, 0)
    await world.deliver(sent.run())


# ------------------------------------------------------------------------------------------------ tiers


@pytest.fixture
async def valuer(world):
    """Takes envelopes worth less than 100 under FIRST, worth less than 1,000 under BOTH, and all others under three."""
    receiver = await world.destination.create("Valuer")
    await set_tiers(world, receiver, [(0, POLICY), (100, BOTH), (1000, policy_of([FIRST, SECOND, THIRD]))])
    return receiver


async def set_worth(world, receiver: Address, worth):
    await world.destination.act(receiver, "set_worth(uint256)", worth)


@pytest.mark.parametrize(
    ("worth", "tier"),
    [(0, 1), (99, 1), (100, 2), (999, 2), (1000, 3), ((1 << 256) - 10, 3)],
)
async def test_deliver_asks_for_the_tier_of_the_receivers_own_valuation(world, sent, valuer, worth, tier):
    sent.add(valuer)
    await set_worth(world, valuer, worth)
    indices = (FIRST, SECOND, THIRD)
    for count in range(1, tier):
        with refused("gate: policy not satisfied"):
            await world.deliver(sent.run(proofs=say_yes(*indices[:count])))
    await world.deliver(sent.run(proofs=say_yes(*indices[:tier])))
    assert await world.mark(1) == 1


@pytest.mark.parametrize(
    "worth", [VALUATION_REVERTS, VALUATION_BURNS, VALUATION_IS_SILENT], ids=["reverts", "burns", "silent"]
)
async def test_deliver_picks_no_tier_when_the_valuation_fails(world, sent, valuer, worth):
    sent.add(valuer)
    await set_worth(world, valuer, worth)
    with refused("gate: valuation failed"):
        await world.deliver(sent.run(proofs=say_yes(FIRST, SECOND, THIRD)))
    assert await world.count(valuer) == 0


@pytest.mark.parametrize("code", ["621000005ff3", "621000005ffd"], ids=["returns", "reverts"])
async def test_deliver_picks_no_tier_when_the_valuation_is_a_bomb(world, sent, valuer, code):
    sent.add(valuer)
    other = sent.add(await world.deploy_receiver())
    await world.destination.rpc.call("anvil_setCode", valuer, "0x" + code)
    await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in (1, other.nonce)] == [0, 1]


async def test_deliver_gives_the_valuation_lane_and_envelope(world, sent, valuer):
    envelope = sent.add(valuer, payload=b"\x2a" * 1000)
    await world.destination.act(valuer, "set_wanted(bytes32,bytes32)", world.lane, b"\1" * 32)
    with refused("gate: valuation failed"):
        await world.deliver(sent.run())
    await world.destination.act(valuer, "set_wanted(bytes32,bytes32)", world.lane, envelope.id)
    await world.deliver(sent.run())


@pytest.mark.threat("C7")
async def test_no_hook_is_running_while_a_receiver_values_an_envelope(world, sent, valuer):
    """Else it would take the envelope before for the one it is asked about."""
    await world.destination.act(valuer, "set_gate(address)", world.target.gate)
    for _ in range(2):
        sent.add(valuer)
    await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in (1, 2)] == [1, 1]


async def test_deliver_forgets_tiers_that_a_policy_replaced(world, sent, valuer):
    await set_policy(world, valuer, BOTH)
    sent.add(valuer)
    with refused("gate: policy not satisfied"):
        await world.deliver(sent.run(proofs=say_yes(FIRST)))


async def test_deliver_never_judges_a_receiver_by_its_neighbours_tiers(world, sent, valuer):
    """A receiver that refuses stands between two envelopes of one that left its weak tiers for a policy."""
    other = await world.destination.create("Valuer")
    await set_tiers(world, other, [(0, policy_of([THIRD]))])
    await set_policy(world, valuer, BOTH)
    sent.add(valuer, policy=BOTH)
    sent.add(other)
    sent.add(valuer)
    await world.deliver(sent.run(1, 1, proofs=say_yes(FIRST, SECOND)))
    with refused("gate: policy not satisfied"):
        await world.deliver(sent.run(2, 3, proofs=say_yes(FIRST)))
    assert await world.mark(3) == 0


async def test_deliver_lets_a_receiver_take_calls_again(world, sent):
    receiver = await world.deploy_receiver(policy=0)
    sent.add(receiver)
    with refused("gate: receiver has no policy"):
        await world.deliver(sent.run())
    await set_policy(world, receiver, POLICY)
    await world.deliver(sent.run())
