"""The origin changes its past: nothing orphaned within the finality depth is signed, and beyond it signing stops."""

from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from comity.chain.follower import FinalityViolated
from comity.core.lane import unpack_word
from comity.core.types import Direction, Outcome
from tests.integration.stack.crew import Crew, SteppedRelayer, assert_signed_is_canonical, open_relayer
from tests.integration.stack.world import CHAIN_IDS, ORIGIN, World

DISPATCHES = Direction.DISPATCHES
RULES = {"finalized": 2, "depth:3": 3}
"""And how many blocks must stand upon a final one."""

shallow = pytest.mark.parametrize(
    ("world", "depth"),
    [(rule, depth) for rule, finality in RULES.items() for depth in range(1, finality + 1)],
    indirect=["world"],
)
every_rule = pytest.mark.parametrize(("world", "finality"), list(RULES.items()), indirect=["world"])


async def assert_index_is_the_chain(world: World, relayer: SteppedRelayer) -> None:
    """What the relayer rebuilt from logs is what the Router holds."""
    nonce, accumulator = unpack_word(await world.fetch_word(DISPATCHES))
    assert relayer.store.load_dispatch_head(world.lane) == nonce
    last = relayer.store.load_dispatch(world.lane, nonce)
    assert last is None if nonce == 0 else last is not None and last.dispatch.accumulator == accumulator


