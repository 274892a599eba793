"""What only the Authority does to a Router; and `snapshot`, which anyone may."""

import pytest

from comity.chain.bindings import SNAPSHOTTED, decode_snapshotted
from comity.compiler import load_artifact
from comity.core.lane import compute_lane, compute_seed, pack_word
from comity.core.types import Direction
from comity.devnet import deploy
from tests.contracts.chain import DAY, refused
from tests.contracts.world import DESTINATION, ORIGIN, OUTSIDER, POLICY

GATE = b"\0" * 12 + b"\xaa" * 20
RECEIVER = b"\x4e" * 20
ACTS = {
    "open_lane(uint256,bytes32)": (77, GATE),
    "set_default_profile(bytes32,(uint256,uint256,uint256,uint256))": (bytes(32), (POLICY, POLICY, 1, DAY)),
    "set_floor(bytes32,uint256)": (bytes(32), 0),
    "set_usable(uint256)": (255,),
}


async def as_authority(world, signature, *values):
    return await world.origin.act(world.source.router, signature, *values, sender=world.source.authority)


@pytest.mark.threat("C5")
@pytest.mark.parametrize("signature", ACTS)
async def test_nobody_but_the_authority_governs_the_router(world, signature):
    for sender in (OUTSIDER, world.origin.account, world.source.gate, world.source.router):
        with refused("router: not the authority"):
            await world.origin.act(world.source.router, signature, *ACTS[signature], sender=sender)


async def test_open_lane_computes_its_id_and_seed(world):
    await as_authority(world, "open_lane(uint256,bytes32)", 77, GATE)
    router = world.source.router
    lane = compute_lane(ORIGIN, b"\0" * 12 + router, 77, GATE)
    assert await world.origin.read(router, "lane_to(uint256)", 77) == int.from_bytes(lane, "big")
    assert await world.origin.read(router, "words(bytes32)", lane) == pack_word(
        0, compute_seed(lane, Direction.DISPATCHES)
    )


async def test_open_lane_is_for_ever(world):
    with refused("router: lane is open"):
        await as_authority(world, "open_lane(uint256,bytes32)", DESTINATION, GATE)


@pytest.mark.threat("A1")
@pytest.mark.parametrize(("destination", "gate"), [(0, GATE), (ORIGIN, GATE), (77, bytes(32))])
async def test_open_lane_refuses_what_is_no_destination(world, destination, gate):
    with refused("router: no such destination"):
        await as_authority(world, "open_lane(uint256,bytes32)", destination, gate)


@pytest.mark.threat("B4")
@pytest.mark.parametrize("word", [1 << 120, 1 << 240], ids=hex)
async def test_set_floor_refuses_what_is_no_policy(world, word):
    with refused("router: policy is not well-formed"):
        await as_authority(world, "set_floor(bytes32,uint256)", world.lane, word)


@pytest.mark.threat("E8")
@pytest.mark.parametrize("zero", ["authority", "gate"])
async def test_a_router_is_built_with_both_of_its_neighbours(world, zero):
    neighbours = {"authority": b"\1" * 20, "gate": b"\2" * 20, zero: bytes(20)}
    with refused("router: zero address"):
        await deploy.create(world.origin, load_artifact("Router"), **neighbours)


async def test_snapshot_keeps_the_word_for_anyone(world):
    await world.origin.send(world.source.router, world.encode_dispatch(RECEIVER))
    receipt = await world.origin.act(world.source.router, "snapshot(bytes32)", world.lane, sender=OUTSIDER)
    word = await world.origin.read(world.source.router, "words(bytes32)", world.lane)
    assert await world.origin.read(world.source.router, "snapshots(bytes32,uint256)", world.lane, 1) == word
    [kept] = [decode_snapshotted(log) for log in receipt.logs if log.topics[0] == SNAPSHOTTED]
    assert (kept.lane, kept.word) == (world.lane, word)


@pytest.mark.threat("A1")
async def test_snapshot_keeps_no_word_of_a_lane_without_envelopes(world):
    for lane in (world.lane, bytes(32), b"\1" * 32):
        with refused("router: nothing to keep"):
            await world.origin.act(world.source.router, "snapshot(bytes32)", lane)
