"""Policies against their definition by sets: exhaustively for four verifiers, by sampling for all 120."""

from itertools import product

import pytest
from core_strategies import policies
from hypothesis import given
from hypothesis import strategies as st

from comity.core import policy
from comity.core.policy import Policy, implies, is_satisfied, is_wellformed

N = 4
MASKS = range(1 << N)


def build_word(required, optional, threshold):
    return threshold << 240 | optional << 120 | required


def is_wellformed_by_definition(required, optional, threshold):
    """One word per meaning: disjoint, reachable, not satisfied by nobody, and no idle optional verifiers."""
    reachable = threshold <= optional.bit_count()
    return required & optional == 0 and reachable and bool(required or threshold) and bool(threshold or not optional)


ALL = list(product(MASKS, MASKS, range(N + 2)))
WELLFORMED = [parts for parts in ALL if is_wellformed_by_definition(*parts)]


def accepts(parts, verified):
    required, optional, threshold = parts
    return required & verified == required and (optional & verified).bit_count() >= threshold


def test_wellformedness_is_the_definition_for_four_verifiers():
    assert [parts for parts in ALL if is_wellformed(build_word(*parts))] == WELLFORMED
    assert len(WELLFORMED) == 123


def test_satisfaction_is_the_definition_for_four_verifiers():
    for parts in ALL:
        for verified in MASKS:
            expected = parts in WELLFORMED and accepts(parts, verified)
            assert is_satisfied(build_word(*parts), verified) == expected, (parts, verified)


def test_implication_is_the_definition_for_four_verifiers():
    sets = {parts: {verified for verified in MASKS if accepts(parts, verified)} for parts in WELLFORMED}
    for c, p in product(WELLFORMED, WELLFORMED):
        assert implies(build_word(*c), build_word(*p)) == (sets[c] <= sets[p]), (c, p)


@given(policies(), policies(), st.integers(0, (1 << 120) - 1))
def test_implied_policy_is_satisfied_with_the_stronger(c, p, verified):
    if implies(c.word, p.word) and is_satisfied(c.word, verified):
        assert is_satisfied(p.word, verified)


@given(policies())
def test_word_and_text_round_trip(p):
    assert Policy.from_word(p.word) == p
    assert Policy.parse(str(p)) == p
    assert implies(p.word, p.word)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "and",
        "0 and",
        "x",
        "0,1",
        "1 of",
        "1 of {}",
        "2 of {1 2}",
        "0 1 of {2}",
        "0 and 0",
        "1 of {2,2}",
        "-1",
        "1 of {1}x",
    ],
)
def test_text_that_is_no_policy_is_refused(text):
    with pytest.raises(policy.PolicyTextMalformed):
        Policy.parse(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("120", policy.PolicyIndexOutOfRange),
        ("0 and 1 of {0,1}", policy.PolicyMasksOverlap),
        ("3 of {1,2}", policy.PolicyThresholdUnreachable),
        ("0 of {1}", policy.PolicyOptionalIdle),
    ],
)
def test_text_of_an_ill_formed_policy_is_refused_for_its_reason(text, error):
    with pytest.raises(error):
        Policy.parse(text)


@pytest.mark.parametrize("word", [-1, 1 << 256, 0])
def test_ill_formed_words_imply_nothing(word):
    for c, p in ((word, 1), (1, word)):
        with pytest.raises(policy.PolicyError):
            implies(c, p)


@pytest.mark.parametrize("word", [-1, 1 << 256, 1 << 256 | 1])
def test_values_of_more_than_256_bits_are_refused_as_such(word):
    assert not is_wellformed(word)
    with pytest.raises(policy.PolicyWordTooWide):
        Policy.from_word(word)


@pytest.mark.parametrize("threshold", [-1, 2, 1 << 16])
def test_thresholds_out_of_range_are_refused(threshold):
    with pytest.raises(policy.PolicyError):
        Policy(optional=frozenset({1}), threshold=threshold)


def test_policies_print_as_people_read_them():
    assert str(Policy(frozenset({0}), frozenset({3, 1, 2}), 2)) == "0 and 2 of {1,2,3}"
    assert str(Policy(frozenset({5, 4}))) == "4 and 5"
    assert str(Policy(optional=frozenset({1, 2}), threshold=1)) == "1 of {1,2}"
