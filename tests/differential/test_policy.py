"""Policies: the module against `comity.core.policy`, and both against what a policy means."""

from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.core import policy
from tests.differential.harness import split
from tests.differential.samples import MASK, U256, Samples

NAMED = 4
"""Verifiers of the exhaustive tests: 1536 words, of which 123 are well-formed."""

PLACES = ((0, 1, 2, 3), (0, 59, 60, 119), (116, 117, 118, 119))
"""Which indices they have."""

# The harness is the same for every example on purpose.
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

masks = st.one_of(
    st.integers(0, MASK),
    st.sampled_from((0, 1, 1 << 119, MASK, MASK >> 1, MASK // 3, MASK // 5, MASK // 17, MASK // 255)),
    st.sets(st.integers(0, 119), max_size=9).map(lambda bits: sum(1 << bit for bit in bits)),
)


@st.composite
def wellformed_words(draw):
    """A well-formed policy over up to 120 verifiers, its threshold often at a bound."""
    optional = draw(masks)
    required = draw(masks) & ~optional
    if not optional:
        return required or 1
    least, most = 1, optional.bit_count()
    threshold = draw(st.one_of(st.sampled_from((least, most)), st.integers(least, most)))
    return threshold << 240 | optional << 120 | required


any_words = st.one_of(
    st.integers(0, U256),
    wellformed_words(),
    st.builds(lambda t, o, r: t << 240 | o << 120 | r, st.integers(0, 121), masks, masks),
)


@pytest.fixture(scope="session")
async def harness(deploy_harness):
    return await deploy_harness("policy")


def place(mask, indices):
    """A mask over a few verifiers, moved to these indices."""
    return sum(1 << index for bit, index in enumerate(indices) if mask >> bit & 1)


def build_words(indices):
    """Every word over the named verifiers, with thresholds up to one more than can be reached."""
    few = range(1 << NAMED)
    return [
        threshold << 240 | place(optional, indices) << 120 | place(required, indices)
        for required, optional, threshold in product(few, few, range(NAMED + 2))
    ]


def means(word, verified):
    """Whether a set satisfies a policy, verifier by verifier."""
    required, optional, threshold = word & MASK, word >> 120 & MASK, word >> 240
    named = sum(1 for index in range(120) if optional >> index & 1 and verified >> index & 1)
    return all(verified >> index & 1 for index in range(120) if required >> index & 1) and named >= threshold


def to_row(verdicts):
    """Bit i is the i-th verdict."""
    return sum(verdict << i for i, verdict in enumerate(verdicts))


@pytest.mark.parametrize("indices", PLACES, ids=str)
async def test_every_policy_over_four_verifiers_means_the_same(harness, indices):
    words = build_words(indices)
    sets = [place(mask, indices) for mask in range(1 << NAMED)]
    found = await harness.integers("is_wellformed", ["uint256[]"], words)
    assert [bool(verdict) for verdict in found] == [policy.is_wellformed(word) for word in words]
    formed = [word for word, verdict in zip(words, found, strict=True) if verdict]
    assert len(formed) == 123

    satisfied = await harness.integers("is_satisfied", ["uint256[]", "uint256[]"], formed, sets)
    assert satisfied == [to_row(policy.is_satisfied(word, mask) for mask in sets) for word in formed]
    assert satisfied == [to_row(means(word, mask) for mask in sets) for word in formed]
    assert all(row & 1 == 0 and row != 0 for row in satisfied)

    implied = await harness.integers("implies", ["uint256[]", "uint256[]"], formed, formed)
    assert implied == [to_row(policy.implies(c, p) for p in formed) for c in formed]
    assert implied == [to_row(c & ~p == 0 for p in satisfied) for c in satisfied]


async def test_every_small_mask_is_counted(harness):
    for shift in (0, 57, 109):
        small = [mask << shift for mask in range(1 << 11)]
        assert await harness.integers("count", ["uint256[]"], small) == [mask.bit_count() for mask in small]
    runs = [((1 << length) - 1) << at for length in range(121) for at in range(0, 121 - length, 7)]
    for batch in split(runs, 2048):
        assert await harness.integers("count", ["uint256[]"], batch) == [mask.bit_count() for mask in batch]


@EXAMPLES
@given(words=st.lists(any_words, min_size=64, max_size=64), counted=st.lists(masks, min_size=64, max_size=64))
async def test_any_word_is_judged_alike(harness, words, counted):
    assert await harness.integers("count", ["uint256[]"], counted) == [mask.bit_count() for mask in counted]
    named = await harness.integers("mask", ["uint256[]"], words)
    assert named == [(word | word >> 120) & MASK for word in words]
    found = await harness.integers("is_wellformed", ["uint256[]"], words)
    assert [bool(verdict) for verdict in found] == [policy.is_wellformed(word) for word in words]


@EXAMPLES
@given(words=st.lists(wellformed_words(), min_size=32, max_size=32), verified=st.lists(masks, min_size=32, max_size=32))
async def test_any_policy_is_satisfied_and_implies_alike(harness, words, verified):
    assert all(map(policy.is_wellformed, words))
    sets = verified + [word & MASK for word in words] + [(word | word >> 120) & MASK for word in words]
    satisfied = await harness.integers("is_satisfied", ["uint256[]", "uint256[]"], words, sets)
    assert satisfied == [to_row(policy.is_satisfied(word, mask) for mask in sets) for word in words]
    implied = await harness.integers("implies", ["uint256[]", "uint256[]"], words, words)
    assert implied == [to_row(policy.implies(c, p) for p in words) for c in words]
    assert all(row >> i & 1 for i, row in enumerate(implied))


async def test_policies_next_to_each_other_imply_alike(harness):
    samples = Samples(4)
    base = [samples.policy() for _ in range(40)]
    near = [word ^ 1 << samples.randrange(256) for word in base for _ in range(12)]
    words = base + [word for word in near if policy.is_wellformed(word)]
    assert len(words) > 120
    for weaker in split(words, 256):
        implied = await harness.integers("implies", ["uint256[]", "uint256[]"], words, weaker)
        assert implied == [to_row(policy.implies(c, p) for p in weaker) for c in words]


async def test_vectors_hold_for_the_contract(harness, vectors):
    lists = vectors["policy"]
    words = [int(case["word"], 16) for case in lists["valid"] + lists["invalid"]]
    found = await harness.integers("is_wellformed", ["uint256[]"], words)
    assert found == [1] * len(lists["valid"]) + [0] * len(lists["invalid"])
    masked = await harness.integers("mask", ["uint256[]"], words[: len(lists["valid"])])
    assert masked == [place_of(case["required"] + case["optional"]) for case in lists["valid"]]
    for case in lists["satisfied"]:
        values = [int(case["word"], 16)], [int(case["verified"], 16)]
        assert await harness.integers("is_satisfied", ["uint256[]", "uint256[]"], *values) == [case["expected"]]
    for case in lists["implied"]:
        values = [int(case["c"], 16)], [int(case["p"], 16)]
        assert await harness.integers("implies", ["uint256[]", "uint256[]"], *values) == [case["expected"]]


def place_of(indices):
    return sum(1 << index for index in indices)
