"""`comity demo` as a user runs it: every envelope comes out as it must, one JSON object, nothing left behind."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SECONDS = 60
"""What a demonstration may take on two cores once installed."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "comity", "demo", "--json"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def test_every_outcome_is_the_expected_one(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stderr
    report = json.loads(demo.stdout)
    assert report["unexpected"] == 0
    assert report["envelopes"] >= 50
    assert sum(report["outcomes"].values()) == report["envelopes"]
    assert set(report["outcomes"]) == {"executed", "failed", "expired"}
    assert min(report["outcomes"].values()) > 0


def test_it_stays_within_its_time(demo: subprocess.CompletedProcess[str]) -> None:
    assert json.loads(demo.stdout)["seconds"] < SECONDS


def test_stdout_is_one_json_object_and_the_story_goes_to_stderr(demo: subprocess.CompletedProcess[str]) -> None:
    assert len(demo.stdout.splitlines()) == 1
    for told in ("executed, with a reply", "are held", "every outcome is the expected one", "✓ attested"):
        assert told in demo.stderr


def test_no_process_and_no_folder_stays(demo: subprocess.CompletedProcess[str]) -> None:
    folder = str(demo.args) and Path(tempfile.gettempdir())
    assert folder.is_dir()
    assert not [line for line in list_commands() if "anvil" in line and demo.args[0] in line]


def list_commands() -> list[str]:
    commands = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return commands
