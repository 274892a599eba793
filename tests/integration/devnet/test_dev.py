"""`comity dev`: what it starts ends with it, however it ends."""

import os
import select
from pathlib import Path

import pytest

from tests.integration.cli.shell import Shell, open_devnet


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    with open_devnet(tmp_path) as shell:
        keys = list((tmp_path / ".comity/dev/keys").iterdir())
        assert len(keys) == 3 + 4 + 3
        assert {path.stat().st_mode & 0o077 for path in keys} == {0}

        refused = shell.run("dev", "up")
        assert (refused.code, refused.document["next_step"]) == (3, "comity dev down")

        status = shell.run("dev", "status")
        assert (status.code, status.document["ok"]) == (0, True), status.document


def test_down_ends_every_process_and_leaves_a_log_only(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    state = shell.run("dev", "up", "--background", "--chains", "2").document
    processes = [os.pidfd_open(pid) for pid in (state["pid"], *list_children(state["pid"]))]
    assert len(processes) == 3
    assert shell.run("dev", "down").document == {"stopped": True, "pid": state["pid"]}
    assert all(has_ended(process, 5) for process in processes)
    assert [path.name for path in (tmp_path / ".comity").iterdir()] == ["dev.log"]
    assert shell.run("dev", "down").document == {"stopped": False}
    assert shell.run("dev", "status").code == 4


def test_chains_die_with_a_killed_devnet_and_down_clears_away(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    shell = Shell(tmp_path)
    state = shell.run("dev", "up", "--background", "--chains", "2", TMPDIR=str(temporary)).document
    chains = [os.pidfd_open(pid) for pid in list_children(state["pid"])]
    assert len(chains) == 2
    os.kill(state["pid"], 9)
    assert all(has_ended(chain, 10) for chain in chains)
    assert shell.run("dev", "status").code == 4
    lost = shell.run("trace", "0x" + "11" * 32)
    assert (lost.code, lost.document["next_step"]) == (4, "comity doctor")
    report = shell.run("doctor")
    assert (report.code, "comity dev up") == (4, next(filter(None, find_steps(report.document["checks"]))))
    shell.run("dev", "down")
    assert [path.name for path in (tmp_path / ".comity").iterdir()] == ["dev.log"]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("chains", ["1", "7"])
def test_an_impossible_number_of_chains_is_refused(tmp_path: Path, chains: str) -> None:
    assert Shell(tmp_path).run("dev", "up", "--chains", chains).code == 2
    assert not (tmp_path / ".comity").exists()


def test_a_devnet_that_cannot_start_says_why(tmp_path: Path) -> None:
    failed = Shell(tmp_path).run("dev", "up", "--background", COMITY_ANVIL="/nowhere/anvil")
    assert (failed.code, failed.document["next_step"]) == (4, "read .comity/dev.log")
    assert "COMITY_ANVIL names no executable" in failed.stderr


def find_steps(checks: list[dict[str, str | None]]) -> list[str | None]:
    return [row["next_step"] for row in checks]


def has_ended(process: int, patience: float) -> bool:
    """Whether the process of this pidfd ends within some seconds."""
    with os.fdopen(process) as file:
        return bool(select.select([file.fileno()], [], [], patience)[0])


def list_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
