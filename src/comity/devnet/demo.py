"""The demonstration: envelopes of every kind over every lane of a devnet, each compared with the outcome it must have.

Scenarios are data; a new feature adds a row to `SCENARIOS`. The verdict trusts only what the Gates logged and the apps
stored.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from comity.chain.bindings import DECIDED, decode_decided, decode_uint, encode_call
from comity.chain.revert import decode_revert
from comity.compiler import load_artifacts
from comity.core.envelope import Flags
from comity.core.errors import NotReady
from comity.core.policy import Policy
from comity.core.types import Address, EnvelopeId, Gas, Outcome, Seconds, Wei
from comity.devnet import deploy
from comity.devnet.apps import deploy_app
from comity.devnet.devnet import RESERVE_SET, Devnet, DevnetOptions, run_devnet
from comity.sdk.client import Chain, Decision, LaneEnds, Message, Sent

PATIENCE_SECONDS: Final = 40.0
_POLL_SECONDS: Final = 0.25
_LIFETIME: Final = Seconds(3600)
_FEE: Final = Wei(10**14)
_GAS: Final = Gas(150_000)
_MAIN: Final = Policy(required=frozenset({0}))
_BOTH: Final = Policy(required=frozenset({0, 1}))


@dataclass(frozen=True, slots=True)
class App:
    """A receiver that stands on every chain."""

    contract: str
    policy: Policy | None = _MAIN
    """None: its owner sets none, so it takes no calls."""
    is_open: bool = True


APPS: Final = {
    "guestbook": App("Guestbook"),
    "closed guestbook": App("Guestbook", is_open=False),
    "guestbook that opens late": App("Guestbook", is_open=False),
    "strict guestbook": App("Guestbook", policy=_BOTH),
    "guestbook without a policy": App("Guestbook", policy=None),
    "Solidity notebook": App("Notebook"),
}
LATE_APP: Final = "guestbook that opens late"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Envelopes of one kind, sent on every lane."""

    name: str
    app: str
    expected: Outcome = Outcome.EXECUTED
    count: int = 1
    payload: bytes = b"greetings"
    flags: Flags = Flags.RETRYABLE
    policy: Policy = _MAIN
    lifetime: Seconds = _LIFETIME
    depends_on: str | None = None
    """Name of the scenario of whose envelopes one, of the same lane, must have executed."""
    is_held: bool = False
    """Must still be undecided when everything that can be decided is."""
    result: Callable[[bytes], bool] = lambda result: not result
    """What the reply, or the reason of the failure, must be."""


def _is_count(result: bytes) -> bool:
    return len(result) == 32 and int.from_bytes(result, "big") > 0


def _says_closed(result: bytes) -> bool:
    return decode_revert(result) == "guestbook: closed"


SCENARIOS: Final = (
    Scenario("plain", "guestbook", count=4),
    Scenario("with a reply", "guestbook", payload=b"? how many", result=_is_count),
    Scenario("to a Solidity app", "Solidity notebook"),
    Scenario("depends on an earlier one", "guestbook", depends_on="plain"),
    Scenario("retried until its app opens", LATE_APP, is_held=True),
    Scenario("held until a second verifier signs", "strict guestbook", policy=_BOTH, is_held=True),
    Scenario("its app reverts", "closed guestbook", expected=Outcome.FAILED, flags=Flags(0), result=_says_closed),
    Scenario("its app takes no calls", "guestbook without a policy", expected=Outcome.EXPIRED, lifetime=Seconds(8)),
)


@dataclass(slots=True)
class Progress:
    """One envelope of the demonstration, and how it is."""

    scenario: Scenario
    sent: Sent
    sent_at: int
    """The destination's newest block when its sender heard of its dispatch."""
    decision: Decision | None = None
    blocks: int = 0
    """From dispatch to decision, in blocks of the destination."""
    gas: int = 0
    """Its share of the transaction that decided it."""
    was_held: bool = False

    @property
    def is_held_back(self) -> bool:
        """Whether it cannot be decided yet: something is missing, or its deadline has to pass."""
        return self.scenario.is_held or self.scenario.expected is Outcome.EXPIRED

    @property
    def is_expected(self) -> bool:
        """Whether it came out as the scenario says."""
        decision, scenario = self.decision, self.scenario
        return (
            decision is not None
            and decision.outcome is scenario.expected
            and scenario.result(decision.result)
            and self.was_held >= scenario.is_held
        )


