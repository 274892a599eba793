"""Agents start, restart, stop and die as promised; twin of src/comity/agents/runner.py."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from comity.agents.runner import FAILPOINT_VARIABLE, run_agents
from comity.core.errors import Invalid, Unavailable
from comity.telemetry import Metrics


class ScriptedAgent:
    """Runs one step of its script each time it is started, and waits for ever after the last."""

    def __init__(self, name: str, *script: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self.script = list(script)
        self.starts = 0
        self.is_closed = False

    async def run(self) -> None:
        self.starts += 1
        try:
            if self.starts <= len(self.script):
                await self.script[self.starts - 1]()
                return
            await asyncio.Event().wait()
        finally:
            self.is_closed = True


async def finish() -> None:
    return


async def lose_provider() -> None:
    raise Unavailable("no provider")


async def crash() -> None:
    raise Invalid("state is wrong")


async def test_runner_returns_when_every_agent_has_finished() -> None:
    agents = [ScriptedAgent("a", finish), ScriptedAgent("b", finish)]
    await run_agents(agents)
    assert [agent.starts for agent in agents] == [1, 1]


async def test_unavailable_restarts_the_agent_and_is_counted() -> None:
    metrics = Metrics()
    agent = ScriptedAgent("a", lose_provider, lose_provider, finish)
    await run_agents([agent], metrics, first_backoff=0)
    assert agent.starts == 3
    assert metrics.registry.get_sample_value("comity_errors_total", {"agent": "a", "branch": "unavailable"}) == 2


async def test_backoff_doubles_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr("comity.agents.runner.asyncio.sleep", record)
    monkeypatch.setattr("comity.agents.runner.random.uniform", lambda low, high: high)
    agent = ScriptedAgent("a", *[lose_provider] * 5, finish)
    await run_agents([agent], first_backoff=1, longest_backoff=5)
    assert pauses == [1, 2, 4, 5, 5]


async def test_crash_of_one_agent_stops_the_others_and_is_raised() -> None:
    waiting = ScriptedAgent("waiting")
    with pytest.raises(Invalid, match="state is wrong"):
        await run_agents([waiting, ScriptedAgent("crashing", crash)])
    assert waiting.is_closed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_stops_agents_gracefully(number: signal.Signals) -> None:
    async def kill() -> None:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    agents = [ScriptedAgent("killer", kill), ScriptedAgent("waiting")]
    before = signal.getsignal(number)
    await run_agents(agents)
    assert all(agent.is_closed for agent in agents)
    assert signal.getsignal(number) == before


async def test_agent_that_ignores_cancellation_is_abandoned_after_the_grace() -> None:
    release = asyncio.Event()

    async def ignore() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    await asyncio.wait_for(run_agents([ScriptedAgent("stuck", ignore)], grace=0.01), 5)
    release.set()


FAILPOINT_PROGRAM = """
from comity.agents.runner import failpoint
for step in range(1, 4):
    failpoint("other")
    failpoint("signed")
    print(step, flush=True)
"""


@pytest.mark.parametrize(
    ("failpoint", "printed", "code"),
    [("signed:2", "1\n", -signal.SIGKILL), ("signed:9", "1\n2\n3\n", 0), ("", "1\n2\n3\n", 0)],
)
def test_failpoint_kills_at_the_nth_time(failpoint: str, printed: str, code: int) -> None:
    environment = {**os.environ, FAILPOINT_VARIABLE: failpoint}
    ended = subprocess.run(
        [sys.executable, "-c", FAILPOINT_PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.returncode) == (printed, code)
