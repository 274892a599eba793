"""core/policy.vy against comity.core.policy, and both against what the definition counts out."""

import random
from itertools import product

import pytest

from comity.core import policy
from comity.core.policy import Policy
from tests.vectors.vector_files import cases

VERIFIERS = 3
SMALL = range(1 << VERIFIERS)
WORDS = [
    threshold << 240 | optional << 120 | required
    for threshold, optional, required in product(range(VERIFIERS + 2), SMALL, SMALL)
]
WELLFORMED = [word for word in WORDS if policy.is_wellformed(word)]
MASK = (1 << 120) - 1
RANDOM = 4_000


def accepts(word, verified):
    """By the definition, without arithmetic."""
    required, optional, threshold = word & MASK, word >> 120 & MASK, word >> 240
    return required & ~verified == 0 and bin(optional & verified).count("1") >= threshold


def draw_word(rng):
    """Well-formed, or nearly so."""
    named = rng.sample(range(120), rng.randint(1, 120))
    split = rng.choice([0, len(named), rng.randint(0, len(named))])
    required, optional = frozenset(named[:split]), frozenset(named[split:])
    word = Policy(required, optional, rng.randint(1, len(optional)) if optional else 0).word
    return word if rng.random() < 0.7 else word ^ 1 << rng.randrange(256)


def draw_stronger(rng, word):
    """A policy near another one, so that whether it implies it is in question."""
    near = word ^ sum(1 << rng.randrange(256) for _ in range(rng.randint(0, 2)))
    return near if policy.is_wellformed(near) else word


async def test_bits_are_counted(modules):
    rng = random.Random(0)
    masks = [0, 1, MASK, 1 << 119, *(rng.getrandbits(120) for _ in range(500)), *(1 << n for n in range(120))]
    assert await modules.ask_words("count(uint256)", [(mask,) for mask in masks]) == [
        mask.bit_count() for mask in masks
    ]


@pytest.mark.threat("B4")
async def test_well_formedness_agrees_on_every_small_word(modules):
    """A well-formed word is satisfied by something, and never by nothing; each meaning of thresholds has one word."""
    judged = await modules.ask_words("is_wellformed(uint256)", [(word,) for word in WORDS])
    assert [bool(one) for one in judged] == [policy.is_wellformed(word) for word in WORDS]
    for word in WELLFORMED:
        assert not accepts(word, 0)
        assert accepts(word, MASK)


async def test_satisfaction_agrees_on_every_small_word_and_set(modules):
    pairs = list(product(WELLFORMED, SMALL))
    judged = await modules.ask_words("is_satisfied(uint256,uint256)", pairs)
    assert [bool(one) for one in judged] == [accepts(*pair) for pair in pairs]
    assert [policy.is_satisfied(*pair) for pair in pairs] == [accepts(*pair) for pair in pairs]


async def test_implication_is_exact_on_every_small_pair(modules):
    """c implies p exactly when every set that satisfies c satisfies p: S6 at the front door rests on it."""
    pairs = list(product(WELLFORMED, WELLFORMED))
    judged = await modules.ask_words("implies(uint256,uint256)", pairs)
    satisfying = {word: {verified for verified in SMALL if accepts(word, verified)} for word in WELLFORMED}
    assert [bool(one) for one in judged] == [satisfying[c] <= satisfying[p] for c, p in pairs]
    assert [policy.implies(c, p) for c, p in pairs] == [satisfying[c] <= satisfying[p] for c, p in pairs]


async def test_all_agree_on_words_of_120_verifiers(modules):
    rng = random.Random(120)
    words = [draw_word(rng) for _ in range(RANDOM)]
    judged = await modules.ask_words("is_wellformed(uint256)", [(word,) for word in words])
    assert [bool(one) for one in judged] == [policy.is_wellformed(word) for word in words]
    sound = [word for word in words if policy.is_wellformed(word)]
    near = [(word, (word | word >> 120) & MASK & ~(1 << rng.randrange(120))) for word in sound]
    judged = await modules.ask_words("is_satisfied(uint256,uint256)", near)
    assert [bool(one) for one in judged] == [policy.is_satisfied(*pair) for pair in near]
    pairs = [(draw_stronger(rng, word), word) for word in sound]
    judged = await modules.ask_words("implies(uint256,uint256)", pairs)
    assert [bool(one) for one in judged] == [policy.implies(*pair) for pair in pairs]
    assert 0 < sum(judged) < len(judged)
    masks = await modules.ask_words("mask(uint256)", [(word,) for word in words])
    assert masks == [(word | word >> 120) & MASK for word in words]


@pytest.mark.parametrize("case", cases("policy", "valid"))
async def test_the_contract_accepts_a_valid_vector(modules, case):
    assert await modules.ask_words("is_wellformed(uint256)", [(int(case["word"], 16),)]) == [1]


@pytest.mark.parametrize("case", [case for case in cases("policy", "invalid") if len(case.values[0]["word"]) <= 66])
async def test_the_contract_refuses_an_invalid_vector(modules, case):
    assert await modules.ask_words("is_wellformed(uint256)", [(int(case["word"], 16),)]) == [0]


@pytest.mark.parametrize("case", cases("policy", "satisfied"))
async def test_the_contract_agrees_with_a_vector_of_satisfaction(modules, case):
    word, verified = int(case["word"], 16), int(case["verified"], 16)
    wellformed, satisfied = (
        (await modules.ask_words("is_wellformed(uint256)", [(word,)]))[0],
        (await modules.ask_words("is_satisfied(uint256,uint256)", [(word, verified)]))[0],
    )
    assert bool(wellformed and satisfied) == case["expected"]


@pytest.mark.parametrize("case", cases("policy", "implied"))
async def test_the_contract_agrees_with_a_vector_of_implication(modules, case):
    pair = (int(case["c"], 16), int(case["p"], 16))
    assert await modules.ask_words("implies(uint256,uint256)", [pair]) == [case["expected"]]
