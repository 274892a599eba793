"""The delayed owner: nothing happens that was not visible for the whole delay, and nobody else makes it happen."""

import pytest

from comity.chain.bindings import encode_call
from comity.compiler import load_artifact
from comity.core.keccak import keccak
from comity.core.lane import compute_lane
from comity.core.types import Address, to_address32
from comity.devnet import deploy
from tests.contracts.authority.conftest import DELAY
from tests.contracts.chain import DAY, refused
from tests.contracts.world import DESTINATION, OUTSIDER

SUCCESSOR = Address(b"\x5c" * 20)
ACCOUNT = to_address32(b"\xab" * 20)
STALE_AFTER = 14 * DAY


def owner_acts(production):
    """Every act that waits, with arguments that would be accepted."""
    return {
        "open_outgoing(uint256,bytes32)": (5, ACCOUNT),
        "open_incoming(uint256,bytes32)": (5, ACCOUNT),
        "register(address)": (production.endpoint.router,),
        "retire(uint256)": (0,),
        "revoke(uint256)": (0,),
        "set_floor(bytes32,uint256)": (production.lane, 1),
        "set_front_floor(bytes32,uint256)": (production.lane, 1),
        "set_default_profile(bytes32,(uint256,uint256,uint256,uint256))": (production.lane, (1, 1, 1, 1)),
        "set_guardian(address,bool)": (OUTSIDER, True),
        "transfer_ownership(address)": (SUCCESSOR,),
    }


ACTS = [
    "open_outgoing(uint256,bytes32)",
    "open_incoming(uint256,bytes32)",
    "register(address)",
    "retire(uint256)",
    "revoke(uint256)",
    "set_floor(bytes32,uint256)",
    "set_front_floor(bytes32,uint256)",
    "set_default_profile(bytes32,(uint256,uint256,uint256,uint256))",
    "set_guardian(address,bool)",
    "transfer_ownership(address)",
]


@pytest.mark.threat("C5")
@pytest.mark.parametrize("act", ACTS)
async def test_an_outsider_performs_no_act_of_the_owner_though_it_is_due(production, act):
    values = owner_acts(production)[act]
    await production.announce(act, *values)
    await production.pass_time(DELAY)
    for sender in (OUTSIDER, production.endpoint.gate, production.endpoint.router, production.authority):
        with refused("owner: not the owner"):
            await production.chain.act(production.authority, act, *values, sender=sender)


@pytest.mark.parametrize("act", ACTS)
async def test_the_owner_performs_no_act_that_was_not_announced(production, act):
    with refused("owner: not announced"):
        await production.chain.act(production.authority, act, *owner_acts(production)[act])


@pytest.mark.parametrize("act", ACTS)
async def test_the_owner_performs_an_announced_act_no_sooner_than_the_delay(production, act):
    values = owner_acts(production)[act]
    await production.announce(act, *values)
    await production.pass_time(DELAY - 1)
    with refused("owner: still delayed"):
        await production.chain.act(production.authority, act, *values)


@pytest.mark.parametrize("act", ACTS)
async def test_an_announcement_is_of_the_act_to_the_letter(production, act):
    """Another argument is another act, and so is another function with the same arguments."""
    values = owner_acts(production)[act]
    await production.announce(act, *values)
    await production.pass_time(DELAY)
    calldata = encode_call(act, *values)
    for at in range(4, len(calldata), 32):
        changed = calldata[: at + 31] + bytes([calldata[at + 31] ^ 1]) + calldata[at + 32 :]
        with pytest.raises(Exception, match=r"owner: not announced|execution reverted"):
            await production.chain.send(production.authority, changed)


async def test_an_announcement_serves_once(production):
    act, values = "set_floor(bytes32,uint256)", (production.lane, 1)
    await production.perform(act, *values)
    with refused("owner: not announced"):
        await production.chain.act(production.authority, act, *values)


async def test_an_announcement_that_nobody_used_goes_stale(production):
    act, values = "set_floor(bytes32,uint256)", (production.lane, 1)
    await production.announce(act, *values)
    await production.pass_time(DELAY + STALE_AFTER)
    async with production.chain.rolled_back():
        await production.chain.act(production.authority, act, *values)
    await production.pass_time(1)
    with refused("owner: announcement is stale"):
        await production.chain.act(production.authority, act, *values)


