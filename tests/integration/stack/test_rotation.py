"""The attestation set is rotated while envelopes are in flight: nothing is stranded, and the old set dies in time."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from comity.chain.bindings import encode_call
from comity.config import Config
from comity.core.errors import Rejected
from comity.core.types import Outcome
from comity.devnet.devnet import derive_signer
from tests.integration.stack.crew import Crew, open_crew, open_relayer, with_attestors
from tests.integration.stack.world import DESTINATION, FINALIZED_DEPTH, MAIN, ORIGIN, OWNER, SENDER, World

EXECUTED = [Outcome.EXECUTED]
OVERLAP = 3600
NEW_ROLE = "next"


def build_rotated(config: Config, roles: list[tuple[str, int]]) -> Config:
    """The configuration after the rotation: other members, the next epoch, no attestor known yet."""
    members = ["0x" + derive_signer(f"{role} attestor", index).address.hex() for role, index in roles]
    return with_attestors(config, [], members=members, epoch=2)


async def rotate(world: World, rotated: Config, *, overlap: int = OVERLAP) -> None:
    """Have the owner replace the set at the main verifier of both chains."""
    after = rotated.sets[MAIN].attestation_set
    for name in (ORIGIN, DESTINATION):
        verifier = world.config.chains[name].verifier_addresses[0]
        call = encode_call(
            "rotate(address[],uint256,uint256,uint256)", list(after.members), after.threshold, after.finality, overlap
        )
        await world.chains[name].send(OWNER.address, verifier, call)


async def sign(world: World, *crews: Crew) -> None:
    await world.origin.mine(FINALIZED_DEPTH)
    for crew in crews:
        await crew.attest()


async def work(config: Config, folder: Path, name: str = "relayer") -> list[str]:
    """Run a relayer's process until it comes to rest; the reasons for which the Gate refused its runs."""
    with capture_logs() as logs:
        async with open_relayer(config, folder / f"{name}.sqlite") as relayer:
            await relayer.work()
    return [entry["reason"] for entry in logs if entry["event"] == "run.refused"]


@pytest.mark.parametrize("knows_new_set", [False, True])
async def test_envelopes_in_flight_are_delivered_under_either_set_during_the_overlap(
    world: World, crew: Crew, tmp_path: Path, knows_new_set: bool
) -> None:
    before = await world.dispatch(b"before")
    await sign(world, crew)
    rotated = build_rotated(world.config, [(NEW_ROLE, index) for index in range(4)])
    await rotate(world, rotated)
    async with open_crew(rotated, tmp_path, role=NEW_ROLE) as new_crew:
        after = await world.dispatch(b"after")
        await sign(world, crew, new_crew)
        config = with_attestors(rotated, new_crew.urls) if knows_new_set else world.config
        assert await work(config, tmp_path) == []
    for sent in (before, after):
        assert await world.fetch_outcomes(sent.id) == EXECUTED


async def test_an_expired_set_is_refused_and_the_new_one_delivers_what_it_left(
    world: World, crew: Crew, tmp_path: Path
) -> None:
    early = await world.dispatch(b"signed by the old set")
    await sign(world, crew)
    rotated = build_rotated(world.config, [(NEW_ROLE, index) for index in range(4)])
    await rotate(world, rotated)
    await world.destination.pass_time(OVERLAP + 1)
    late = await world.dispatch(b"signed by both")
    async with open_crew(rotated, tmp_path, role=NEW_ROLE) as new_crew:
        await sign(world, crew, new_crew)
        refused = await work(world.config, tmp_path)
        assert refused
        assert set(refused) == {"attestation: set expired"}
        assert await world.count_entries() == 0

        assert await work(with_attestors(rotated, new_crew.urls), tmp_path) == []
    for sent in (early, late):
        assert await world.fetch_outcomes(sent.id) == EXECUTED


async def test_a_set_whose_key_was_lost_dies_at_once(world: World, crew: Crew, tmp_path: Path) -> None:
    sent = await world.dispatch()
    await sign(world, crew)
    rotated = build_rotated(world.config, [(NEW_ROLE, index) for index in range(4)])
    await rotate(world, rotated, overlap=0)
    await world.destination.pass_time(1)
    assert set(await work(world.config, tmp_path)) == {"attestation: set expired"}
    assert await world.fetch_outcomes(sent.id) == []


async def test_members_who_stay_sign_what_they_signed_before_for_the_new_set_too(
    world: World, crew: Crew, tmp_path: Path
) -> None:
    """One of four is replaced; the others go on with their stores, and never another word."""
    sent = [await world.dispatch(b"before")]
    await sign(world, crew)
    words = {record.attested.word for record in crew.load_signed(world)}
    rotated = build_rotated(world.config, [(MAIN, 0), (MAIN, 1), (MAIN, 2), (NEW_ROLE, 0)])
    await rotate(world, rotated)
    await world.destination.pass_time(OVERLAP + 1)
    staying = Crew(crew.attestors[:3], crew.stores[:3], crew.signers[:3])
    async with staying.restarted(rotated) as stayed:
        await stayed.attest()
        new_set = rotated.sets[MAIN].attestation_set.id
        again = {record.attested.word for record in stayed.load_signed(world) if record.set_id == new_set}
        assert again == words
        assert await work(with_attestors(rotated, stayed.urls), tmp_path) == []

        sent.append(await world.dispatch(b"after"))
        await sign(world, stayed)
        assert await work(with_attestors(rotated, stayed.urls), tmp_path) == []
    for each in sent:
        assert await world.fetch_outcomes(each.id) == EXECUTED


async def test_a_forgotten_member_is_told_so_when_its_configuration_is_the_new_one(
    world: World, crew: Crew, tmp_path: Path
) -> None:
    rotated = build_rotated(world.config, [(MAIN, 0), (MAIN, 1), (MAIN, 2), (NEW_ROLE, 0)])
    with pytest.raises(Exception, match="no member of any configured set"):
        async with crew.restarted(rotated):
            pass


async def test_only_the_owner_rotates(world: World) -> None:
    rotated = build_rotated(world.config, [(NEW_ROLE, index) for index in range(4)]).sets[MAIN].attestation_set
    verifier = world.config.chains[DESTINATION].verifier_addresses[0]
    call = encode_call(
        "rotate(address[],uint256,uint256,uint256)", list(rotated.members), rotated.threshold, rotated.finality, 0
    )
    with pytest.raises(Rejected) as refused:
        await world.destination.send(SENDER.address, verifier, call)
    assert refused.value.reason == "owner: not the owner"
