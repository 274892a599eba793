"""The catalogue of mutants fits the contracts and the tests as they are, and a few of them are killed on every run."""

import re
from collections import Counter

import pytest

from tests.mutants.__main__ import KILLED, run
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import CONTRACTS, ROOT, Mutant

SAMPLE = ("executed again", "nothing proved", "anyone governs the router", "whoever signed")
"""One guard of each contract."""

GUARDED = (
    "Gate.vy",
    "Router.vy",
    "Authority.vy",
    "parts/brake.vy",
    "parts/delayed_owner.vy",
    "parts/receiver_policies.vy",
    "verifiers/Attestation.vy",
    "core/interop_address.vy",
)

WITHOUT_MUTANT = {
    # Why nothing was done: these choose the words of a refusal, which every test of one compares.
    "Gate.vy": {
        "gate: already delivered",
        "gate: too early",
        "gate: deadline passed",
        "gate: policy not satisfied",
        "gate: receiver has no policy",
        "gate: dependency undecided",
        "gate: more gas needed",
        "gate: receiver failed",
        "gate: valuation failed",
        "gate: not supported yet",
    },
    # The dispatch checks the policy once more; here the floor needs it to be sound.
    "Router.vy": {"router: policy is not well-formed"},
    # The Gate, which is told next, has the same bound.
    "Authority.vy": {"authority: no index left"},
    # What is shorter has no valid length either, and the arithmetic on another reference reverts.
    "core/interop_address.vy": {"address: too short", "address: no chain reference"},
}
"""Guards that could go without anything changing, by file."""


def find_threats():
    """The rows of the threat list that the contract tests answer."""
    sources = (ROOT / "tests/contracts").rglob("test_*.py")
    return {row for source in sources for row in re.findall(r'mark\.threat\("(\w+)"\)', source.read_text())}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_its_source_and_names_tests_that_exist(mutant: Mutant):
    source = (ROOT / CONTRACTS / mutant.file).read_text()
    assert source.count(mutant.original) == 1
    assert mutant.replacement != mutant.original
    assert mutant.tests
    for test in mutant.tests:
        file, _, function = test.partition("::")
        assert f"def {function}(" in (ROOT / "tests" / file).read_text(), test


def test_names_are_unique():
    assert [name for name, times in Counter(mutant.name for mutant in MUTANTS).items() if times > 1] == []


def test_every_threat_that_the_contract_tests_answer_has_a_mutant():
    assert find_threats() - {threat for mutant in MUTANTS for threat in mutant.threats} == set()


@pytest.mark.parametrize("file", GUARDED)
def test_every_guard_has_a_mutant(file):
    """Each `assert` with a reason stands in what some mutant replaces, or is named here with why not."""
    source = (ROOT / CONTRACTS / file).read_text()
    replaced = [
        range(source.index(mutant.original), source.index(mutant.original) + len(mutant.original))
        for mutant in MUTANTS
        if mutant.file == file
    ]
    guards = [match for match in re.finditer(r'^ *(assert|raise) .*"([a-z_]+: .+)"$', source, re.MULTILINE)]
    assert guards
    bare = {match[2] for match in guards if not any(match.start(1) in each for each in replaced)}
    assert bare == WITHOUT_MUTANT.get(file, set())


def test_the_sample_is_killed():
    sample = [mutant for mutant in MUTANTS if mutant.name in SAMPLE]
    assert run(sample, jobs=1) == dict.fromkeys((mutant.name for mutant in sample), KILLED)
