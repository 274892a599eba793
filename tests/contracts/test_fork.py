"""After a fork of the chain, with the same state under another id, nothing goes on: not one envelope, not one proof."""

import pytest

from comity.core.checkpoint import Checkpoint
from comity.core.delivery import Delivery
from comity.core.types import Direction
from tests.contracts.chain import refused
from tests.contracts.world import ATTESTATION, DEADLINE, DESTINATION, ORIGIN, OUTSIDER, attest

FORK = 900_666
VERIFY = "verify(bytes32,uint256,uint256,bytes)"

pytestmark = pytest.mark.threat("B12")


@pytest.fixture
async def attested(world, sent):
    """A delivery that the attestors signed for the destination."""
    sent.add(await world.deploy_receiver(policy=1 << ATTESTATION), policy=1 << ATTESTATION)
    bare = sent.run(proofs={})
    proof = attest(Checkpoint(world.lane, Direction.DISPATCHES, bare.word), world.attestation)
    return Delivery(bare.before, proofs={ATTESTATION: proof}, entries=bare.entries)


async def test_the_gate_of_a_fork_delivers_nothing(world, attested):
    async with world.destination.as_fork(FORK):
        with refused("gate: wrong chain"):
            await world.deliver(attested)
    await world.deliver(attested)


async def test_the_gate_of_a_fork_expires_nothing(world, attested):
    await world.destination.warp(DEADLINE + 1)
    async with world.destination.as_fork(FORK):
        with refused("gate: wrong chain"):
            await world.expire(attested.entries[0])
    await world.expire(attested.entries[0])


async def test_the_verifier_of_a_fork_accepts_no_old_attestation(world, attested):
    question = (world.lane, 0, attested.word, attested.proofs[ATTESTATION])
    async with world.destination.as_fork(FORK):
        with refused("attestation: wrong chain"):
            await world.destination.act(world.attestation, VERIFY, *question)
    await world.destination.act(world.attestation, VERIFY, *question)


async def test_the_router_of_a_fork_dispatches_nothing(world):
    calldata = world.encode_dispatch(OUTSIDER)
    async with world.origin.as_fork(FORK):
        with refused("router: wrong chain"):
            await world.origin.send(world.source.router, calldata)
    await world.origin.send(world.source.router, calldata)


async def test_the_test_really_changes_the_id_and_nothing_else(world):
    """The contract that returns CHAINID says so."""
    reader = OUTSIDER
    await world.destination.rpc.call("anvil_setCode", reader, "0x465f5260205ff3")
    root = (await world.destination.rpc.fetch_proof(world.target.gate)).storage_root
    async with world.destination.as_fork(FORK):
        assert int.from_bytes(await world.destination.call(reader, b""), "big") == FORK
        assert (await world.destination.rpc.fetch_proof(world.target.gate)).storage_root == root
    assert int.from_bytes(await world.destination.call(reader, b""), "big") == DESTINATION != ORIGIN
