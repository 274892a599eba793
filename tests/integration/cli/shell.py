"""A terminal in one folder: commands run as processes, with a JSON document or as people see them."""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comity.chain.rpc import Rpc
from comity.compiler import load_artifact
from comity.config import Config, load_config
from comity.core.types import Address
from comity.devnet import deploy
from comity.devnet.keys import derive_signer
from comity.sdk.client import Client

WAIT = ("--wait", "--timeout", "60")
_CONFIG = Path(".comity/dev/comity.toml")
_DECIDED_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    document: dict[str, Any]
    stderr: str


class Shell:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, **environment: str) -> Answer:
        """Run with --json; whatever happens, stdout is one JSON document."""
        done = self.say(*arguments, "--json", **environment)
        assert len(done.stdout.splitlines()) == 1, done.stdout + done.stderr
        return Answer(done.returncode, json.loads(done.stdout), done.stderr)

    def say(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run without a terminal, as people's scripts do."""
        command = [sys.executable, "-m", "comity", *arguments]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | environment,
        )

    def follow(self, step: str) -> Answer:
        """Run a suggested command exactly as it was printed, but for its `sleep`, which may be long."""
        program, *arguments = shlex.split(step.rpartition(";")[2])
        assert program == "comity", step
        return self.run(*arguments)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """An agent's process; its log is in `stderr.log` of the folder."""
        with (self.folder / "stderr.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "comity", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.folder,
            )
        try:
            assert process.stdout is not None
            # Its first line says that it runs.
            assert process.stdout.readline(), (self.folder / "stderr.log").read_text()
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def send(self, *arguments: str) -> dict[str, Any]:
        sent = self.run("send", "alpha", "beta", *arguments)
        assert sent.code == 0, sent
        return sent.document

    def trace(self, envelope: dict[str, Any]) -> dict[str, Any]:
        return self.run("trace", envelope["id"]).document

    async def trace_until(self, envelope: dict[str, Any], said: str) -> dict[str, Any]:
        """Trace until the outcome is the expected one, or an obstacle says so."""
        story: dict[str, Any] = {}
        async with asyncio.timeout(_DECIDED_SECONDS):
            while story.get("outcome") != said and said not in explain(story):
                story = await asyncio.to_thread(self.trace, envelope)
        return story

    @property
    def config(self) -> Config:
        return load_config(self.folder / _CONFIG).config

    @property
    def guestbook(self) -> str:
        """The one on beta that came with the devnet."""
        state = json.loads((self.folder / ".comity/dev.json").read_text())
        return str(state["chains"]["beta"]["guestbook"])

    async def deploy_guestbook(self, *, is_open: bool = True, chain: str = "beta") -> str:
        async with Client(self.config) as client:
            target = client.chains[chain]
            wallet = client.get_wallet(target, derive_signer("sender"))
            artifact = load_artifact("Guestbook")
            address = await deploy.create(wallet, artifact, gate=target.config.gate_address, is_open=is_open)
        return "0x" + Address(address).hex()

    async def wait_for_blocks(self, count: int) -> None:
        """Wait until both chains have mined some more."""
        for chain in self.config.chains.values():
            async with Rpc(chain.rpc[0]) as rpc:
                end = await rpc.block_number() + count
                while await rpc.block_number() < end:
                    await asyncio.sleep(0.2)


def explain(story: dict[str, Any]) -> str:
    """All obstacles of a trace."""
    return " ".join(obstacle["why"] for obstacle in story.get("obstacles", []))


def list_steps(story: dict[str, Any]) -> list[str]:
    """All next commands of a trace."""
    return [step for obstacle in story["obstacles"] for step in obstacle["next_steps"]]


@contextmanager
def open_devnet(folder: Path, *options: str) -> Iterator[Shell]:
    """A devnet in the background, ended by `comity dev down`."""
    shell = Shell(folder)
    started = shell.run("dev", "up", "--background", "--chains", "2", *options)
    assert started.code == 0, started
    try:
        yield shell
    finally:
        assert shell.run("dev", "down").document["stopped"]
