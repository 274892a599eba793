"""One change of a contract that takes a guard away, and the tests that must notice it."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTRACTS = "src/comity/contracts"


class StaleMutant(Exception):
    """What a mutant replaces does not stand in its file exactly once: the contract has changed under it."""


@dataclass(frozen=True)
class Mutant:
    """A named replacement in one source."""

    name: str
    file: str
    """Relative to the contracts' folder."""
    original: str
    replacement: str
    tests: tuple[str, ...]
    """Node ids, relative to the tests' folder; each of them must fail."""
    threats: tuple[str, ...] = ()
    """Rows of the threat list that the guard answers."""

    def apply(self, root: Path) -> str:
        """Change the source below a root, and return what it was. Raises: StaleMutant."""
        path = root / CONTRACTS / self.file
        source = path.read_text()
        if source.count(self.original) != 1:
            raise StaleMutant(f"{self.name}: found {source.count(self.original)} times in {self.file}")
        path.write_text(source.replace(self.original, self.replacement))
        return source

    def undo(self, root: Path, source: str) -> None:
        """Put the source back."""
        (root / CONTRACTS / self.file).write_text(source)


def drop(name: str, file: str, original: str, *tests: str, threats: str = "") -> Mutant:
    """A mutant without a statement; `pass` stands in its place."""
    indent = original[: len(original) - len(original.lstrip())]
    return Mutant(name, file, original, f"{indent}pass", tests, tuple(threats.split()))


def swap(name: str, file: str, original: str, replacement: str, *tests: str, threats: str = "") -> Mutant:
    """A mutant with another piece of code."""
    return Mutant(name, file, original, replacement, tests, tuple(threats.split()))
