"""The destination forgets a delivery: the relayer notices, delivers again, and every outcome stands once."""

from pathlib import Path

import pytest

from comity.chain.follower import FinalityViolated
from comity.core.lane import unpack_word
from comity.core.types import Direction, Outcome
from tests.integration.stack.crew import Crew, SteppedRelayer, assert_signed_is_canonical, open_relayer
from tests.integration.stack.world import CHAIN_IDS, DESTINATION, FINALIZED_DEPTH, RELAYER, World

EXECUTED = [Outcome.EXECUTED]
RECEIPTS = Direction.RECEIPTS
any_depth = pytest.mark.parametrize("depth", range(1, FINALIZED_DEPTH + 2))
pytestmark = pytest.mark.threat("F6")


async def assert_index_is_the_chain(world: World, relayer: SteppedRelayer) -> None:
    """The receipts that the relayer rebuilt from logs are those of the Gate."""
    position, accumulator = unpack_word(await world.fetch_word(RECEIPTS))
    assert relayer.store.load_receipt_head(world.lane) == position
    rows = list(relayer.store.load_receipts(world.lane, position, position))
    assert [row.accumulator for row in rows] == ([accumulator] if position else [])


async def sign(world: World, crew: Crew) -> None:
    """Let what was dispatched become final, and be signed."""
    await world.origin.mine(FINALIZED_DEPTH)
    await crew.attest()


@any_depth
async def test_a_delivery_that_was_reorganised_away_is_delivered_again(
    world: World, crew: Crew, relayer: SteppedRelayer, depth: int
) -> None:
    sent = await world.dispatch()
    await sign(world, crew)
    await relayer.work()
    assert await world.fetch_outcomes(sent.id) == EXECUTED
    await world.destination.mine(depth - 1)
    await world.destination.reorg(depth)
    assert await world.fetch_outcomes(sent.id) == []

    await relayer.follow()
    await assert_index_is_the_chain(world, relayer)
    await relayer.work()
    assert await world.fetch_outcomes(sent.id) == EXECUTED
    assert await world.count_entries() == 1
    await assert_index_is_the_chain(world, relayer)
    await world.destination.mine(FINALIZED_DEPTH)
    await crew.attest(CHAIN_IDS[DESTINATION])
    await assert_signed_is_canonical(world, crew)


async def test_only_the_deliveries_that_were_orphaned_are_repeated(
    world: World, crew: Crew, relayer: SteppedRelayer
) -> None:
    kept = await world.dispatch(b"kept")
    await sign(world, crew)
    await relayer.work()
    lost = [await world.dispatch(b"lost") for _ in range(3)]
    await sign(world, crew)
    await relayer.work()
    await world.destination.reorg(1)
    assert await world.fetch_outcomes(kept.id) == EXECUTED

    await relayer.work()
    for sent in (kept, *lost):
        assert await world.fetch_outcomes(sent.id) == EXECUTED
    assert await world.count_entries() == 4
    await assert_index_is_the_chain(world, relayer)


async def test_a_delivery_that_is_included_again_is_not_repeated(
    world: World, crew: Crew, relayer: SteppedRelayer
) -> None:
    sent = await world.dispatch()
    await sign(world, crew)
    await relayer.work()
    receipt = relayer.store.load_receipt_of(world.lane, sent.id)
    assert receipt is not None
    raw = await world.destination.fetch_raw(receipt.tx_hash)
    await world.destination.reorg(1)
    await world.destination.include(raw)

    await relayer.work()
    assert await world.fetch_outcomes(sent.id) == EXECUTED
    assert await world.destination.rpc.transaction_count(RELAYER.address) == 1
    await assert_index_is_the_chain(world, relayer)


@any_depth
async def test_a_relayer_that_was_down_during_the_reorg_delivers_again(
    world: World, crew: Crew, tmp_path: Path, depth: int
) -> None:
    sent = await world.dispatch()
    await sign(world, crew)
    async with open_relayer(world.config, tmp_path / "relayer.sqlite") as relayer:
        await relayer.work()
    await world.destination.mine(depth - 1)
    await world.destination.reorg(depth)
    async with open_relayer(world.config, tmp_path / "relayer.sqlite") as relayer:
        await relayer.work()
        await assert_index_is_the_chain(world, relayer)
    assert await world.fetch_outcomes(sent.id) == EXECUTED
    assert await world.count_entries() == 1


async def test_a_final_delivery_that_vanishes_stops_relayer_and_attestors(
    world: World, crew: Crew, relayer: SteppedRelayer, tmp_path: Path
) -> None:
    sent = await world.dispatch()
    await sign(world, crew)
    await relayer.work()
    await world.destination.mine(FINALIZED_DEPTH)
    await relayer.follow()
    await crew.attest(CHAIN_IDS[DESTINATION])
    signed = crew.load_signed(world, RECEIPTS)
    assert {record.attested.nonce for record in signed} >= {1}
    await world.destination.reorg(FINALIZED_DEPTH + 1)

    await relayer.work()
    assert isinstance(relayer.fallen[CHAIN_IDS[DESTINATION]], FinalityViolated)
    await crew.attest(CHAIN_IDS[DESTINATION])
    halts = {(halt.lane, halt.direction) for store in crew.stores for halt in store.load_halts()}
    assert halts == {(world.lane, RECEIPTS)}, "dispatches are another direction, of another chain"
    assert crew.load_signed(world, RECEIPTS) == signed

    # The operator looked, and starts with an empty store.
    async with open_relayer(world.config, tmp_path / "new.sqlite") as fresh:
        await fresh.work()
        await assert_index_is_the_chain(world, fresh)
    assert await world.fetch_outcomes(sent.id) == EXECUTED
    assert await world.count_entries() == 1
