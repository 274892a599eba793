"""`comity attest run` and `comity relay run` as processes of one comity.toml, and what `trace` says meanwhile."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from comity.chain.rpc import Rpc
from tests.integration.cli.shell import Shell, explain, list_steps

KEYS = [f".comity/dev/keys/main-attestor-{index}.key" for index in range(4)]


@asynccontextmanager
async def standing_still(shell: Shell) -> AsyncIterator[list[Rpc]]:
    """Chains that mine for a transaction only, so that nothing becomes final by itself."""
    async with Rpc(shell.config.chains["alpha"].rpc[0]) as alpha, Rpc(shell.config.chains["beta"].rpc[0]) as beta:
        chains = [alpha, beta]
        for chain in chains:
            await chain.call("evm_setAutomine", True)
        try:
            yield chains
        finally:
            for chain in chains:
                await chain.call("evm_setIntervalMining", 1)


async def test_an_envelope_that_is_not_final_shows_the_blocks_to_go(bare: Shell) -> None:
    async with standing_still(bare) as chains:
        sent = bare.send(bare.guestbook, "x")
        story = bare.trace(sent)
        assert "not final yet on eip155:900001: 2 blocks to go" in explain(story)
        assert "signatures" not in explain(story), "nobody may sign yet"
        await chains[0].call("anvil_mine", "0x1")
        assert "1 block to go" in explain(bare.trace(sent))
        await chains[0].call("anvil_mine", "0x1")
        story = bare.trace(sent)
        assert {stage["name"]: stage["done"] for stage in story["stages"]}["final"] is True
        assert "has 0 of 3 signatures" in explain(story)


async def test_agents_come_and_go_and_every_stage_is_told(bare: Shell) -> None:
    sent = bare.send(bare.guestbook, "x")
    late = bare.send(bare.guestbook, "x", "--deadline", "4")
    members = bare.config.sets["main"].members
    with ExitStack() as stack:
        for key in KEYS[:2]:
            stack.enter_context(bare.running("attest", "run", "--key", key))
        story = await bare.trace_until(sent, "2 of 3 signatures")
        assert f"missing {members[2]}" in explain(story)
        assert f"missing {members[3]}" in explain(story)
        assert members[0] not in explain(story)

        expired = await bare.trace_until(late, "the deadline passed")
        assert list_steps(expired) == [f"comity expire {late['id']}"]
        assert bare.follow(list_steps(expired)[0]).code == 0
        assert bare.trace(late)["outcome"] == "expired"
        again = bare.follow(list_steps(expired)[0])
        assert (again.code, again.document["values"]["reason"]) == (5, "expired")

        [step] = list_steps(story)
        third = stack.enter_context(bare.running(*step.split()[1:]))
        story = await bare.trace_until(sent, "nothing stands in its way")
        assert list_steps(story)[-1] == "comity relay run"
        relayer = stack.enter_context(bare.running("relay", "run"))
        await bare.trace_until(sent, "executed")

        for process in (third, relayer):
            process.send_signal(signal.SIGKILL)
            process.wait()
        another = bare.send(bare.guestbook, "y")
        await bare.trace_until(another, "2 of 3 signatures")
        stack.enter_context(bare.running(*step.split()[1:]))
        stack.enter_context(bare.running("relay", "run"))
        await bare.trace_until(another, "executed")


async def test_an_attestor_that_does_not_answer_is_logged_once(bare: Shell) -> None:
    log = bare.folder / "stderr.log"
    log.unlink(missing_ok=True)
    with bare.running("relay", "run"):
        sent = bare.send(bare.guestbook, "x")
        silent: list[dict[str, Any]] = []
        async with asyncio.timeout(30):
            while len(silent) < 4:
                await asyncio.sleep(0.2)
                silent = [entry for entry in read_log(bare) if entry["event"] == "attestor.failed"]
        await bare.wait_for_blocks(4)
        silent = [entry for entry in read_log(bare) if entry["event"] == "attestor.failed"]
    urls = [entry["url"] for entry in silent]
    assert len(urls) == len(set(urls))
    assert set(bare.config.sets["main"].attestors) <= set(urls)
    assert bare.trace(sent)["outcome"] is None


@pytest.mark.parametrize("agent", ["attest", "relay"])
async def test_an_agent_announces_itself_on_stdout_and_logs_on_stderr(bare: Shell, agent: str) -> None:
    (bare.folder / "stderr.log").unlink(missing_ok=True)
    with bare.running(agent, "run", "--json") as process:
        async with asyncio.timeout(30):
            while not any(entry["event"] == "agent.started" for entry in read_log(bare)):
                await asyncio.sleep(0.05)
        process.terminate()
        assert process.stdout is not None
        assert process.stdout.read() == b"", "nothing after the announcement"
        assert process.wait(15) == 0
    assert any(entry["event"] == "stop.requested" for entry in read_log(bare))


def test_a_key_of_no_set_is_refused(bare: Shell) -> None:
    refused = bare.run("attest", "run", "--key", ".comity/dev/keys/sender.key")
    assert (refused.code, refused.document["error"]) == (3, "ConfigError")


def test_status_of_a_devnet_without_agents_names_the_commands(bare: Shell) -> None:
    status = bare.run("dev", "status")
    assert (status.code, status.document["ok"]) == (4, False)
    steps = [row["next_step"] for row in status.document["checks"] if not row["ok"]]
    assert steps == [f"comity attest run --key {key}" for key in KEYS]


def read_log(shell: Shell) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shell.folder / "stderr.log").read_text().splitlines()]
