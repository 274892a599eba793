"""Emergencies delay and end by themselves: a paused lane, a suspended verifier, evidence of equivocation."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comity.chain.bindings import decode_uint, encode_verifiers
from comity.compiler import load_artifact
from comity.core.checkpoint import Checkpoint
from comity.core.errors import Rejected
from comity.core.policy import Policy
from comity.core.types import Address, Direction, Outcome, Seconds, Word
from comity.devnet.devnet import derive_signer
from comity.sdk.trace import trace
from comity.tiers.attestation import AttestationVerifier, build_proof, sign_checkpoint
from tests.integration.stack.crew import Crew, open_crew, open_relayer, with_attestors
from tests.integration.stack.world import (
    DESTINATION,
    FINALIZED_DEPTH,
    GUARDIAN,
    MAIN,
    ONLY_RESERVE,
    RESERVE,
    SENDER,
    World,
)

EXECUTED = [Outcome.EXECUTED]
HOUR, DAY = 3600, 86_400
LONG = Seconds(20 * DAY)
REPORT = "report(uint256,bytes32,uint256,uint256,bytes,uint256,bytes)"


@pytest.fixture
async def crews(world: World, crew: Crew, tmp_path: Path) -> AsyncIterator[tuple[Crew, Crew]]:
    """The attestors of both verifiers' sets."""
    async with open_crew(world.config, tmp_path, RESERVE) as reserve:
        world.config = with_attestors(world.config, reserve.urls, RESERVE)
        await world.client.adopt(world.config)
        yield crew, reserve


async def sign(world: World, *crews: Crew) -> None:
    await world.origin.mine(FINALIZED_DEPTH)
    for crew in crews:
        await crew.attest()


async def work(world: World, folder: Path) -> None:
    """Run the next process of the relayer until it comes to rest."""
    async with open_relayer(world.config, folder / "relayer.sqlite") as relayer:
        await relayer.work()
        rows = relayer.store.load_pending(world.lane, Seconds(2**40), limit=100)
        assert [row.attempts for row in rows] == [0] * len(rows), "a pause costs no attempt"
        assert relayer.store.load_halts() == []
        assert relayer.store.load_dead(world.lane, limit=1) == []


async def fetch_suspension(world: World) -> int:
    """Seconds until the main verifier counts again."""
    record = decode_uint(await world.destination.rpc.eth_call(world.gate, encode_verifiers(0)))
    return (record >> 200 & (1 << 40) - 1) - (await world.destination.rpc.fetch_block()).timestamp


async def expect_refusal(reason: str, world: World, signature: str, *values: object, by: Address) -> None:
    with pytest.raises(Rejected) as refused:
        await world.act(signature, *values, by=by)
    assert refused.value.reason == reason


async def test_a_paused_lane_delays_deliveries_until_it_ends_by_itself(
    world: World, crew: Crew, tmp_path: Path
) -> None:
    sent = await world.dispatch()
    await sign(world, crew)
    await world.act("pause(bytes32,uint256)", world.lane, HOUR, by=GUARDIAN.address)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(sent.id) == []
    assert ["paused" in obstacle.why for obstacle in (await trace(world.client, sent.id)).obstacles] == [True]

    await world.destination.pass_time(HOUR)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(sent.id) == EXECUTED


async def test_expiry_goes_on_while_the_lane_is_paused(world: World, crew: Crew, tmp_path: Path) -> None:
    patient = await world.dispatch(b"patient", lifetime=LONG)
    hasty = await world.dispatch(b"hasty", lifetime=Seconds(600))
    await sign(world, crew)
    await world.act("pause(bytes32,uint256)", world.lane, DAY, by=GUARDIAN.address)
    await world.destination.pass_time(HOUR)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(hasty.id) == [Outcome.EXPIRED]
    assert await world.fetch_outcomes(patient.id) == []
    await world.destination.pass_time(DAY)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(patient.id) == EXECUTED
    assert await world.fetch_outcomes(hasty.id) == [Outcome.EXPIRED]


async def test_attestors_sign_on_while_the_lane_is_paused(world: World, crew: Crew) -> None:
    """A pause is the Gate's: what becomes final meanwhile is signed, so that a backlog goes at once."""
    await world.act("pause(bytes32,uint256)", world.lane, DAY, by=GUARDIAN.address)
    await world.dispatch()
    await sign(world, crew)
    assert await world.fetch_word(Direction.DISPATCHES) in {each.attested.word for each in crew.load_signed(world)}


async def test_a_guardian_ends_a_pause_early_and_cannot_stop_a_lane_for_more_than_seven_days(
    world: World, crew: Crew, tmp_path: Path
) -> None:
    sent = await world.dispatch()
    await sign(world, crew)
    too_long = "authority: at most 7 days of stops in any 30"
    guardian = GUARDIAN.address
    await expect_refusal(too_long, world, "pause(bytes32,uint256)", world.lane, 7 * DAY + 1, by=guardian)
    await expect_refusal("authority: not a guardian", world, "pause(bytes32,uint256)", world.lane, 1, by=SENDER.address)
    await world.act("pause(bytes32,uint256)", world.lane, 7 * DAY, by=guardian)
    await world.destination.pass_time(60)
    await world.act("resume(bytes32)", world.lane, by=guardian)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(sent.id) == EXECUTED
    await expect_refusal(too_long, world, "pause(bytes32,uint256)", world.lane, 7 * DAY, by=guardian)


