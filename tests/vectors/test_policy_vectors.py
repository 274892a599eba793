"""Policy vectors against the code, and against the definition by sets."""

from itertools import combinations

import pytest
from vector_files import cases

from comity.core import policy
from comity.core.policy import Policy


def accepts(p, verified):
    return p.required <= verified and len(p.optional & verified) >= p.threshold


@pytest.mark.parametrize("case", cases("policy", "valid"))
def test_valid_policy_in_words_text_and_sets(case):
    read = Policy(frozenset(case["required"]), frozenset(case["optional"]), case["threshold"])
    masks = [sum(1 << index for index in case[name]) for name in ("required", "optional")]
    assert read.word == int(case["word"], 16) == masks[0] + (masks[1] << 120) + (case["threshold"] << 240)
    assert Policy.from_word(read.word) == read == Policy.parse(case["text"])
    assert str(read) == case["text"]


@pytest.mark.parametrize("case", cases("policy", "satisfied"))
def test_satisfaction_is_that_of_the_sets(case):
    word, mask = int(case["word"], 16), int(case["verified"], 16)
    verified = {index for index in range(120) if mask >> index & 1}
    assert policy.is_satisfied(word, mask) is case["expected"] is accepts(Policy.from_word(word), verified)


@pytest.mark.parametrize("case", cases("policy", "implied"))
def test_implication_is_that_of_the_sets(case):
    c, p = (Policy.from_word(int(case[name], 16)) for name in "cp")
    assert policy.implies(c.word, p.word) is case["expected"]
    named = sorted(c.required | c.optional | p.required | p.optional)
    if len(named) <= 10:
        subsets = [set(chosen) for size in range(len(named) + 1) for chosen in combinations(named, size)]
        assert case["expected"] == all(accepts(p, subset) for subset in subsets if accepts(c, subset))


@pytest.mark.parametrize("case", cases("policy", "invalid"))
def test_invalid_policy_is_refused_for_its_reason(case):
    word = int(case["word"], 16)
    assert not policy.is_wellformed(word)
    assert not policy.is_satisfied(word, (1 << 120) - 1)
    with pytest.raises(getattr(policy, case["error"])):
        Policy.from_word(word)
