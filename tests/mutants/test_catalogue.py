"""The catalogue of mutants fits the contracts and the tests as they are, and a few of them are killed on every run."""

import re
from collections import Counter

import pytest

from tests.mutants.__main__ import KILLED, run
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import CONTRACTS, ROOT, Mutant

SAMPLE = ("executed again", "nothing proved", "anyone governs the router", "whoever signed")
"""One guard of each contract."""


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


def test_the_sample_is_killed():
    sample = [mutant for mutant in MUTANTS if mutant.name in SAMPLE]
    assert run(sample, jobs=1) == dict.fromkeys((mutant.name for mutant in sample), KILLED)
