"""The example apps on a devnet: receivers whose owner, the devnet's sender, has set their policies.

Trusts the devnet's only provider, as everything on it does.
"""

import asyncio

from comity.chain.bindings import encode_set_policy
from comity.compiler import load_artifact
from comity.core.policy import Policy
from comity.core.types import Address
from comity.devnet import deploy
from comity.devnet.devnet import Devnet
from comity.sdk.client import Chain

GUESTBOOK = "Guestbook"


async def deploy_app(
    devnet: Devnet, chain: Chain, contract: str, policy: Policy | None, *, is_open: bool = True
) -> Address:
    """Create an app, and set its policy for every lane that ends on its chain. Raises: Rejected, Unavailable."""
    wallet = devnet.client.get_wallet(chain, devnet.sender)
    gate = chain.config.gate_address
    app = await deploy.create(wallet, load_artifact(contract), gate=gate, is_open=is_open)
    if policy is not None:
        lanes = [ends.lane for ends in devnet.client.list_lanes() if ends.destination is chain]
        await asyncio.gather(*(wallet.send(gate, encode_set_policy(lane, app, policy.word)) for lane in lanes))
    return app
