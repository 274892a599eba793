"""Lets a relay of the model's lane work."""

from model_gate import LANE

from comity.agents.relayer.lane import LaneRelay
from comity.core.types import Seconds
from comity.store.port import Store


async def work(relay: LaneRelay, *, rounds: int = 200) -> None:
    """Let a relay work until there is nothing to do."""
    idle = 0
    for _ in range(rounds):
        idle = 0 if await relay.step() else idle + 1
        if relay.in_flight:
            await relay.drain()
        elif idle > 4:
            return
    raise AssertionError("the relay never comes to rest")


def make_due(store: Store) -> None:
    """Let every wait on this machine's clock be over."""
    nonce = 0
    while rows := store.load_pending(LANE, Seconds(2**40), limit=100, after=nonce):
        for row in rows:
            cause = row.cause or ""
            store.defer_envelopes(LANE, [row.dispatch.nonce], cause, Seconds(0), costs_attempt=False)
        nonce = rows[-1].dispatch.nonce
