"""Run spin over every model, as it is and once for each broken variant, and compare each verdict with the expected one.

A property holds, or spin finds a counterexample. Each broken variant must be caught by the properties named for it, and
by no others; the properties that begin with `never_` show that the models are not vacuous, and must be refuted.
"""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).parent
LIVENESS = frozenset({"L2"})
"""Checked under weak fairness: whoever can go on for ever does go on at some time."""


@dataclass(frozen=True)
class Variant:
    """A model with some rule changed."""

    name: str
    defines: tuple[str, ...]
    refuted: frozenset[str]
    """The properties that must have a counterexample."""


@dataclass(frozen=True)
class Result:
    """What spin found for one property of one variant."""

    holds: bool
    states: int


def variant(name: str, *refuted: str, defines: str = "") -> Variant:
    """Describe a variant; without `defines` the name is what the model is to define."""
    return Variant(name, tuple(defines.split()) if defines else (name,), frozenset(refuted))


AS_SPECIFIED = "as specified"
WITNESS = "never_"
"""Begins the names of the properties whose counterexample shows that something can happen at all."""

VARIANTS = {
    "delivery": (
        Variant(AS_SPECIFIED, (), frozenset({"never_executed", "never_expired"})),
        variant("NO_MARK", "S2", "S8"),
        variant("MARK_WITHOUT_POLICY", "S20", "ORDER", "L2"),
        variant("DELIVER_AFTER_DEADLINE", "S8"),
        variant("EXPIRE_AT_DEADLINE", "S8"),
        variant("EXPIRE_WRITES_MARK", "S20", "L2"),
        variant("EXPIRE_NEEDS_PROOF", "L2"),
        variant("NO_DEPENDENCY", "ORDER"),
        variant("RETRY_FAILS", "RETRY"),
    ),
    "finality": (
        Variant(AS_SPECIFIED, (), frozenset({"never_executed"})),
        variant("too few confirmations", "S3", defines="CONFIRMATIONS=1"),
        variant("THRESHOLD=1", "S3"),
        # Beyond the finality depth nothing protects what was executed; the attestors still notice, and stop.
        variant("deeper than finality", "S3", "never_halted", defines="REORG=3"),
        variant("FORGETFUL", "S3", "ONE_WORD", defines="REORG=3 FORGETFUL"),
        variant("PUBLISH_FIRST", "S3", "ONE_WORD", defines="REORG=3 PUBLISH_FIRST"),
    ),
}


def list_properties(model: str) -> list[str]:
    """Return the names of a model's properties, in its order."""
    return re.findall(r"^ltl (\w+)", (MODELS / f"{model}.pml").read_text(), re.MULTILINE)


def build_verifier(model: str, changed: Variant, folder: Path) -> Path:
    """Translate a variant to C and compile it."""
    defines = [f"-D{define}" for define in changed.defines]
    subprocess.run(["spin", *defines, "-a", str(MODELS / f"{model}.pml")], cwd=folder, check=True, capture_output=True)
    subprocess.run(["cc", "-O2", "-w", "-DMEMLIM=2048", "-DNFAIR=3", "-o", "pan", "pan.c"], cwd=folder, check=True)
    return folder / "pan"


def verify(verifier: Path, name: str) -> Result:
    """Search the whole state space for a counterexample to one property."""
    fairness = ["-f"] if name in LIVENESS else []
    command = [str(verifier), "-a", *fairness, "-m1000000", "-N", name]
    output = subprocess.run(command, cwd=verifier.parent, check=False, capture_output=True, text=True).stdout
    found = re.search(r"errors: (\d+)", output)
    states = re.search(r"(\d+) states, stored", output)
    # A search that was cut short and found nothing has shown nothing.
    cut_short = "Search not completed" in output or "max search depth too small" in output
    if found is None or states is None or (cut_short and found[1] == "0"):
        raise SystemExit(output)
    return Result(found[1] == "0", int(states[1]))


def show(line: str) -> None:
    """Print a line at once: a search takes seconds."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def check(model: str, changed: Variant) -> int:
    """Print a row for each property of a variant; return how many verdicts are not the expected ones."""
    surprises = 0
    with tempfile.TemporaryDirectory() as folder:
        verifier = build_verifier(model, changed, Path(folder))
        for name in list_properties(model):
            if name.startswith(WITNESS) and changed.name != AS_SPECIFIED and name not in changed.refuted:
                continue
            result = verify(verifier, name)
            is_expected = result.holds == (name not in changed.refuted)
            surprises += not is_expected
            verdict = "holds" if result.holds else "counterexample"
            note = "" if is_expected else "  NOT AS EXPECTED"
            show(f"{model:<10}{changed.name:<24}{name:<16}{result.states:>10,}  {verdict}{note}")
    return surprises


def main() -> int:
    """Check every variant of every model; return 1 when a verdict is not the expected one."""
    show(f"{'model':<10}{'variant':<24}{'property':<16}{'states':>10}  verdict")
    surprises = sum(check(model, changed) for model, variants in VARIANTS.items() for changed in variants)
    show(f"{surprises} verdicts are not as expected")
    return int(surprises > 0)


if __name__ == "__main__":
    sys.exit(main())
