"""Lifecycle of the agents of one process: start, restart, stop, and die on purpose in tests.

Trusts nobody. `Unavailable` restarts an agent with backoff; any other error stops all of them and is raised, because an
agent that does not know what happened must not go on. SIGINT and SIGTERM stop gracefully; a second one kills.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

import structlog

from comity.core.errors import ConfigError, Unavailable
from comity.telemetry import Metrics

FAILPOINT_VARIABLE: Final = "COMITY_FAILPOINT"
GRACE_SECONDS: Final = 10.0
FIRST_BACKOFF_SECONDS: Final = 1.0
LONGEST_BACKOFF_SECONDS: Final = 60.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

log = structlog.get_logger(__name__)
_reached: Counter[str] = Counter()


class Agent(Protocol):
    """What the runner runs."""

    @property
    def name(self) -> str:
        """Short, unique in the process; stands in logs and metrics."""
        ...

    async def run(self) -> None:
        """Work until cancelled; release everything on the way out, so that it can be run again."""
        ...


def failpoint(step: str) -> None:
    """Kill this process without warning if `COMITY_FAILPOINT=<step>:<n>` names the n-th time this step is reached."""
    wanted = os.environ.get(FAILPOINT_VARIABLE)
    if not wanted:
        return
    name, _, count = wanted.partition(":")
    if name != step:
        return
    if not count.isdecimal():
        raise ConfigError("a failpoint is <step>:<n>", found=wanted, next_step=f"unset {FAILPOINT_VARIABLE}")
    _reached[step] += 1
    if _reached[step] == int(count):
        os.kill(os.getpid(), signal.SIGKILL)


async def run_agents(
    agents: Sequence[Agent],
    metrics: Metrics | None = None,
    *,
    first_backoff: float = FIRST_BACKOFF_SECONDS,
    longest_backoff: float = LONGEST_BACKOFF_SECONDS,
    grace: float = GRACE_SECONDS,
) -> None:
    """Run until every agent returns, one crashes, or the process is told to stop.

    Raises: what the agent that crashed raised.
    """
    stop = asyncio.Event()
    with _catch_signals(stop):
        tasks = {
            asyncio.create_task(_supervise(agent, metrics, first_backoff, longest_backoff), name=agent.name)
            for agent in agents
        }
        stopping = asyncio.create_task(stop.wait())
        try:
            await _wait_for_end(tasks, stopping)
        finally:
            stopping.cancel()
            await _stop(tasks, grace)
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()):
            raise error


async def _wait_for_end(tasks: set[asyncio.Task[None]], stopping: asyncio.Task[bool]) -> None:
    running: set[asyncio.Task[None]] = set(tasks)
    while running and not stopping.done():
        done, _ = await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if any(task in running and (task.cancelled() or task.exception()) for task in done):
            return
        running -= done


async def _supervise(agent: Agent, metrics: Metrics | None, first_backoff: float, longest_backoff: float) -> None:
    clock = asyncio.get_running_loop().time
    backoff = first_backoff
    with structlog.contextvars.bound_contextvars(agent=agent.name):
        while True:
            started = clock()
            log.info("agent.started")
            try:
                await agent.run()
                log.info("agent.finished")
                return
            except Unavailable as error:
                if metrics:
                    metrics.count_error(agent.name, "unavailable")
                # it worked for long enough that this is another outage
                backoff = first_backoff if clock() - started > longest_backoff else backoff
                pause = backoff * random.uniform(0.5, 1.0)
                log.warning("agent.interrupted", error=error, next_step=error.next_step, restart_in_seconds=pause)
            except Exception as error:
                log.exception("agent.crashed", error=error, next_step=getattr(error, "next_step", None))
                raise
            await asyncio.sleep(pause)
            backoff = min(2 * backoff, longest_backoff)


async def _stop(tasks: set[asyncio.Task[None]], grace: float) -> None:
    for task in tasks:
        task.cancel()
    _, stuck = await asyncio.wait(tasks, timeout=grace) if tasks else (None, set())
    for task in stuck:
        log.error("agent.abandoned", agent=task.get_name(), grace_seconds=grace)


@contextmanager
def _catch_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def request_stop(number: signal.Signals) -> None:
        log.info("stop.requested", signal=number.name)
        stop.set()
        # whoever asks twice means it
        loop.remove_signal_handler(number)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, request_stop, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
