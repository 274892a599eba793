"""`comity doctor`: well when all is well; else what is broken, and the next command."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.shell import Shell


@pytest.fixture
def broken(shell: Shell, tmp_path: Path) -> Path:
    """A copy of the devnet's configuration, with keys of its own, to be broken."""
    source = shell.folder / ".comity/dev"
    (tmp_path / "keys").mkdir()
    for key in (source / "keys").iterdir():
        copy = tmp_path / "keys" / key.name
        copy.touch(mode=0o600)
        copy.write_bytes(key.read_bytes())
    path = tmp_path / "comity.toml"
    path.write_text((source / "comity.toml").read_text())
    return path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def find_broken(shell: Shell, path: Path, code: int) -> dict[str, dict[str, Any]]:
    report = shell.run("doctor", "--config", str(path))
    assert (report.code, report.document["ok"]) == (code, False), report.document
    return {row["check"]: row for row in report.document["checks"] if not row["ok"]}


def test_a_fresh_devnet_is_well(shell: Shell) -> None:
    report = shell.run("doctor")
    assert (report.code, report.document["ok"]) == (0, True), report.document
    assert {row["next_step"] for row in report.document["checks"]} == {None}
    assert report.stderr == ""


def test_a_copy_of_its_configuration_is_well(shell: Shell, broken: Path) -> None:
    assert shell.run("doctor", "--config", str(broken)).code == 0


def test_a_missing_anvil_is_named(shell: Shell) -> None:
    report = shell.run("doctor", COMITY_ANVIL="/nowhere/anvil")
    [row] = [row for row in report.document["checks"] if not row["ok"]]
    assert (report.code, row["check"], row["next_step"]) == (4, "anvil", "unset COMITY_ANVIL")


def test_a_provider_of_another_chain_is_named(shell: Shell, broken: Path) -> None:
    change(broken, '"eip155:900002"', '"eip155:900009"')
    rows = find_broken(shell, broken, 4)
    assert list(rows) == ["beta (eip155:900009) providers"]
    row = rows["beta (eip155:900009) providers"]
    assert "eip155:900002" in row["found"]
    assert "chains.beta.chain" in row["next_step"]


def test_a_provider_that_does_not_answer_is_named(shell: Shell, broken: Path) -> None:
    change(broken, shell.config.chains["beta"].rpc[0], "http://127.0.0.1:9")
    [row] = find_broken(shell, broken, 4).values()
    assert "127.0.0.1:9" in row["found"]
    assert "chains.beta.rpc" in row["next_step"]


def test_a_key_that_others_can_read_is_named(shell: Shell, broken: Path) -> None:
    key = broken.parent / "keys/relayer.key"
    key.chmod(0o644)
    rows = find_broken(shell, broken, 3)
    assert rows["relay.key"]["next_step"] == f"chmod 600 {key}"


def test_a_missing_key_is_named(shell: Shell, broken: Path) -> None:
    (broken.parent / "keys/owner.key").unlink()
    assert list(find_broken(shell, broken, 3)) == ["owner.key"]


def test_an_attestor_that_is_down_is_named_with_its_command(shell: Shell, broken: Path) -> None:
    url = shell.config.sets["main"].attestors[2]
    change(broken, url, "http://127.0.0.1:9")
    rows = find_broken(shell, broken, 4)
    row = rows["attestor main http://127.0.0.1:9"]
    assert row["found"] == "does not answer"
    assert row["next_step"].startswith("comity attest run --key ")
    assert "main-attestor-2.key" in row["next_step"]


def test_a_contract_that_is_not_there_leads_to_the_plan(shell: Shell, broken: Path) -> None:
    gate = shell.config.chains["beta"].gate
    text = broken.read_text()
    broken.write_text(
        text[: text.index("[chains.beta]")] + text[text.index("[chains.beta]") :].replace(gate, "0x" + "12" * 20)
    )
    rows = find_broken(shell, broken, 4)
    assert "Gate 0x" + "12" * 20 in rows["beta (eip155:900002) contracts"]["found"]
    step = rows["beta (eip155:900002) contracts"]["next_step"]
    assert step == f"comity deploy --plan --config {broken}"
    plan = shell.run("deploy", "--plan", "--config", str(broken))
    assert plan.code == 0
    assert "blocked" in {row["state"] for row in plan.document["steps"]}


def test_an_unknown_key_is_named_by_every_command(shell: Shell, broken: Path) -> None:
    change(broken, "development = true", "development = true\ntypo = 1")
    rows = find_broken(shell, broken, 3)
    assert "unknown key `typo`" in rows["configuration"]["found"]
    for command in (("trace", "0x" + "11" * 32), ("policy", "show", "0x" + "11" * 20, "beta"), ("relay", "run")):
        refused = shell.run(*command, "--config", str(broken))
        assert refused.code == 3
        assert "unknown key `typo`" in refused.document["message"]
