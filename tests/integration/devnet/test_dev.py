"""`comity dev up`, and the commands that use what it leaves: send, trace, policy, expire, doctor, down."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comity.chain.rpc import Rpc
from comity.compiler import load_artifact
from comity.config import load_config
from comity.core.types import Address
from comity.devnet import deploy
from comity.devnet.devnet import derive_signer
from comity.sdk.client import Client

WAIT = ("--wait", "--timeout", "60")


class Shell:
    """A terminal in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "comity", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
        assert len(done.stdout.splitlines()) == 1, done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout)

    async def deploy_guestbook(self, chain: str, *, is_open: bool = True) -> str:
        config = load_config(self.folder / ".comity/dev/comity.toml").config
        async with Client(config) as client:
            target = client.chains[chain]
            wallet = client.get_wallet(target, derive_signer("sender"))
            artifact = load_artifact("Guestbook")
            address = await deploy.create(wallet, artifact, gate=target.config.gate_address, is_open=is_open)
        return "0x" + Address(address).hex()


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("dev"))
    code, state = shell.run("dev", "up", "--background", "--chains", "2")
    assert code == 0, state
    try:
        yield shell
    finally:
        shell.run("dev", "down")


def test_doctor_finds_a_fresh_devnet_well(shell: Shell) -> None:
    code, report = shell.run("doctor")
    assert (code, report["ok"]) == (0, True), report


def test_keys_are_readable_by_their_owner_only(shell: Shell) -> None:
    keys = list((shell.folder / ".comity/dev/keys").iterdir())
    assert keys
    assert {path.stat().st_mode & 0o077 for path in keys} == {0}


def test_a_second_devnet_is_refused(shell: Shell) -> None:
    code, error = shell.run("dev", "up")
    assert (code, error["next_step"]) == (3, "comity dev down")


async def test_a_sender_waits_for_the_outcome_and_its_reply(shell: Shell) -> None:
    receiver = await shell.deploy_guestbook("beta")
    code, refused = shell.run("send", "alpha", "beta", receiver, "hello")
    assert code == 6
    assert refused["next_step"].startswith("comity policy set alpha beta")
    assert shell.run("policy", "set", "alpha", "beta", receiver, "0")[0] == 0
    assert shell.run("policy", "show", receiver, "beta")[1]["policies"][0]["policy"] == "0"

    code, sent = shell.run("send", "alpha", "beta", receiver, "? how many", *WAIT)
    assert (code, sent["outcome"]) == (0, "executed")
    assert int(sent["result"], 16) == 1

    code, story = shell.run("trace", sent["transaction"])
    assert (code, story["id"], story["outcome"]) == (0, sent["id"], "executed")
    stages = {stage["name"]: stage for stage in story["stages"]}
    assert list(stages) == ["dispatched", "final", "attested", "delivered", "decided"]
    assert stages["attested"]["verifier 0"]["signed"] == 3
    assert stages["delivered"]["gas"] > 0
    assert stages["decided"]["transaction"] == sent["delivered_in"]


async def test_a_failing_receiver_exits_5_with_its_reason(shell: Shell) -> None:
    receiver = await shell.deploy_guestbook("beta", is_open=False)
    shell.run("policy", "set", "alpha", "beta", receiver, "0")
    code, error = shell.run("send", "alpha", "beta", receiver, "x", "--no-retry", *WAIT)
    assert code == 5
    assert "guestbook: closed" in error["message"]


