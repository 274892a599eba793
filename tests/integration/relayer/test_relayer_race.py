"""Several relayers on one lane: every envelope is executed once, and whoever comes late takes it for success."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from comity.bench.relay import Arena, running, start_agent
from comity.core.types import Outcome
from comity.devnet.devnet import BALANCE, derive_key, derive_signer
from comity.sdk.keys import save_key

RELAYERS = 3
ENVELOPES = 300


async def test_three_relayers_race_and_every_envelope_is_executed_once(arena: Arena, tmp_path: Path) -> None:
    await arena.dispatch(ENVELOPES)
    arena.devnet.start_attestors()
    await arena.wait_for_attested(ENVELOPES)
    provider = arena.ends.destination.quorum.providers[0]
    with ExitStack() as stack:
        processes = []
        for number in range(RELAYERS):
            signer = derive_signer("racing relayer", number)
            await provider.call("anvil_setBalance", signer.address, hex(BALANCE))
            key, data = tmp_path / f"{number}.key", tmp_path / f"{number}.sqlite"
            save_key(key, derive_key("racing relayer", number))
            config = ["--config", str(arena.devnet.loaded.path), "--key", str(key), "--data", str(data)]
            processes.append(stack.enter_context(running(start_agent(["relay", "run", *config], {}))))
        await arena.wait_for_decided(ENVELOPES)
        await arena.dispatch(50)
        await arena.wait_for_decided(ENVELOPES + 50)
        assert [process.poll() for process in processes] == [None] * RELAYERS, "nobody gives up over a lost race"
    decided = [event for event, _ in await arena.list_decided()]
    assert Counter(event.id for event in decided) == Counter(await arena.list_dispatched())
    assert {event.outcome for event in decided} == {Outcome.EXECUTED}
