"""`snapshot` of the Gate: anyone keeps the present word of a lane's receipts."""

import pytest

from comity.chain.bindings import SNAPSHOTTED, decode_snapshotted
from tests.contracts.chain import refused
from tests.contracts.world import OUTSIDER


async def test_snapshot_keeps_the_word_for_anyone(world, sent):
    sent.add(await world.deploy_receiver())
    await world.deliver(sent.run())
    receipt = await world.destination.act(world.target.gate, "snapshot(bytes32)", world.lane, sender=OUTSIDER)
    word = await world.word()
    assert await world.destination.read(world.target.gate, "snapshots(bytes32,uint256)", world.lane, 1) == word
    [kept] = [decode_snapshotted(log) for log in receipt.logs if log.topics[0] == SNAPSHOTTED]
    assert (kept.lane, kept.word) == (world.lane, word)


@pytest.mark.threat("A1")
async def test_snapshot_keeps_no_word_of_a_lane_without_receipts(world):
    for lane in (world.lane, bytes(32), b"\1" * 32):
        with refused("gate: nothing to keep"):
            await world.destination.act(world.target.gate, "snapshot(bytes32)", lane)


async def test_a_kept_word_stays_as_it_was(world, sent):
    receiver = await world.deploy_receiver()
    for _ in range(2):
        sent.add(receiver)
    await world.deliver(sent.run(1, 1))
    await world.destination.act(world.target.gate, "snapshot(bytes32)", world.lane)
    word = await world.word()
    await world.deliver(sent.run(2, 2))
    await world.destination.act(world.target.gate, "snapshot(bytes32)", world.lane)
    assert await world.destination.read(world.target.gate, "snapshots(bytes32,uint256)", world.lane, 1) == word
