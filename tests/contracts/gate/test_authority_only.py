"""What only the Authority does to a Gate, and what not even it can do."""

import pytest

from comity.compiler import load_artifact
from comity.core.lane import compute_lane, compute_seed, pack_word
from comity.core.types import Direction
from comity.devnet import deploy
from tests.contracts.chain import DAY, GENESIS, refused
from tests.contracts.world import DESTINATION, FIRST, ORIGIN, OUTSIDER, SECOND, policy_of

ROUTER = b"\0" * 12 + b"\xaa" * 20
ACTS = {
    "open_lane(uint256,bytes32)": (77, ROUTER),
    "set_verifier(uint256,uint256)": (4, 1 << 159),
    "set_floor(bytes32,uint256)": (bytes(32), 0),
    "set_paused(bytes32,uint256)": (bytes(32), 0),
}
REVOKED = 1 << 240


async def as_authority(world, signature, *values):
    return await world.destination.act(world.target.gate, signature, *values, sender=world.target.authority)


@pytest.mark.threat("C5")
@pytest.mark.parametrize("signature", ACTS)
async def test_nobody_but_the_authority_governs_the_gate(world, signature):
    for sender in (OUTSIDER, world.destination.account, world.target.router, world.target.gate):
        with refused("gate: not the authority"):
            await world.destination.act(world.target.gate, signature, *ACTS[signature], sender=sender)


async def test_open_lane_computes_its_id_and_seed(world):
    await as_authority(world, "open_lane(uint256,bytes32)", 77, ROUTER)
    gate = world.target.gate
    lane = compute_lane(77, ROUTER, DESTINATION, b"\0" * 12 + gate)
    assert await world.destination.read(gate, "lane_from(uint256)", 77) == int.from_bytes(lane, "big")
    seed = pack_word(0, compute_seed(lane, Direction.RECEIPTS))
    assert await world.destination.read(gate, "words(bytes32)", lane) == seed


async def test_open_lane_is_for_ever(world):
    with refused("gate: lane is open"):
        await as_authority(world, "open_lane(uint256,bytes32)", ORIGIN, ROUTER)


@pytest.mark.threat("A1")
@pytest.mark.parametrize(("origin", "router"), [(0, ROUTER), (DESTINATION, ROUTER), (1 << 48, ROUTER), (77, bytes(32))])
async def test_open_lane_refuses_what_is_no_origin(world, origin, router):
    with refused("gate: no such origin"):
        await as_authority(world, "open_lane(uint256,bytes32)", origin, router)


async def test_set_verifier_appends_only_the_next_index(world):
    for index in (5, 119, 1 << 255):
        with refused("gate: not the next index"):
            await as_authority(world, "set_verifier(uint256,uint256)", index, 1)
    await as_authority(world, "set_verifier(uint256,uint256)", 4, 1)
    assert await world.destination.read(world.target.gate, "verifier_count()") == 5


async def test_set_verifier_appends_at_most_120(world):
    for index in range(4, 120):
        await as_authority(world, "set_verifier(uint256,uint256)", index, index)
    with refused("gate: not the next index"):
        await as_authority(world, "set_verifier(uint256,uint256)", 120, 1)


async def test_set_verifier_never_changes_what_an_index_means(world):
    record = await world.destination.read(world.target.gate, "verifiers(uint256)", FIRST)
    with refused("gate: an index never changes its meaning"):
        await as_authority(world, "set_verifier(uint256,uint256)", FIRST, record ^ 1)
    await as_authority(world, "set_verifier(uint256,uint256)", FIRST, record | REVOKED)


@pytest.mark.threat("B3")
async def test_set_verifier_refuses_the_zero_verifier(world):
    for index in (FIRST, 4):
        with refused("gate: zero verifier"):
            await as_authority(world, "set_verifier(uint256,uint256)", index, REVOKED)


@pytest.mark.threat("B4")
@pytest.mark.parametrize("word", [1 << 120, 1 << 240, 1 << 4], ids=hex)
async def test_set_floor_refuses_what_is_no_policy_of_this_gate(world, word):
    with refused("gate: policy is not well-formed"):
        await as_authority(world, "set_floor(bytes32,uint256)", world.lane, word)


async def test_a_floor_and_a_pause_need_an_open_lane(world):
    for signature, value in (("set_floor(bytes32,uint256)", 1), ("set_paused(bytes32,uint256)", GENESIS)):
        with refused("gate: unknown lane"):
            await as_authority(world, signature, b"\1" * 32, value)


async def test_a_pause_ends_within_seven_days(world):
    with refused("gate: a pause ends within 7 days"):
        await as_authority(world, "set_paused(bytes32,uint256)", world.lane, GENESIS + 7 * DAY + 1)
    await as_authority(world, "set_paused(bytes32,uint256)", world.lane, GENESIS + 7 * DAY)


async def test_floor_and_pause_of_a_lane_keep_out_of_each_others_way(world, sent):
    floor = policy_of([FIRST, SECOND])
    await as_authority(world, "set_floor(bytes32,uint256)", world.lane, floor)
    await as_authority(world, "set_paused(bytes32,uint256)", world.lane, GENESIS + DAY)
    sent.add(await world.deploy_receiver())
    with refused("gate: lane paused"):
        await world.deliver(sent.run())
    await as_authority(world, "set_paused(bytes32,uint256)", world.lane, GENESIS)
    with refused("gate: policy not satisfied"):
        await world.deliver(sent.run())
    assert await world.destination.read(world.target.gate, "lane_from(uint256)", ORIGIN) == int.from_bytes(
        world.lane, "big"
    )


@pytest.mark.threat("E8")
@pytest.mark.parametrize("zero", ["authority", "router"])
async def test_a_gate_is_built_with_both_of_its_neighbours(world, zero):
    neighbours = {"authority": b"\1" * 20, "router": b"\2" * 20, zero: bytes(20)}
    with refused("gate: zero address"):
        await deploy.create(world.destination, load_artifact("Gate"), **neighbours)
