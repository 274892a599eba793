"""Takes away the contracts' guards one by one, in copies of the project, and expects a test to fail for each.

    python -m tests.mutants [--only NAME …] [--jobs N]

Exits with 1 when a mutant survives, does not compile, or no longer fits its source.
"""

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

from comity.devnet.anvil import find_anvil
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, Mutant, StaleMutant

COPIED = ("src", "tests", "vectors", "pyproject.toml")
DEPLOYABLES = ("Authority", "Router", "Gate", "Attestation")
KILLED = "killed"
TEST_SECONDS = 300


class Workplace:
    """A copy of the project in which mutants are tried one by one; what they leave as it was stays compiled."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.root = folder
        for name in COPIED:
            source, target = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
        self.environment = os.environ | {
            "PYTHONPATH": str(folder / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COMITY_CACHE": str(cache),
            "COMITY_ANVIL": str(find_anvil()),
        }

    def judge(self, mutant: Mutant) -> str:
        """`killed`, or what is wrong with the mutant or its tests."""
        try:
            source = mutant.apply(self.root)
        except StaleMutant as stale:
            return f"stale: {stale}"
        try:
            compiled = self._run("-m", "comity.compiler", *DEPLOYABLES)
            if compiled.returncode != 0:
                return f"does not compile: {compiled.stderr.strip().splitlines()[-1:]}"
            failed = self.list_failures(mutant.tests)
            survived = [test for test in mutant.tests if test not in failed]
            return f"survived {', '.join(survived)}" if survived else KILLED
        finally:
            mutant.undo(self.root, source)

    def list_failures(self, tests: Sequence[str]) -> set[str]:
        """Those tests that themselves fail, in any of their cases; not those whose preparation does."""
        report = self.root / "report.xml"
        report.unlink(missing_ok=True)
        paths = [f"tests/{test}" for test in tests]
        self._run("-m", "pytest", *paths, "-p", "no:cacheprovider", f"--junitxml={report}")
        if not report.exists():
            return set()
        cases = [case for case in ElementTree.parse(report).iter("testcase") if case.find("failure") is not None]
        return {test for test in tests if any(is_case_of(case, test) for case in cases)}

    def passes(self, tests: Sequence[str]) -> bool:
        """Whether the tests pass where nothing was changed."""
        paths = [f"tests/{test}" for test in tests]
        return self._run("-m", "pytest", *paths, "-p", "no:cacheprovider").returncode == 0

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TEST_SECONDS,
            check=False,
        )


def is_case_of(case: ElementTree.Element, test: str) -> bool:
    """Whether a case of pytest's report belongs to the test."""
    file, _, function = f"tests/{test}".partition("::")
    name = case.get("name", "").partition("[")[0]
    return (case.get("classname"), name) == (file.removesuffix(".py").replace("/", "."), function)


def run(mutants: Sequence[Mutant], jobs: int) -> dict[str, str]:
    """Judge the mutants; what became of each, by name."""
    with tempfile.TemporaryDirectory(prefix="comity-mutants-") as folder:
        places: queue.SimpleQueue[Workplace] = queue.SimpleQueue()
        for number in range(jobs):
            places.put(Workplace(Path(folder) / str(number), Path(folder) / f"cache-{number}"))

        def judge(mutant: Mutant) -> str:
            place = places.get()
            try:
                verdict = place.judge(mutant)
            finally:
                places.put(place)
            print(f"{'ok  ' if verdict == KILLED else 'FAIL'} {mutant.name}: {verdict}", flush=True)
            return verdict

        place = places.get()
        if not place.passes(sorted({test for mutant in mutants for test in mutant.tests})):
            return {"without any mutant": "the tests fail already"}
        places.put(place)
        with ThreadPoolExecutor(jobs) as pool:
            return dict(zip((mutant.name for mutant in mutants), pool.map(judge, mutants), strict=True))


def main() -> int:
    """Run the catalogue, or the named part of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="the mutants of these names")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    options = parser.parse_args()
    unknown = set(options.only or ()) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if options.only is None or mutant.name in options.only]
    verdicts = run(chosen, options.jobs)
    killed = sum(verdict == KILLED for verdict in verdicts.values())
    print(f"killed {killed} of {len(verdicts)}")
    for name, verdict in verdicts.items():
        if verdict != KILLED:
            print(f"  {name}: {verdict}")
    return 0 if killed == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