async def fetch_health(url: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(url + "/v1/health") as response:
        return response.status, await response.json()


@shallow
@pytest.mark.threat("F6")
async def test_an_orphaned_dispatch_is_never_signed_and_another_takes_its_nonce(
    world: World, crew: Crew, relayer: SteppedRelayer, depth: int
) -> None:
    orphan = await world.dispatch(b"orphan")
    orphaned_word = await world.fetch_word(DISPATCHES)
    await world.origin.mine(depth - 1)
    await crew.attest()
    await relayer.work()
    assert relayer.store.load_dispatch_head(world.lane) == 1

    await world.origin.reorg(depth)
    await crew.attest()
    await relayer.work()
    await assert_index_is_the_chain(world, relayer)
    assert relayer.store.load_dispatch_by_id(orphan.id) is None, "the index rolls back"

    heir = await world.dispatch(b"heir")
    assert heir.envelope.nonce == orphan.envelope.nonce
    await world.origin.mine(depth + 3)
    await crew.attest()
    await relayer.work()
    assert await world.fetch_outcomes(heir.id) == [Outcome.EXECUTED]
    assert await world.fetch_outcomes(orphan.id) == []
    assert orphaned_word not in {record.attested.word for record in crew.load_signed(world)}
    await assert_signed_is_canonical(world, crew)
    await assert_index_is_the_chain(world, relayer)


@shallow
async def test_a_dispatch_that_is_included_again_is_signed_where_it_then_stands(
    world: World, crew: Crew, relayer: SteppedRelayer, depth: int
) -> None:
    sent = await world.dispatch()
    raw = await world.origin.fetch_raw(sent.transaction)
    await world.origin.mine(depth - 1)
    await crew.attest()
    await relayer.work()

    await world.origin.reorg(depth)
    await relayer.work()
    await world.origin.include(raw)
    await world.origin.mine(depth + 3)
    await crew.attest()
    await relayer.work()
    assert await world.fetch_outcomes(sent.id) == [Outcome.EXECUTED]
    heights = [record.attested.height for record in crew.load_signed(world) if record.attested.nonce]
    assert min(heights) >= sent.block + depth, "nothing was signed of the first inclusion"
    await assert_signed_is_canonical(world, crew)
    await assert_index_is_the_chain(world, relayer)


@shallow
async def test_a_reorg_above_a_final_word_changes_nothing_but_what_it_orphaned(
    world: World, crew: Crew, relayer: SteppedRelayer, depth: int
) -> None:
    final = await world.dispatch(b"final")
    await world.origin.mine(depth + 3)
    await crew.attest()
    orphan = await world.dispatch(b"orphan")
    await world.origin.mine(depth - 1)
    await relayer.follow()

    await world.origin.reorg(depth)
    heir = await world.dispatch(b"heir")
    await world.origin.mine(depth + 3)
    assert await crew.attest() == []
    await relayer.work()
    assert await world.fetch_outcomes(final.id) == await world.fetch_outcomes(heir.id) == [Outcome.EXECUTED]
    assert await world.fetch_outcomes(orphan.id) == []
    await assert_signed_is_canonical(world, crew)
    await assert_index_is_the_chain(world, relayer)


async def test_relayer_behind_a_reorg_does_not_deliver_the_orphan_under_the_heirs_word(
    world: World, crew: Crew, relayer: SteppedRelayer
) -> None:
    orphan = await world.dispatch(b"orphan")
    await relayer.work()
    await world.origin.reorg(1)
    heir = await world.dispatch(b"heir")
    await world.origin.mine(2)
    await crew.attest()

    with capture_logs() as logs:
        await relayer.work(follow=False)
    assert "word.contradicted" in {entry["event"] for entry in logs}
    assert await world.fetch_outcomes(orphan.id) == []
    await relayer.work()
    assert await world.fetch_outcomes(heir.id) == [Outcome.EXECUTED]


@every_rule
@pytest.mark.parametrize("is_included_again", [False, True])
@pytest.mark.threat("F6")
async def test_a_reorg_deeper_than_finality_stops_every_attestor_and_the_relayer(
    world: World, crew: Crew, relayer: SteppedRelayer, finality: int, is_included_again: bool
) -> None:
    sent = await world.dispatch(b"final, they said")
    raw = await world.origin.fetch_raw(sent.transaction)
    await world.origin.mine(finality)
    await crew.attest()
    await relayer.follow()
    signed = crew.load_signed(world)
    assert {record.attested.nonce for record in signed} >= {1}

    await world.origin.reorg(finality + 1)
    if is_included_again:
        await world.origin.include(raw)
    with capture_logs() as logs:
        await crew.attest()
    halts = [entry for entry in logs if entry["event"] == "lane.halted"]
    assert [entry["reason"] for entry in halts] == ["a final block was replaced"] * len(crew.attestors)
    assert all(entry["next_step"] for entry in halts)
    for url in crew.urls:
        status, health = await fetch_health(url)
        assert (status, health["status"]) == (503, "halted")

    await world.dispatch(b"after the fall")
    await world.origin.mine(2 * finality)
    await crew.attest()
    assert crew.load_signed(world) == signed, "nothing more is signed"
    await relayer.work()
    assert isinstance(relayer.fallen[CHAIN_IDS[ORIGIN]], FinalityViolated)
    assert await world.count_entries() == 0


async def test_a_new_relayer_after_a_deep_reorg_delivers_nothing_that_was_signed_before(
    world: World, crew: Crew, tmp_path: Path
) -> None:
    await world.dispatch(b"final, they said")
    await world.origin.mine(2)
    await crew.attest()
    await world.origin.reorg(3)
    heir = await world.dispatch(b"heir")
    await world.origin.mine(2)
    async with open_relayer(world.config, tmp_path / "new.sqlite") as relayer:
        await relayer.work()
        await assert_index_is_the_chain(world, relayer)
        assert relayer.fallen == {}
    assert await world.fetch_outcomes(heir.id) == []
    assert await world.count_entries() == 0


async def test_a_halt_survives_the_restart_of_the_attestor(world: World, crew: Crew) -> None:
    await world.dispatch()
    await world.origin.mine(2)
    await crew.attest()
    await world.origin.reorg(3)
    await crew.attest()
    signed = crew.load_signed(world)
    await world.dispatch(b"after the fall")
    await world.origin.mine(4)
    async with crew.restarted(world.config) as reborn:
        await reborn.attest()
        assert reborn.load_signed(world) == signed
        assert (await fetch_health(reborn.urls[0]))[0] == 503
