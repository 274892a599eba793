"""One round of an attestor in a process of its own, to be killed at a failpoint: URLs and lane come as JSON in argv."""

import asyncio
import json
import sys
from pathlib import Path

from keeper_chain import CHAIN_ID, FINALITY, OTHER_CHAIN_ID, SET, SIGNERS, VERIFIER

from comity.agents.attestor import AttestedChain, Attestor, Duty
from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import Rpc
from comity.core.lane import compute_lane
from comity.core.types import Address32, Direction
from comity.store.port import LaneRecord
from comity.store.sqlite import SqliteStore


async def main() -> None:
    given = json.loads(sys.argv[1])
    router, gate = Address32(bytes.fromhex(given["router"])), Address32(bytes.fromhex(given["gate"]))
    lane = compute_lane(CHAIN_ID, router, OTHER_CHAIN_ID, gate)
    duty = Duty("one->two", LaneRecord(lane, CHAIN_ID, router, OTHER_CHAIN_ID, gate), Direction(0), VERIFIER, SET)
    quorum = ProviderQuorum([Rpc(url) for url in given["urls"]], 2)
    store = SqliteStore(Path(given["store"]))
    attested = AttestedChain("eip155:31337", CHAIN_ID, quorum, FINALITY)
    await Attestor([attested], [duty], SIGNERS[0], store).attest(CHAIN_ID)
    await quorum.close()


asyncio.run(main())