async def test_a_suspended_verifier_delays_its_own_envelopes_only(
    world: World, crews: tuple[Crew, Crew], tmp_path: Path
) -> None:
    reserved = await world.deploy_app(load_artifact("Guestbook"), ONLY_RESERVE, is_open=True)
    main = await world.dispatch(b"main", lifetime=LONG)
    other = await world.dispatch(b"reserve", receiver=reserved, policy=ONLY_RESERVE)
    await sign(world, *crews)
    await world.act("suspend(uint256,uint256)", 0, DAY, by=GUARDIAN.address)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(other.id) == EXECUTED
    assert await world.fetch_outcomes(main.id) == []

    await world.destination.pass_time(DAY)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(main.id) == EXECUTED


async def test_a_verifier_that_is_suspended_under_a_running_relayer_holds_up_nobody_else(
    world: World, crews: tuple[Crew, Crew], tmp_path: Path
) -> None:
    """The relayer still believes the verifier live, and offers a run that the Gate refuses."""
    reserved = await world.deploy_app(load_artifact("Guestbook"), ONLY_RESERVE, is_open=True)
    first = await world.dispatch(b"first")
    await sign(world, *crews)
    async with open_relayer(world.config, tmp_path / "relayer.sqlite") as relayer:
        await relayer.work()
        assert await world.fetch_outcomes(first.id) == EXECUTED
        await world.act("suspend(uint256,uint256)", 0, HOUR, by=GUARDIAN.address)
        main = await world.dispatch(b"main")
        other = await world.dispatch(b"reserve", receiver=reserved, policy=ONLY_RESERVE)
        await sign(world, *crews)
        await relayer.work()
        await relayer.work()
        assert await world.fetch_outcomes(other.id) == EXECUTED
        assert await world.fetch_outcomes(main.id) == []


async def test_an_envelope_that_needs_either_of_two_verifiers_survives_the_suspension_of_one(
    world: World, crews: tuple[Crew, Crew], tmp_path: Path
) -> None:
    either = Policy(optional=frozenset({0, 1}), threshold=1)
    app = await world.deploy_app(load_artifact("Guestbook"), either, is_open=True)
    sent = await world.dispatch(receiver=app, policy=either)
    await sign(world, *crews)
    await world.act("suspend(uint256,uint256)", 0, DAY, by=GUARDIAN.address)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(sent.id) == EXECUTED


def build_evidence(world: World, nonce: int, *, signers: int = 3) -> tuple[object, ...]:
    """Two words of one nonce under the signatures of a quorum of the main set; the lower word first."""
    chain = world.config.chains[DESTINATION]
    verifier = AttestationVerifier(chain.id, chain.verifier_addresses[0], development=True)
    attestation_set = world.config.sets[MAIN].attestation_set
    keys = [derive_signer(f"{MAIN} attestor", index) for index in range(signers)]
    told: list[object] = []
    for accumulator in (5, 6):
        checkpoint = Checkpoint(world.lane, Direction.DISPATCHES, Word(nonce << 216 | accumulator))
        signatures = {key.address: sign_checkpoint(key, verifier, checkpoint, attestation_set) for key in keys}
        told += [checkpoint.word, build_proof(checkpoint, attestation_set, signatures)]
    return (0, world.lane, Direction.DISPATCHES.value, *told)


async def test_evidence_of_equivocation_suspends_the_verifier_and_nobody_can_end_that_early(
    world: World, crews: tuple[Crew, Crew], tmp_path: Path
) -> None:
    reserved = await world.deploy_app(load_artifact("Guestbook"), ONLY_RESERVE, is_open=True)
    main = await world.dispatch(b"main", lifetime=LONG)
    other = await world.dispatch(b"reserve", receiver=reserved, policy=ONLY_RESERVE)
    await sign(world, *crews)
    evidence = build_evidence(world, 9)
    await world.act(REPORT, *evidence, by=SENDER.address)
    await expect_refusal("authority: reported already", world, REPORT, *evidence, by=SENDER.address)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(other.id) == EXECUTED
    assert await world.fetch_outcomes(main.id) == []

    await world.act("suspend(uint256,uint256)", 0, HOUR, by=GUARDIAN.address)
    await world.act("reinstate(uint256)", 0, by=GUARDIAN.address)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(main.id) == []

    left = await fetch_suspension(world)
    assert left >= DAY, "the owner has time to revoke"
    await world.destination.pass_time(left)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(main.id) == EXECUTED, "it ends by itself, unless the owner revokes meanwhile"


async def test_evidence_must_be_what_the_verifier_itself_accepts(world: World) -> None:
    index, lane, direction, low, low_proof, high, _ = build_evidence(world, 9)
    by = SENDER.address
    twice = (index, lane, direction, low, low_proof, low, low_proof)
    await expect_refusal("authority: give the lower word first", world, REPORT, *twice, by=by)
    forged = (index, lane, direction, low, low_proof, high, low_proof)
    await expect_refusal("attestation: not signed by the set", world, REPORT, *forged, by=by)
    # A quorum of main is nobody at the reserve's verifier.
    with pytest.raises(Rejected):
        await world.act(REPORT, 1, lane, direction, low, low_proof, high, low_proof, by=by)


async def test_a_revoked_verifier_counts_for_nothing_ever_again(world: World, crew: Crew, tmp_path: Path) -> None:
    sent = await world.dispatch(lifetime=LONG)
    await sign(world, crew)
    await world.act("revoke(uint256)", 0)
    await work(world, tmp_path)
    await world.destination.pass_time(10 * DAY)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(sent.id) == []
    await world.destination.pass_time(11 * DAY)
    await work(world, tmp_path)
    assert await world.fetch_outcomes(sent.id) == [Outcome.EXPIRED], "an exit needs no verifier"
