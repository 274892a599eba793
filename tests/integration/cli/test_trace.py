"""`comity trace`: what keeps an envelope, and a next command that works when it is typed."""

from contextlib import ExitStack
from typing import Any

import pytest

from comity.chain.bindings import encode_call
from comity.core.types import Address
from comity.devnet.keys import derive_signer
from comity.sdk.client import Client
from tests.integration.cli.shell import WAIT, Shell, explain, list_steps


@pytest.fixture(scope="module")
async def stuck(shell: Shell) -> dict[str, dict[str, Any]]:
    """An envelope for each thing that can stand in its way."""
    closed, silent = await shell.deploy_guestbook(is_open=False), await shell.deploy_guestbook()
    assert shell.run("policy", "set", "alpha", "beta", closed, "0").code == 0
    sent = {
        "failing receiver": shell.send(closed, "x"),
        "no policy": shell.send(silent, "x", "--policy", "0"),
        "second verifier": shell.send(shell.guestbook, "x", "--policy", "0 and 1"),
        "early": shell.send(shell.guestbook, "x", "--after", "600"),
        "nobody": shell.send("0x" + "aa" * 20, "x", "--policy", "0"),
        "expired": shell.send(silent, "x", "--policy", "0", "--deadline", "4"),
    }
    for name, of in (("dependent", "failing receiver"), ("orphan", "expired")):
        sent[name] = shell.send(shell.guestbook, "x", "--depends-on", str(sent[of]["nonce"]))
    for envelope, receiver in (("failing receiver", closed), ("no policy", silent)):
        sent[envelope]["receiver"] = receiver
    await shell.wait_for_blocks(4)
    return sent


Stuck = dict[str, dict[str, Any]]


def test_a_decided_envelope_shows_every_stage(shell: Shell) -> None:
    sent = shell.run("send", "alpha", "beta", shell.guestbook, "? how many", *WAIT).document
    told = shell.run("trace", sent["transaction"])
    assert (told.code, told.document["id"], told.document["outcome"]) == (0, sent["id"], "executed")
    stages = {stage["name"]: stage for stage in told.document["stages"]}
    assert list(stages) == ["dispatched", "final", "attested", "delivered", "decided"]
    assert all(stage["done"] for stage in stages.values())
    assert stages["final"]["rule"] == "finalized"
    [verifier] = stages["attested"]["verifiers"]
    assert (verifier["set"], verifier["signed"], verifier["members"]) == ("main", 3, 4)
    assert (stages["delivered"]["block"], stages["delivered"]["run"]) == (sent["decided_block"], 1)
    assert stages["delivered"]["gas"] > 50_000
    assert stages["delivered"]["time"] >= stages["dispatched"]["time"]
    assert stages["decided"]["result"] == sent["result"]


async def test_a_receiver_without_a_policy_gets_one_by_the_printed_command(shell: Shell, stuck: Stuck) -> None:
    envelope = stuck["no policy"]
    story = shell.trace(envelope)
    assert "the receiver has no policy for this lane" in explain(story)
    assert list_steps(story) == [f"comity policy set alpha beta {envelope['receiver']} 0"]
    assert shell.follow(list_steps(story)[0]).code == 0
    await shell.trace_until(envelope, "executed")


async def test_missing_attestors_are_named_and_started_by_the_printed_commands(shell: Shell, stuck: Stuck) -> None:
    envelope = stuck["second verifier"]
    story = shell.trace(envelope)
    assert "verifier 1 (reserve) has 0 of 2 signatures; needed by the sender's policy `0 and 1`" in explain(story)
    for member, url in zip(shell.config.sets["reserve"].members, shell.config.sets["reserve"].attestors, strict=True):
        assert f"missing {member}: {url} does not answer" in explain(story)
    steps = list_steps(story)
    assert len(steps) == 2
    with ExitStack() as stack:
        for step in steps:
            stack.enter_context(shell.running(*step.split()[1:]))
        await shell.trace_until(envelope, "executed")


async def test_a_failing_receiver_shows_its_decoded_reason_until_it_is_repaired(shell: Shell, stuck: Stuck) -> None:
    envelope = stuck["failing receiver"]
    story = shell.trace(envelope)
    assert f"the receiver {envelope['receiver']} reverts: guestbook: closed" in explain(story)
    assert list_steps(story) == [f"comity trace {envelope['id']}"]
    dependent = shell.trace(stuck["dependent"])
    assert f"depends on nonce {envelope['nonce']} of this lane, which is undecided" in explain(dependent)
    assert list_steps(dependent) == [f"comity trace {envelope['id']}"]
    async with Client(shell.config) as client:
        wallet = client.get_wallet(client.chains["beta"], derive_signer("sender"))
        await wallet.send(Address(bytes.fromhex(envelope["receiver"][2:])), encode_call("set_open(bool)", True))
    assert shell.follow(list_steps(story)[0]).document["obstacles"] != story["obstacles"]
    assert "reverts" not in explain(shell.trace(envelope))


def test_an_early_envelope_shows_when_it_may_go(shell: Shell, stuck: Stuck) -> None:
    story = shell.trace(stuck["early"])
    assert "too early" in explain(story)
    [step] = list_steps(story)
    assert step.startswith("sleep ")
    assert step.endswith(f"; comity trace {stuck['early']['id']}")


def test_a_receiver_without_code_is_named(shell: Shell, stuck: Stuck) -> None:
    assert f"nothing stands at the receiver 0x{'aa' * 20} on eip155:900002" in explain(shell.trace(stuck["nobody"]))


async def test_what_depends_on_an_expired_envelope_is_told_to_expire(shell: Shell, stuck: Stuck) -> None:
    await shell.trace_until(stuck["expired"], "expired")
    story = shell.trace(stuck["orphan"])
    assert "which expired, so that it can never be delivered" in explain(story)
    refused = shell.follow(list_steps(story)[0])
    assert refused.code == 6
    assert "has not passed" in refused.document["message"]


def test_an_unknown_id_leads_to_the_doctor(shell: Shell) -> None:
    unknown = shell.run("trace", "0x" + "11" * 32)
    assert (unknown.code, unknown.document["next_step"]) == (6, "comity doctor")
    assert "alpha (eip155:900001), beta (eip155:900002)" in unknown.document["message"]


def test_a_transaction_that_dispatched_nothing_is_told_apart(shell: Shell) -> None:
    policy = shell.run("policy", "set", "alpha", "beta", shell.guestbook, "0").document
    unknown = shell.run("trace", policy["transaction"])
    assert (unknown.code, unknown.document["message"]) == (6, "the transaction dispatched no envelope")


def test_people_see_stages_obstacles_and_commands(shell: Shell, stuck: Stuck) -> None:
    done = shell.say("trace", stuck["early"]["id"])
    assert done.returncode == 6
    assert "✓ dispatched" in done.stdout
    assert "too early" in done.stdout
    assert "→ sleep " in done.stdout
    assert "\x1b" not in done.stdout
    assert [line for line in done.stdout.splitlines() if line != line.rstrip()] == []
    assert done.stderr == ""


def test_the_next_command_keeps_the_config_flag(shell: Shell, stuck: Stuck) -> None:
    path = ".comity/dev/comity.toml"
    story = shell.run("trace", stuck["early"]["id"], "--config", path).document
    assert list_steps(story)[0].endswith(f" --config {path}")
    assert shell.follow(list_steps(story)[0]).code == 6