async def test_an_announcement_that_was_withdrawn_is_none(production):
    act, values = "set_floor(bytes32,uint256)", (production.lane, 1)
    await production.announce(act, *values)
    await production.chain.act(production.authority, "withdraw(bytes32)", keccak(encode_call(act, *values)))
    await production.pass_time(DELAY)
    with refused("owner: not announced"):
        await production.chain.act(production.authority, act, *values)


@pytest.mark.threat("C5")
async def test_an_outsider_neither_announces_nor_withdraws(production):
    for signature in ("announce(bytes32)", "withdraw(bytes32)"):
        with refused("owner: not the owner"):
            await production.chain.act(production.authority, signature, bytes(32), sender=OUTSIDER)


async def test_ownership_passes_in_two_steps(production):
    await production.perform("transfer_ownership(address)", SUCCESSOR)
    for sender in (OUTSIDER, production.chain.account):
        with refused("owner: not the successor"):
            await production.chain.act(production.authority, "accept_ownership()", sender=sender)
    assert await production.chain.read(production.authority, "owner()") == int.from_bytes(
        production.chain.account, "big"
    )
    await production.chain.act(production.authority, "accept_ownership()", sender=SUCCESSOR)
    with refused("owner: not the owner"):
        await production.chain.act(production.authority, "announce(bytes32)", bytes(32))
    await production.chain.act(production.authority, "announce(bytes32)", bytes(32), sender=SUCCESSOR)
    with refused("owner: not the successor"):
        await production.chain.act(production.authority, "accept_ownership()", sender=SUCCESSOR)


@pytest.mark.threat("E8")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"owner": bytes(20)}, "owner: zero address"),
        ({"router": bytes(20)}, "authority: zero address"),
        ({"gate": bytes(20)}, "authority: zero address"),
        ({"delay": 0}, "authority: a delay of at least a day is needed"),
        ({"delay": DAY - 1}, "authority: a delay of at least a day is needed"),
    ],
    ids=str,
)
async def test_an_authority_is_built_with_an_owner_a_delay_and_its_neighbours(world, changes, reason):
    sound = {"owner": OUTSIDER, "router": b"\1" * 20, "gate": b"\2" * 20, "delay": DAY, "development": False}
    await deploy.create(world.destination, load_artifact("Authority"), **sound)
    with refused(reason):
        await deploy.create(world.destination, load_artifact("Authority"), **(sound | changes))


async def test_an_open_lane_is_opened_on_its_own_contract(production):
    await production.perform("open_outgoing(uint256,bytes32)", 5, ACCOUNT)
    router = production.endpoint.router
    lane = compute_lane(DESTINATION, to_address32(router), 5, ACCOUNT)
    assert await production.chain.read(router, "lane_to(uint256)", 5) == int.from_bytes(lane, "big")
    incoming = await production.chain.read(production.endpoint.gate, "lane_from(uint256)", 77)
    assert incoming == int.from_bytes(production.lane, "big")


async def test_floors_and_profiles_arrive_where_they_belong(production):
    profile = (1, 1, 5, DAY)
    await production.perform("open_outgoing(uint256,bytes32)", 5, ACCOUNT)
    router, gate, chain = production.endpoint.router, production.endpoint.gate, production.chain
    outgoing = (await chain.read(router, "lane_to(uint256)", 5)).to_bytes(32, "big")
    await production.perform("set_floor(bytes32,uint256)", production.lane, 1)
    await production.perform("set_front_floor(bytes32,uint256)", outgoing, 1)
    set_default = "set_default_profile(bytes32,(uint256,uint256,uint256,uint256))"
    await production.perform(set_default, outgoing, profile)
    assert await chain.read(gate, "floors(bytes32)", production.lane) == 1
    assert await chain.read(router, "floors(bytes32)", outgoing) == 1
    kept = await chain.call(router, encode_call("profiles(bytes32,address)", outgoing, bytes(20)))
    assert kept == b"".join(value.to_bytes(32, "big") for value in profile)
