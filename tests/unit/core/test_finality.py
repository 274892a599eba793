"""Finality rules: one text and one code each, and nothing in between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import Invalid
from comity.core.finality import FINALIZED, LATEST, MAX_DEPTH, SAFE, FinalityRule


@pytest.mark.parametrize(
    ("text", "code", "rule"),
    [("latest", 0xFFFFFFFD, LATEST), ("safe", 0xFFFFFFFE, SAFE), ("finalized", 0xFFFFFFFF, FINALIZED)],
)
def test_a_tag_has_its_code(text, code, rule):
    assert FinalityRule.parse(text) == FinalityRule.from_code(code) == rule
    assert (rule.code, str(rule), rule.tag, rule.depth) == (code, text, text, None)


@given(st.integers(1, MAX_DEPTH))
def test_a_depth_is_its_own_code(depth):
    rule = FinalityRule.parse(f"depth:{depth}")
    assert rule == FinalityRule.from_code(depth) == FinalityRule.from_depth(depth)
    assert (rule.code, str(rule), rule.tag, rule.depth) == (depth, f"depth:{depth}", None, depth)


@pytest.mark.parametrize("code", [0, -1, 0x80000000, 0xFFFFFFFC, 0x100000000])
def test_other_codes_mean_nothing(code):
    with pytest.raises(Invalid):
        FinalityRule.from_code(code)
    with pytest.raises(Invalid):
        FinalityRule.from_depth(code)


@pytest.mark.parametrize("tag_code", [0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF])
def test_a_depth_never_becomes_a_tag(tag_code):
    with pytest.raises(Invalid):
        FinalityRule.from_depth(tag_code)


@pytest.mark.parametrize(
    "text",
    ["", "Finalized", "pending", "depth", "depth:", "depth:0", "depth:01", "depth:-1", "depth:+1", "depth:1 ", "12"],
)
def test_other_texts_are_refused(text):
    with pytest.raises(Invalid):
        FinalityRule.parse(text)
