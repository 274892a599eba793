"""Relayer and attestors killed without warning, again and again: no envelope is lost, and none is decided twice."""

import asyncio
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from comity.bench.relay import Arena, build_arena, running, start_agent
from comity.core.types import Outcome
from comity.devnet.devnet import MAIN_SET, DevnetOptions

OPTIONS = DevnetOptions(chains=2, block_seconds=0.5, instant=True, attestors=2, threshold=2)
ENVELOPES = 500
WAVES = 10
SEED = 20_261_120
STEPS = ("indexed", "rehearsed", "signed", "persisted", "confirmed")
"""Failpoints of the relayer: what it had just done when it died."""


@pytest.fixture
async def arena(tmp_path: Path) -> AsyncIterator[Arena]:
    async with build_arena(tmp_path / "devnet", OPTIONS) as built:
        yield built


class Crew:
    """The agents' processes, each with its own store, which survives them."""

    def __init__(self, arena: Arena, folder: Path, stack: ExitStack) -> None:
        config = arena.devnet.config.sets[MAIN_SET]
        keys = arena.devnet.folder / "keys"
        self._arguments = {
            f"attestor-{index}": [
                *("attest", "run", "--key", str(keys / f"{MAIN_SET}-attestor-{index}.key")),
                *("--listen", url.removeprefix("http://")),
            ]
            for index, url in enumerate(config.attestors)
        }
        self._arguments["relayer"] = ["relay", "run"]
        self._common = ["--config", str(arena.devnet.loaded.path)]
        self._folder = folder
        self._stack = stack
        self.kills: Counter[str] = Counter()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start an agent, or start it again on the store that it left."""
        data = ["--data", str(self._folder / f"{name}.sqlite")]
        process = start_agent([*self._arguments[name], *self._common, *data], environment)
        self.processes[name] = self._stack.enter_context(running(process))
        return process

    def start_all(self) -> None:
        for name in self._arguments:
            self.start(name)

    def kill(self, name: str) -> None:
        process = self.processes[name]
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL, f"{name} had ended by itself"
        self.kills[name] += 1


@contextmanager
def recruit(arena: Arena, folder: Path) -> Iterator[Crew]:
    with ExitStack() as stack:
        yield Crew(arena, folder, stack)


async def verify_decided_once(arena: Arena, count: int) -> None:
    """Every dispatched envelope, and nothing else, has exactly one receipt."""
    decided = await arena.list_decided()
    dispatched = await arena.list_dispatched()
    assert len(dispatched) == count
    assert Counter(event.id for event, _ in decided) == Counter(dispatched)
    assert {event.outcome for event, _ in decided} == {Outcome.EXECUTED}


async def wait_until(is_true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_agents_killed_at_random_lose_and_double_nothing(arena: Arena, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    with recruit(arena, tmp_path) as crew:
        crew.start_all()
        for wave in range(WAVES):
            await arena.dispatch(ENVELOPES // WAVES)
            name = "relayer" if wave % 2 else rng.choice(sorted(crew.processes))
            # From before the first step to after the last: a process needs a second or two to come up and catch up.
            await asyncio.sleep(rng.uniform(0.05, 3.0))
            crew.kill(name)
            crew.start(name)
        await arena.wait_for_decided(ENVELOPES)
        assert crew.kills["relayer"] >= WAVES // 2
        assert sum(crew.kills.values()) == WAVES
    await verify_decided_once(arena, ENVELOPES)


async def test_a_relayer_killed_after_each_of_its_steps_goes_on(arena: Arena, tmp_path: Path) -> None:
    arena.devnet.start_attestors()
    with recruit(arena, tmp_path) as crew:
        for step in STEPS:
            await arena.dispatch(20)
            process = crew.start("relayer", COMITY_FAILPOINT=f"relayer.{step}:1")
            await wait_until(lambda process=process: process.poll() is not None)  # type: ignore[misc]
            assert process.returncode == -signal.SIGKILL, f"relayer.{step} is never reached"
        crew.start("relayer")
        await arena.wait_for_decided(20 * len(STEPS))
    await verify_decided_once(arena, 20 * len(STEPS))
