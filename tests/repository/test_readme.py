"""README.md is true: its programs compile, its figures are the committed ones, its links and commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from gas_tables import BLOCK, DECISIONS, FIGURE, README, ROOT, build_tables, load_figures

from comity.compiler import compile_solidity, compile_vyper

TEXT = README.read_text()
PAGES = sorted(path for folder in (".", "spec", "docs") for path in (ROOT / folder).glob("*.md"))
PAGES += DECISIONS


def find_programs(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_readme_app_in_vyper_compiles_and_takes_25_lines(tmp_path: Path) -> None:
    (program,) = find_programs("vyper")
    source = tmp_path / "Counter.vy"
    source.write_text(program)
    artifact = compile_vyper(source)
    assert {"receiveMessage", "add_there", "total"} <= {entry.get("name") for entry in artifact.abi}
    assert len([line for line in program.splitlines() if line.strip()]) <= 25


def test_readme_app_in_solidity_compiles_on_openzeppelins_recipient(tmp_path: Path) -> None:
    (program,) = find_programs("solidity")
    source = tmp_path / "Counter.sol"
    source.write_text(program)
    assert compile_solidity(source, ROOT / "node_modules").bytecode


def test_readme_gas_is_that_of_the_snapshot() -> None:
    found = BLOCK.search(TEXT)
    assert found is not None
    assert found[2] == build_tables(load_figures())


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_figures_of_a_decision_are_those_of_the_snapshot(page: Path) -> None:
    figures = load_figures()
    quoted = {name: gas for _, name, gas in FIGURE.findall(page.read_text())}
    assert quoted == {name: f"{figures[name]:,}" for name in quoted}


def test_every_command_of_the_readme_exists() -> None:
    commands = set(re.findall(r"^(?:\$ )?comity ((?:[a-z]+ ?){1,2})", TEXT, re.MULTILINE))
    assert commands
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "comity", *command.split()[:2], "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"comity {command}: {done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [target for target in targets if target and "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_path_that_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    paths = set(re.findall(r"`((?:src|spec|tests|docs|vectors)/[\w./-]*|(?:[a-z_]+/)+[\w.]+\.(?:py|vy|sql))`", text))
    assert paths
    roots = (ROOT, ROOT / "src" / "comity", ROOT / "src")
    assert [path for path in sorted(paths) if not any((root / path).exists() for root in roots)] == []
