"""`comity deploy` on chains where everything stands; from nothing: tests/integration/devnet/test_plan.py."""

from pathlib import Path

import pytest

from tests.integration.cli.shell import Shell


@pytest.fixture
def lacking(shell: Shell, tmp_path: Path) -> Path:
    """The devnet's configuration with one more verifier, and without keys."""
    text = (shell.folder / ".comity/dev/comity.toml").read_text()
    for role in ("owner", "sender", "relayer", "reserve-attestor-0"):
        text = text.replace(f'"keys/{role}.key"', '""')
    path = tmp_path / "comity.toml"
    path.write_text(text + '\n[[chains.beta.verifiers]]\nset = "reserve"\n')
    return path


def test_a_complete_deployment_has_nothing_to_do(shell: Shell) -> None:
    plan = shell.run("deploy", "--plan")
    assert (plan.code, plan.document["next_step"]) == (0, None)
    assert {step["state"] for step in plan.document["steps"]} == {"done"}
    assert shell.run("deploy", "--apply").document == plan.document


def test_a_plan_needs_no_key_and_an_act_does(shell: Shell, lacking: Path) -> None:
    plan = shell.run("deploy", "--plan", "--config", str(lacking))
    assert plan.code == 0
    assert [step["what"] for step in plan.document["steps"] if step["state"] != "done"] == [
        "verifier 2: Attestation of the set reserve"
    ]
    assert plan.document["next_step"] == f"comity deploy --apply --config {lacking}"
    refused = shell.run("deploy", "--apply", "--yes", "--config", str(lacking))
    assert (refused.code, "owner.key" in refused.document["message"]) == (3, True)


def test_nobody_is_asked_without_a_terminal(shell: Shell, lacking: Path) -> None:
    key = shell.folder / ".comity/dev/keys/owner.key"
    lacking.write_text(lacking.read_text().replace('[owner]\nkey = ""', f'[owner]\nkey = "{key}"'))
    before = lacking.read_text()
    refused = shell.run("deploy", "--apply", "--config", str(lacking))
    assert refused.code == 3
    assert refused.document["next_step"] == f"comity deploy --apply --yes --config {lacking}"
    assert lacking.read_text() == before


def test_one_of_plan_and_apply_is_needed(shell: Shell) -> None:
    assert shell.run("deploy").code == 2
    assert shell.run("deploy", "--plan", "--apply").code == 2
