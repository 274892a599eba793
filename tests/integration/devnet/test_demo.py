"""`comity demo` as a user runs it: every envelope comes out as it must, one JSON object, nothing left behind."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

SECONDS = 60
"""What a demonstration may take on two cores once installed."""

MOST_COLUMNS = 100
COLUMN = 12.2
"""Width of a letter in the picture."""


@dataclass(frozen=True)
class Run:
    done: subprocess.CompletedProcess[str]
    folder: Path
    """Where it ran, and where its temporary files were."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    command = [sys.executable, "-m", "comity", "demo", "--json", "--svg", "pictures/demo.svg"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    return Run(done, folder)


def test_every_outcome_is_the_expected_one(run: Run) -> None:
    assert run.done.returncode == 0, run.done.stderr
    report = json.loads(run.done.stdout)
    assert report["unexpected"] == 0
    assert report["envelopes"] >= 50
    assert sum(report["outcomes"].values()) == report["envelopes"]
    assert set(report["outcomes"]) == {"executed", "failed", "expired"}
    assert min(report["outcomes"].values()) > 0


def test_it_stays_within_its_time(run: Run) -> None:
    assert json.loads(run.done.stdout)["seconds"] < SECONDS


def test_stdout_is_one_json_object_and_the_story_goes_to_stderr(run: Run) -> None:
    assert len(run.done.stdout.splitlines()) == 1
    for told in ("are held", "every outcome is the expected one", "✓ attested"):
        assert told in run.done.stderr


@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        "with a reply",
        "to a Solidity app",
        "depends on an earlier one",
        "retried until its app opens",
        "held until a second verifier signs",
        "its app reverts",
        "its app takes no calls",
    ],
)
def test_every_kind_is_sent_on_all_six_lanes(run: Run, kind: str) -> None:
    lanes = set(re.findall(rf"(\w+→\w+) #\d+, {kind}: sent", run.done.stderr))
    assert len(lanes) == 6


def test_the_table_names_each_lane_with_each_outcome(run: Run) -> None:
    table = run.done.stderr.partition("latency in blocks")[2].partition("envelope 0x")[0]
    assert len(re.findall(r"\w+→\w+ +executed", table)) == 6
    for outcome in ("executed", "failed", "expired"):
        assert len(re.findall(rf"\b{outcome} +\d+ +\d+ +\d+ +[\d,]+", table)) == 6


def test_the_picture_fits_a_page_and_loads_nothing(run: Run) -> None:
    text = (run.folder / "pictures/demo.svg").read_text()
    root = ElementTree.fromstring(text)
    width = float(root.attrib["viewBox"].split()[2])
    assert width <= (MOST_COLUMNS + 2) * COLUMN
    assert "every outcome is the expected one" in text.replace("&#160;", " ")
    assert "url(http" not in text
    assert "@font-face" not in text


def test_no_process_and_no_file_stays(run: Run) -> None:
    assert [path.name for path in run.folder.iterdir() if path.name != "tmp"] == ["pictures"]
    assert list((run.folder / "tmp").iterdir()) == []
    assert not [line for line in list_commands() if str(run.folder) in line]


def list_commands() -> list[str]:
    commands = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return commands