async def test_trace_tells_each_hindrance_and_the_next_command(shell: Shell) -> None:
    closed = await shell.deploy_guestbook("beta", is_open=False)
    nobody = await shell.deploy_guestbook("beta")
    shell.run("policy", "set", "alpha", "beta", closed, "0")
    sent = {
        "retried": shell.run("send", "alpha", "beta", closed, "x", "--deadline", "600"),
        "no policy": shell.run("send", "alpha", "beta", nobody, "x", "--policy", "0", "--deadline", "600"),
        "second verifier": shell.run("send", "alpha", "beta", closed, "x", "--policy", "0 and 1"),
        "early": shell.run("send", "alpha", "beta", closed, "x", "--after", "300"),
    }
    assert {code for code, _ in sent.values()} == {0}
    nonce = sent["retried"][1]["nonce"]
    code, dependent = shell.run("send", "alpha", "beta", closed, "x", "--depends-on", str(nonce))
    assert code == 0
    await wait_for_blocks(shell, 6)
    said = {name: shell.run("trace", envelope["id"]) for name, (_, envelope) in sent.items()}
    said["dependent"] = shell.run("trace", dependent["id"])
    assert {code for code, _ in said.values()} == {6}
    told = {
        name: " ".join(o["why"] + " → " + o["next_step"] for o in story["obstacles"])
        for name, (_, story) in said.items()
    }
    assert "the receiver reverts: guestbook: closed" in told["retried"]
    assert "no policy" in told["no policy"]
    assert f"comity policy set alpha beta {nobody}" in told["no policy"]
    assert "needs verifier 1 (reserve): 0 of 2 signatures; missing 0x" in told["second verifier"]
    assert "too early" in told["early"]
    assert f"nonce {nonce} of this lane, is undecided" in told["dependent"]


async def test_an_expired_envelope_gets_its_receipt_from_anyone(shell: Shell) -> None:
    receiver = await shell.deploy_guestbook("beta")
    code, error = shell.run("send", "alpha", "beta", receiver, "x", "--policy", "0", "--deadline", "3", *WAIT)
    assert code == 5
    assert "the outcome is expired" in error["message"]


async def test_decode_reads_a_delivery_off_the_chain(shell: Shell) -> None:
    receiver = await shell.deploy_guestbook("alpha")
    shell.run("policy", "set", "beta", "alpha", receiver, "0")
    _, sent = shell.run("send", "beta", "alpha", receiver, "decoded", *WAIT)
    config = load_config(shell.folder / ".comity/dev/comity.toml").config
    async with Rpc(config.chains["alpha"].rpc[0]) as rpc:
        transaction = await rpc.call("eth_getTransactionByHash", sent["delivered_in"])
    code, decoded = shell.run("decode", transaction["input"])
    assert code == 0
    assert sent["id"] in [entry["id"] for entry in decoded["entries"]]


def test_down_ends_every_process_of_the_devnet(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    code, state = shell.run("dev", "up", "--background", "--chains", "2")
    assert code == 0
    children = list_children(state["pid"])
    assert len(children) == 2
    assert shell.run("dev", "down") == (0, {"stopped": True, "pid": state["pid"]})
    assert not [pid for pid in (state["pid"], *children) if Path(f"/proc/{pid}").exists()]


def test_chains_die_with_a_killed_devnet(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    _, state = shell.run("dev", "up", "--background", "--chains", "2")
    descriptors = [os.pidfd_open(pid) for pid in list_children(state["pid"])]
    os.kill(state["pid"], 9)
    for descriptor in descriptors:
        with os.fdopen(descriptor) as file:
            assert wait_readable(file.fileno(), 10)
    assert shell.run("dev", "status")[0] == 4


async def wait_for_blocks(shell: Shell, count: int) -> None:
    """Wait until both chains have mined some more."""
    import asyncio

    config = load_config(shell.folder / ".comity/dev/comity.toml").config
    for chain in config.chains.values():
        async with Rpc(chain.rpc[0]) as rpc:
            end = await rpc.block_number() + count
            while await rpc.block_number() < end:  # noqa: ASYNC110 - a chain has no event to wait for here
                await asyncio.sleep(0.2)


def list_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_readable(descriptor: int, seconds: float) -> bool:
    """A pidfd is readable once its process has ended."""
    import select

    return bool(select.select([descriptor], [], [], seconds)[0])
