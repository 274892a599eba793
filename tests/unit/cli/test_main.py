"""Exit codes and where errors go."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from comity.cli import main

HEAVY = {"eth_account", "aiohttp", "vyper", "sqlalchemy", "rich.table", "comity.chain.rpc", "msgspec"}


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    code = ended.value.code
    return code if isinstance(code, int) else 0


@pytest.mark.parametrize("arguments", [("nonsense",), ("trace", "0x12"), ("send", "alpha"), ("deploy",)])
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments) == 2


def test_a_missing_configuration_exits_3_and_names_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert run("trace", "0x" + "11" * 32, "--json") == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["next_step"] == "comity dev up"
    assert "next:  comity dev up" in said.err


def test_no_devnet_exits_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("dev", "status") == 4


def test_down_without_a_devnet_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("dev", "down", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"stopped": False}


def test_a_state_file_of_another_process_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pid lives, but it is this test's: its start time differs, so `down` must not signal it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".comity").mkdir()
    import os

    (tmp_path / ".comity" / "dev.json").write_text(json.dumps({"pid": os.getpid(), "started": "1"}))
    assert run("dev", "down") == 0
    assert run("dev", "status") == 4


def test_help_imports_nothing_heavy() -> None:
    script = "import sys\nfrom comity.cli import app\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
