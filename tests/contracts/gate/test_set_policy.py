"""`set_policy` and `set_tiers`: by the receiver itself, or by whoever its owner() names at this moment."""

import pytest
from eth_abi.abi import decode as abi_decode

from comity.chain.bindings import encode_call, encode_set_policy
from comity.core.types import Address
from tests.contracts.chain import refused
from tests.contracts.world import ACCEPT, FIRST, OUTSIDER, POLICY, SECOND, policy_of

BOTH = policy_of([FIRST, SECOND])
UNREGISTERED = 1 << 4
SET_TIERS = "set_tiers(bytes32,address,(uint256,uint256)[])"
ILL_FORMED = [1 << 120, 1 << 240, 1 << 240 | 1, (1 << 256) - 1]
NOT_THEIRS = "gate: not the receiver or its owner"


@pytest.fixture
async def receiver(world):
    return await world.deploy_receiver(policy=0, mode=ACCEPT)


def encode_setters(world, receiver):
    return (
        encode_set_policy(world.lane, receiver, POLICY),
        encode_call(SET_TIERS, world.lane, receiver, [(0, POLICY)]),
    )


async def read_policy(world, receiver):
    return await world.destination.read(world.target.gate, "policy_of(bytes32,address)", world.lane, receiver)


async def test_the_receiver_sets_its_own_policy(world, receiver):
    await world.destination.send(world.target.gate, encode_set_policy(world.lane, receiver, BOTH), sender=receiver)
    assert await read_policy(world, receiver) == BOTH


async def test_the_receivers_owner_sets_its_policy(world, receiver):
    await world.destination.send(world.target.gate, encode_set_policy(world.lane, receiver, BOTH))
    assert await read_policy(world, receiver) == BOTH


@pytest.mark.threat("C5")
async def test_an_outsider_sets_no_policy(world, receiver):
    for calldata in encode_setters(world, receiver):
        with refused(NOT_THEIRS):
            await world.destination.send(world.target.gate, calldata, sender=OUTSIDER)


@pytest.mark.threat("B13")
async def test_a_former_owner_sets_no_policy(world, receiver):
    await world.destination.act(receiver, "set_owner(address)", OUTSIDER)
    for calldata in encode_setters(world, receiver):
        with refused(NOT_THEIRS):
            await world.destination.send(world.target.gate, calldata)
        await world.destination.send(world.target.gate, calldata, sender=OUTSIDER)


@pytest.mark.threat("B13")
async def test_the_owner_of_one_receiver_sets_no_policy_of_another(world, receiver):
    other = await world.deploy_receiver(policy=0)
    await world.destination.act(other, "set_owner(address)", OUTSIDER)
    with refused(NOT_THEIRS):
        await world.destination.send(
            world.target.gate, encode_set_policy(world.lane, receiver, POLICY), sender=OUTSIDER
        )


@pytest.mark.threat("B3")
@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("", "no code"),
        ("00", "answers nothing"),
        ("60205ff3", "answers the zero owner"),
        ("fe", "burns"),
        ("5f5ffd", "reverts"),
        ("73" + OUTSIDER.hex() + "5f52601f6001f3", "answers 31 bytes"),
        ("73" + b"\xff".hex() * 20 + "5f5260205ff3", "names another"),
        ("7f" + "01" * 12 + OUTSIDER.hex() + "5f5260205ff3", "names no account"),
    ],
    ids=lambda value: value if " " in value or value.isalpha() else "",
)
async def test_an_outsider_sets_no_policy_whatever_owner_answers(world, code, name):
    receiver = Address(b"\xc0" * 20)
    await world.destination.rpc.call("anvil_setCode", receiver, "0x" + code)
    for calldata in encode_setters(world, receiver):
        with refused(NOT_THEIRS):
            await world.destination.send(world.target.gate, calldata, sender=OUTSIDER)


async def test_owner_cannot_change_anything_while_it_is_asked(world, receiver):
    """owner() is a static call: one that writes fails, and so does the setter."""
    hostile = Address(b"\xc1" * 20)
    await world.destination.rpc.call("anvil_setCode", hostile, "0x60015f55" + "73" + OUTSIDER.hex() + "5f5260205ff3")
    with refused(NOT_THEIRS):
        await world.destination.send(world.target.gate, encode_set_policy(world.lane, hostile, POLICY), sender=OUTSIDER)


async def test_a_policy_of_the_zero_receiver_cannot_be_set(world):
    for calldata in encode_setters(world, Address(bytes(20))):
        with refused("gate: zero receiver"):
            await world.destination.send(world.target.gate, calldata, sender=OUTSIDER)


async def test_a_policy_needs_an_open_lane(world, receiver):
    for calldata in encode_setters(world, receiver):
        with refused("gate: unknown lane"):
            await world.destination.send(world.target.gate, calldata[:4] + b"\1" * 32 + calldata[36:])


@pytest.mark.threat("B4")
@pytest.mark.parametrize("word", [*ILL_FORMED, UNREGISTERED, UNREGISTERED | POLICY], ids=hex)
async def test_a_policy_is_well_formed_and_names_registered_verifiers(world, receiver, word):
    with refused("gate: policy is not well-formed"):
        await world.destination.send(world.target.gate, encode_set_policy(world.lane, receiver, word))
    with refused("gate: policy is not well-formed"):
        await world.destination.act(world.target.gate, SET_TIERS, world.lane, receiver, [(0, POLICY), (1, word)])


@pytest.mark.threat("B4")
async def test_no_tier_takes_calls_under_nothing(world, receiver):
    with refused("gate: policy is not well-formed"):
        await world.destination.act(world.target.gate, SET_TIERS, world.lane, receiver, [(0, 0)])


@pytest.mark.parametrize("minima", [[0, 0], [0, 2, 2], [0, 2, 1]], ids=str)
async def test_tiers_ascend(world, receiver, minima):
    tiers = [(minimum, POLICY) for minimum in minima]
    with refused("gate: tiers not ascending"):
        await world.destination.act(world.target.gate, SET_TIERS, world.lane, receiver, tiers)


async def test_tiers_start_at_zero(world, receiver):
    for tiers in ([], [(1, POLICY)]):
        with refused("gate: tiers start at 0"):
            await world.destination.act(world.target.gate, SET_TIERS, world.lane, receiver, tiers)


async def test_tiers_are_kept_as_set(world, receiver):
    tiers = ((0, POLICY), (5, BOTH), (6, POLICY), (7, BOTH))
    await world.destination.act(world.target.gate, SET_TIERS, world.lane, receiver, tiers)
    view = encode_call("tiers_of(bytes32,address)", world.lane, receiver)
    [kept] = abi_decode(["(uint256,uint256)[]"], await world.destination.call(world.target.gate, view))
    assert kept == tiers
