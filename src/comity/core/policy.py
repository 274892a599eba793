"""Policies: which sets of accepting verifiers are enough, as one 256-bit word. Trusts nobody.

    threshold u16 | optional mask u120 | required mask u120          (most significant first)

An accepting set V satisfies a policy when required ⊆ V and |optional ∩ V| ≥ threshold.
Spec: spec/verification.md, "Policy". Twin: contracts/core/policy.vy.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from comity.core.errors import Invalid

MAX_VERIFIERS = 120
"""Verifiers that a Gate can register, hence bits of a mask."""

_OPTIONAL_SHIFT = MAX_VERIFIERS
_THRESHOLD_SHIFT = 2 * MAX_VERIFIERS
_MASK = (1 << MAX_VERIFIERS) - 1
_WORD_BITS = 256


class PolicyError(Invalid):
    """Not a well-formed policy; the subclasses say why."""


class PolicyWordTooWide(PolicyError):
    """The value does not fit one 256-bit word."""


class PolicyMasksOverlap(PolicyError):
    """A verifier is both required and optional."""


class PolicyThresholdUnreachable(PolicyError):
    """More optional verifiers are asked for than are named."""


class PolicyAcceptsNothing(PolicyError):
    """Neither a required verifier nor a threshold: the empty set would satisfy it."""


class PolicyOptionalIdle(PolicyError):
    """Optional verifiers with threshold 0 change nothing, so the same meaning would have several words."""


class PolicyIndexOutOfRange(PolicyError):
    """A verifier's index is not in 0..119."""


class PolicyTextMalformed(PolicyError):
    """The text is not of the form `0 and 2 of {1,2,3}`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy by the indices of its verifiers; well-formed by construction."""

    required: frozenset[int] = frozenset()
    """Indices that must all accept."""
    optional: frozenset[int] = frozenset()
    """Indices of which `threshold` must accept."""
    threshold: int = 0

    def __post_init__(self) -> None:
        validate_policy(self.word)

    @property
    def word(self) -> int:
        """The policy as its one word."""
        masks = _compute_mask(self.optional) << _OPTIONAL_SHIFT | _compute_mask(self.required)
        return self.threshold << _THRESHOLD_SHIFT | masks

    @classmethod
    def from_word(cls, word: int) -> Self:
        """Read a policy from its word.

        Raises: PolicyError.
        """
        validate_policy(word)
        required, optional, threshold = _unpack(word)
        return cls(_indices(required), _indices(optional), threshold)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0 and 4`, `2 of {1,2,3}`, or both joined by `and`: the form that `str` writes.

        Raises: PolicyError.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None or not match[0]:
            raise PolicyTextMalformed("policy text", text=text, expected="0 and 2 of {1,2,3}")
        required = [int(index) for index in re.findall(r"[0-9]+", match["required"] or "")]
        optional = [int(index) for index in re.findall(r"[0-9]+", match["optional"] or "")]
        for name, indices in (("required", required), ("optional", optional)):
            if len(set(indices)) != len(indices):
                raise PolicyTextMalformed("policy text names a verifier twice", text=text, part=name)
        return cls(frozenset(required), frozenset(optional), int(match["threshold"] or 0))

    def __str__(self) -> str:
        parts = [str(index) for index in sorted(self.required)]
        if self.optional:
            parts.append(f"{self.threshold} of {{{','.join(map(str, sorted(self.optional)))}}}")
        return " and ".join(parts)


_TEXT = re.compile(
    r"(?P<required>[0-9]+(?: and [0-9]+)*)?"
    r"(?:(?(required) and )(?P<threshold>[0-9]+) of \{(?P<optional>[0-9]+(?:, ?[0-9]+)*)\})?"
)


def validate_policy(word: int) -> None:
    """Check that a word is a well-formed policy.

    Raises: PolicyError.
    """
    if word >> _WORD_BITS:
        raise PolicyWordTooWide("policy is not a 256-bit word", word=word)
    required, optional, threshold = _unpack(word)
    if required & optional:
        raise PolicyMasksOverlap("policy masks overlap", required=hex(required), optional=hex(optional))
    if threshold > optional.bit_count():
        raise PolicyThresholdUnreachable("policy threshold", threshold=threshold, optional=optional.bit_count())
    if threshold == 0 and optional:
        raise PolicyOptionalIdle("policy names optional verifiers with threshold 0", optional=hex(optional))
    if threshold == 0 and required == 0:
        raise PolicyAcceptsNothing("policy accepts the empty set", word=word)


def is_wellformed(word: int) -> bool:
    """Say whether a word is a policy at all."""
    try:
        validate_policy(word)
    except PolicyError:
        return False
    return True


def is_satisfied(word: int, verified: int) -> bool:
    """Say whether the accepting verifiers (bit i = index i) satisfy the policy; an ill-formed policy never is."""
    required, optional, threshold = _unpack(word)
    return is_wellformed(word) and required & ~verified == 0 and (optional & verified).bit_count() >= threshold


def implies(c: int, p: int) -> bool:
    """Say whether every set that satisfies policy `c` satisfies policy `p`, that is, whether `c` is at least as strong.

    Exact for well-formed words: what `c` forces is its required mask, and its optional one too when all of it is asked
    for; the least that `c` leaves of `p`'s optional mask is reached by accepting what `c` offers outside it first.

    Raises: PolicyError, when either word is ill-formed.
    """
    validate_policy(c)
    validate_policy(p)
    c_required, c_optional, c_threshold = _unpack(c)
    p_required, p_optional, p_threshold = _unpack(p)
    forced = c_required | (c_optional if c_threshold == c_optional.bit_count() else 0)
    outside = (c_optional & ~p_optional).bit_count()
    least = (p_optional & c_required).bit_count() + max(0, c_threshold - outside)
    return p_required & ~forced == 0 and least >= p_threshold


def _unpack(word: int) -> tuple[int, int, int]:
    """Split a word into (required, optional, threshold)."""
    return word & _MASK, word >> _OPTIONAL_SHIFT & _MASK, word >> _THRESHOLD_SHIFT


def _compute_mask(indices: Iterable[int]) -> int:
    mask = 0
    for index in indices:
        if not 0 <= index < MAX_VERIFIERS:
            raise PolicyIndexOutOfRange("verifier index", index=index, expected=f"0..{MAX_VERIFIERS - 1}")
        mask |= 1 << index
    return mask


def _indices(mask: int) -> frozenset[int]:
    return frozenset(index for index in range(MAX_VERIFIERS) if mask >> index & 1)
