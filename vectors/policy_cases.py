"""Cases of policy.json."""

from vector_format import Case

from comity.core import policy
from comity.core.policy import Policy


def _word(required: int, optional: int = 0, threshold: int = 0) -> int:
    return threshold << 240 | optional << 120 | required


INVALID_POLICIES = (
    ("nothing", 0, policy.PolicyAcceptsNothing),
    ("masks overlap", _word(0b011, 0b110, 1), policy.PolicyMasksOverlap),
    ("masks overlap at index 119", _word(1 << 119, 1 << 119 | 1, 1), policy.PolicyMasksOverlap),
    ("threshold above the optional ones", _word(1, 0b110, 3), policy.PolicyThresholdUnreachable),
    ("threshold without optional ones", _word(1, 0, 1), policy.PolicyThresholdUnreachable),
    ("threshold 256 of eight", _word(0, 0xFF, 256), policy.PolicyThresholdUnreachable),
    ("optional ones with threshold 0", _word(1, 0b110, 0), policy.PolicyOptionalIdle),
    ("only optional ones with threshold 0", _word(0, 0b110, 0), policy.PolicyOptionalIdle),
)
POLICIES = (
    Policy(frozenset({0})),
    Policy(frozenset({0, 1})),
    Policy(optional=frozenset({0}), threshold=1),
    Policy(optional=frozenset({0, 1}), threshold=1),
    Policy(optional=frozenset({0, 1, 2}), threshold=2),
    Policy(optional=frozenset({0, 1, 2}), threshold=3),
    Policy(frozenset({0}), frozenset({1, 2, 3}), 2),
    Policy(frozenset({119})),
    Policy(frozenset({119}), frozenset({0, 118}), 1),
    Policy(frozenset(range(120))),
    Policy(optional=frozenset(range(120)), threshold=61),
)


def build_policy() -> Case:
    """policy.json."""
    masks = (
        0,
        0b0001,
        0b0011,
        0b0110,
        0b0111,
        0b1101,
        1 << 119,
        1 << 119 | 1,
        (1 << 120) - 1,
        (1 << 61) - 1,
        (1 << 60) - 1,
    )
    valid = [
        {
            "name": str(p) if len(p.required | p.optional) < 9 else f"{len(p.required)} and {p.threshold} of many",
            "word": hex(p.word),
            "text": str(p),
            "required": sorted(p.required),
            "optional": sorted(p.optional),
            "threshold": p.threshold,
        }
        for p in POLICIES
    ]
    satisfied = [
        {
            "name": f"{i}, {mask:#x}",
            "word": hex(p.word),
            "verified": hex(mask),
            "expected": policy.is_satisfied(p.word, mask),
        }
        for i, p in enumerate(POLICIES)
        for mask in masks
    ]
    implied = [
        {"name": f"{i}, {j}", "c": hex(c.word), "p": hex(p.word), "expected": policy.implies(c.word, p.word)}
        for i, c in enumerate(POLICIES)
        for j, p in enumerate(POLICIES)
    ]
    invalid = [{"name": name, "word": hex(word), "error": error.__name__} for name, word, error in INVALID_POLICIES]
    return {"valid": valid, "satisfied": satisfied, "implied": implied, "invalid": invalid}