@dataclass(slots=True)
class Demo:
    """The demonstration's state, for whoever shows it."""

    devnet: Devnet
    apps: dict[tuple[str, str], Address] = field(default_factory=dict)
    """By chain and name."""
    progress: dict[EnvelopeId, Progress] = field(default_factory=dict)
    note: str = ""
    """What is going on."""
    started: float = field(default_factory=time.monotonic)
    on_change: Callable[[Progress | None], None] = lambda _: None

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.started

    @property
    def unexpected(self) -> list[Progress]:
        """Envelopes that did not come out as they should."""
        return [entry for entry in self.progress.values() if not entry.is_expected]

    def count_outcomes(self) -> dict[str, int]:
        """Envelopes by outcome."""
        decided = (entry.decision for entry in self.progress.values())
        counts = Counter(decision.outcome.name.lower() if decision else "undecided" for decision in decided)
        return {name: counts[name] for name in ("executed", "failed", "expired", *sorted(counts))}

    def say(self, note: str) -> None:
        """Tell what happens now."""
        self.note = note
        self.on_change(None)


Show = Callable[[Demo], Any]


async def run_demo(folder: Path, options: DevnetOptions, show: Show, finish: Callable[[Demo], Awaitable[None]]) -> Demo:
    """Run the whole demonstration; `show` gets the state first, `finish` while the devnet still runs."""
    started = time.monotonic()
    names = [*deploy.ENDPOINT_CONTRACTS, "Attestation", *{app.contract for app in APPS.values()}]
    await asyncio.to_thread(load_artifacts, names)
    async with run_devnet(options, folder, agents=False) as devnet:
        demo = Demo(devnet, started=started)
        show(demo)
        demo.say("deploying the apps")
        async with devnet.instant_mining():
            await asyncio.gather(*(_deploy_apps(demo, chain) for chain in devnet.client.chains.values()))
        devnet.start_attestors()
        devnet.start_relayer()
        watcher = asyncio.create_task(_watch(demo))
        try:
            await _play(demo, watcher)
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        await finish(demo)
        return demo


async def _play(demo: Demo, watcher: asyncio.Task[None]) -> None:
    demo.say("sending")
    lanes = demo.devnet.client.list_lanes()
    for is_dependent in (False, True):
        wave = [scenario for scenario in SCENARIOS if (scenario.depends_on is not None) == is_dependent]
        await asyncio.gather(*(_send(demo, ends, s) for ends in lanes for s in wave for _ in range(s.count)))
    demo.say("attestors sign what is final, the relayer delivers what its policy allows")
    await _wait_until(demo, watcher, lambda entry: entry.is_held_back or entry.decision is not None)
    for entry in demo.progress.values():
        entry.was_held = entry.decision is None
    held = sum(entry.was_held and entry.scenario.is_held for entry in demo.progress.values())
    demo.say(f"{held} are held: the second verifier's attestors start now, and the closed app opens")
    demo.devnet.start_attestors(RESERVE_SET)
    await asyncio.gather(*(_open_late(demo, chain) for chain in demo.devnet.client.chains.values()))
    await _wait_until(demo, watcher, lambda entry: entry.decision is not None)
    demo.say("every envelope is decided")


