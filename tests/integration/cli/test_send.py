"""`comity send`: the outcome is the exit code, and one JSON document tells the rest."""

import json

import pytest

from tests.integration.cli.shell import WAIT, Shell

OUTCOME = {"outcome", "result", "reason", "receipt", "decided_in", "decided_block"}


def test_a_sender_waits_for_the_reply(shell: Shell) -> None:
    sent = shell.run("send", "alpha", "beta", shell.guestbook, "? how many", *WAIT)
    assert (sent.code, sent.document["outcome"]) == (0, "executed")
    assert int(sent.document["result"], 16) >= 1
    assert sent.document.keys() >= OUTCOME


def test_people_see_the_reply_as_a_number(shell: Shell) -> None:
    done = shell.say("send", "eip155:900001", "900002", shell.guestbook, "? how many", *WAIT)
    assert done.returncode == 0, done.stderr
    shown = dict(line.strip().split("  ", 1) for line in done.stdout.splitlines())
    number = int(shown["result"].split(" ")[0], 16)
    assert shown["result"].endswith(f" ({number})")
    assert (shown["outcome"], shown["lane"]) == ("executed", "alpha→beta")
    assert done.stderr == ""


async def test_a_failure_exits_5_with_its_reason_and_the_next_command(shell: Shell) -> None:
    closed = await shell.deploy_guestbook(is_open=False)
    assert shell.run("policy", "set", "alpha", "beta", closed, "0").code == 0
    failed = shell.run("send", "alpha", "beta", closed, "x", "--no-retry", *WAIT)
    assert (failed.code, failed.document["outcome"]) == (5, "failed")
    assert failed.document["reason"] == "guestbook: closed"
    assert failed.document["next_step"] == f"comity trace {failed.document['id']}"
    assert "the outcome is failed" in failed.stderr
    story = shell.follow(failed.document["next_step"])
    assert story.code == 0
    assert story.document["stages"][-1]["reason"] == "guestbook: closed"


def test_an_undecided_envelope_exits_6(shell: Shell) -> None:
    waiting = shell.run("send", "alpha", "beta", shell.guestbook, "x", "--after", "600", "--wait", "--timeout", "1")
    assert (waiting.code, waiting.document["outcome"]) == (6, None)
    assert shell.follow(waiting.document["next_step"]).code == 6


async def test_a_receiver_without_a_policy_is_refused_with_the_command_that_sets_one(shell: Shell) -> None:
    receiver = await shell.deploy_guestbook()
    refused = shell.run("send", "alpha", "beta", receiver, "x")
    assert (refused.code, refused.document["error"]) == (6, "NotReady")
    assert refused.document["next_step"] == f"comity policy set alpha beta {receiver} 0"
    assert shell.follow(refused.document["next_step"]).code == 0
    assert shell.run("send", "alpha", "beta", receiver, "x", *WAIT).document["outcome"] == "executed"


def test_an_expired_envelope_exits_5(shell: Shell) -> None:
    late = shell.run("send", "alpha", "beta", shell.guestbook, "x", "--policy", "0 and 1", "--deadline", "3", *WAIT)
    assert (late.code, late.document["outcome"]) == (5, "expired")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere", "beta", "0x" + "11" * 20), 3, "no chain nowhere"),
        (("alpha", "alpha", "0x" + "11" * 20, "--policy", "0"), 3, "no such lane"),
        (("alpha", "beta", "0x12"), 2, "40 hexadecimal digits"),
        (("alpha", "beta", "0x" + "11" * 20, "0xzz"), 2, "not hexadecimal"),
        (("alpha", "beta", "0x" + "11" * 20, "--policy", "most of them"), 2, "a policy is written like"),
        (("alpha", "beta", "0x" + "11" * 20, "--policy", "0 and 7"), 3, "not configured"),
        (("alpha", "beta", "0x" + "11" * 20, "--policy", "0", "--key", "nowhere.key"), 3, "cannot open the key file"),
    ],
)
def test_a_wrong_argument_is_told_apart_by_exit_code(
    shell: Shell, arguments: tuple[str, ...], code: int, said: str
) -> None:
    refused = shell.run("send", *arguments)
    assert (refused.code, refused.document["exit_code"]) == (code, code)
    assert said in refused.document["message"]
    assert said in refused.stderr


def test_a_key_that_others_can_read_is_refused(shell: Shell) -> None:
    key = shell.folder / "open.key"
    key.write_text("0x" + "11" * 32)
    key.chmod(0o644)
    refused = shell.run("send", "alpha", "beta", shell.guestbook, "x", "--key", "open.key")
    assert (refused.code, refused.document["next_step"]) == (3, "chmod 600 open.key")
    assert "11" * 32 not in json.dumps(refused.document) + refused.stderr
