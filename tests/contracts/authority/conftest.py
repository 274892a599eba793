"""An Authority as in production: its acts wait a day, and it takes no development verifiers."""

from dataclasses import dataclass
from typing import Any

import pytest

from comity.chain.bindings import encode_call
from comity.core.keccak import keccak
from comity.core.lane import compute_lane
from comity.core.types import Address, ChainId, Lane, Seconds, to_address32
from comity.devnet import deploy
from tests.contracts.chain import DAY, Chain
from tests.contracts.world import DESTINATION

DELAY = DAY
ORIGIN = ChainId(77)
ROUTER = to_address32(b"\xaa" * 20)
GUARDIAN = Address(b"\x67" * 20)
OTHER_GUARDIAN = Address(b"\x68" * 20)


@dataclass(frozen=True)
class Production:
    """The contracts of one chain, owned by its account, and a lane from elsewhere."""

    chain: Chain
    endpoint: deploy.Endpoint
    lane: Lane

    @property
    def authority(self) -> Address:
        return self.endpoint.authority

    async def now(self) -> int:
        """The clock, in seconds."""
        return (await self.chain.rpc.fetch_block()).timestamp

    async def announce(self, signature: str, *values: Any) -> None:
        """Announce an act of the owner."""
        await self.chain.act(self.authority, "announce(bytes32)", keccak(encode_call(signature, *values)))

    async def perform(self, signature: str, *values: Any) -> None:
        """Announce an act of the owner, wait, and perform it."""
        await self.announce(signature, *values)
        await self.chain.warp(await self.now() + DELAY)
        await self.chain.act(self.authority, signature, *values)

    async def pass_time(self, seconds: int) -> None:
        """Move the clock on."""
        await self.chain.warp(await self.now() + seconds)

    async def record(self, index: int) -> int:
        """A verifier's record, which Authority and Gate must hold alike."""
        held = await self.chain.read(self.authority, "verifiers(uint256)", index)
        assert held == await self.chain.read(self.endpoint.gate, "verifiers(uint256)", index)
        return held

    async def usable(self) -> int:
        """The mask that the Router keeps for return policies."""
        return await self.chain.read(self.endpoint.router, "usable()")


@pytest.fixture
async def production(world):
    """With a lane, two guardians, and one registered verifier."""
    chain = world.destination
    terms = deploy.Terms(owner=chain.account, delay=Seconds(DELAY), development=False)
    endpoint = await deploy.deploy_endpoint(chain, chain.chain, terms)
    lane = compute_lane(ORIGIN, ROUTER, DESTINATION, to_address32(endpoint.gate))
    made = Production(chain, endpoint, lane)
    await made.perform("open_incoming(uint256,bytes32)", ORIGIN, ROUTER)
    await made.perform("register(address)", await chain.create("Verdict", development=False))
    for guardian in (GUARDIAN, OTHER_GUARDIAN):
        await made.perform("set_guardian(address,bool)", guardian, True)
    return made