async def _wait_until(demo: Demo, watcher: asyncio.Task[None], is_reached: Callable[[Progress], bool]) -> None:
    """Wait for all envelopes, or until patience ends, which the verdict will show."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and not all(map(is_reached, demo.progress.values())):
        demo.devnet.check()
        if watcher.done():
            watcher.result()
        await asyncio.sleep(_POLL_SECONDS / 2)


async def _deploy_apps(demo: Demo, chain: Chain) -> None:
    deploying = (deploy_app(demo.devnet, chain, app.contract, app.policy, is_open=app.is_open) for app in APPS.values())
    for name, address in zip(APPS, await asyncio.gather(*deploying), strict=True):
        demo.apps[chain.name, name] = address


async def _open_late(demo: Demo, chain: Chain) -> None:
    wallet = demo.devnet.client.get_wallet(chain, demo.devnet.sender)
    await wallet.send(demo.apps[chain.name, LATE_APP], encode_call("set_open(bool)", True))


def _find_nonce(demo: Demo, ends: LaneEnds, name: str | None) -> int:
    """An envelope of this lane and scenario; 0 when none is asked for."""
    nonces = (
        entry.sent.envelope.nonce
        for entry in demo.progress.values()
        if entry.sent.ends.lane == ends.lane and entry.scenario.name == name
    )
    return min(nonces, default=0)


async def _send(demo: Demo, ends: LaneEnds, scenario: Scenario) -> None:
    message = Message(
        receiver=demo.apps[ends.destination.name, scenario.app],
        payload=scenario.payload,
        policy=scenario.policy,
        return_policy=_MAIN,
        lifetime=scenario.lifetime,
        gas_limit=_GAS,
        flags=scenario.flags,
        depends_on=_find_nonce(demo, ends, scenario.depends_on),
        fee=_FEE,
    )
    sent = await demo.devnet.client.send(ends, demo.devnet.sender, message)
    head = await ends.destination.quorum.providers[0].block_number()
    demo.progress[sent.id] = entry = Progress(scenario, sent, head)
    demo.on_change(entry)


async def _watch(demo: Demo) -> None:
    """Note every decision as the Gates log it."""
    chains = list(demo.devnet.client.chains.values())
    cursors = {chain.name: 0 for chain in chains}
    while True:
        for chain in chains:
            cursors[chain.name] = await _note_decisions(demo, chain, cursors[chain.name])
        await asyncio.sleep(_POLL_SECONDS)


async def _note_decisions(demo: Demo, chain: Chain, seen: int) -> int:
    """Read the blocks above `seen`; return the last one whose decisions are all known."""
    rpc, gate = chain.quorum.providers[0], chain.config.gate_address
    head = await rpc.block_number()
    if head <= seen:
        return seen
    logs = await rpc.fetch_logs(gate, (DECIDED,), seen + 1, head)
    sharing = Counter(log.transaction_hash for log in logs)
    for log in logs:
        entry = demo.progress.get(decode_decided(log).id)
        if entry is None:
            # It was decided before its sender heard of its own block: look again.
            return min(seen, log.block_number - 1)
        if entry.decision is not None:
            continue
        entry.decision = await demo.devnet.client.find_decision(entry.sent.ends, entry.sent.id)
        receipt = await rpc.fetch_receipt(log.transaction_hash)
        entry.gas = receipt.gas_used // sharing[log.transaction_hash] if receipt else 0
        entry.blocks = log.block_number - entry.sent_at
        demo.on_change(entry)
    return head


async def verify_apps(demo: Demo) -> None:
    """Compare what the apps stored with what was decided. Raises: NotReady when an app lacks an entry."""
    expected: Counter[tuple[str, str]] = Counter()
    for entry in demo.progress.values():
        if entry.decision is not None and entry.decision.outcome is Outcome.EXECUTED:
            expected[entry.sent.ends.destination.name, entry.scenario.app] += 1
    for (name, app), address in demo.apps.items():
        stored = decode_uint(await demo.devnet.client.chains[name].call(address, encode_call("count()")))
        if stored != expected[name, app]:
            raise NotReady("an app's entries differ", chain=name, app=app, stored=stored, expected=expected[name, app])


@dataclass(frozen=True, slots=True)
class Summary:
    """Some envelopes together."""

    sent: int
    waiting: int
    unexpected: int
    blocks: int | None
    """Median, from dispatch to decision."""
    longest: int | None
    gas: int | None
    """Median of their shares."""


def summarize(entries: Sequence[Progress]) -> Summary:
    """Count envelopes, and take the medians of those decided."""
    decided = [entry for entry in entries if entry.decision is not None]
    return Summary(
        len(entries),
        len(entries) - len(decided),
        # Until all is over, one that will be held may not have been noticed yet.
        sum(entry.decision.outcome is not entry.scenario.expected for entry in decided if entry.decision),
        _find_median([entry.blocks for entry in decided]),
        max((entry.blocks for entry in decided), default=None),
        _find_median([entry.gas for entry in decided]),
    )


def group_results(progress: Iterable[Progress]) -> dict[tuple[str, str], Summary]:
    """Summaries by lane and outcome."""
    groups: dict[tuple[str, str], list[Progress]] = {}
    for entry in progress:
        outcome = entry.decision.outcome.name.lower() if entry.decision else "undecided"
        groups.setdefault((entry.sent.ends.name, outcome), []).append(entry)
    return {key: summarize(entries) for key, entries in sorted(groups.items())}


def _find_median(numbers: Sequence[int]) -> int | None:
    return sorted(numbers)[len(numbers) // 2] if numbers else None
