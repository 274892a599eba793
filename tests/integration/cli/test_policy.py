"""`comity policy`: what a receiver accepts, by lane; only its owner changes it."""

from tests.integration.cli.shell import Shell


async def test_an_owner_sets_and_clears_a_policy(shell: Shell) -> None:
    receiver = await shell.deploy_guestbook()
    assert show(shell, receiver) == {"alpha→beta": None}
    assert shell.run("policy", "set", "alpha", "beta", receiver, "0 and 1 of {1}").code == 0
    assert show(shell, receiver) == {"alpha→beta": "0 and 1 of {1}"}
    assert shell.run("policy", "set", "alpha", "beta", receiver, "none").code == 0
    assert show(shell, receiver) == {"alpha→beta": None}


async def test_a_stranger_is_refused_with_the_gates_reason(shell: Shell) -> None:
    receiver = await shell.deploy_guestbook()
    key = ".comity/dev/keys/relayer.key"
    refused = shell.run("policy", "set", "alpha", "beta", receiver, "0", "--key", key)
    assert (refused.code, refused.document["error"]) == (5, "Rejected")
    assert refused.document["values"]["reason"].startswith("gate: ")
    assert show(shell, receiver) == {"alpha→beta": None}


def test_a_verifier_that_is_not_there_is_refused_before_gas_is_paid(shell: Shell) -> None:
    refused = shell.run("policy", "set", "alpha", "beta", shell.guestbook, "7")
    assert (refused.code, refused.document["values"]["known"]) == (3, "0 main, 1 reserve")


def show(shell: Shell, receiver: str) -> dict[str, str | None]:
    shown = shell.run("policy", "show", receiver, "beta")
    assert shown.code == 0
    return {row["lane"]: row["policy"] for row in shown.document["policies"]}
