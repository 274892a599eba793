"""When a block counts as final: `latest`, `safe`, `finalized`, or a depth; pure. Specification: spec/verification.md.

The code is part of an attestation set's id, so that a signature says under which rule it was given.
"""

from dataclasses import dataclass

from comity.core.errors import Invalid

_TAG_CODES = {"latest": 0xFFFFFFFD, "safe": 0xFFFFFFFE, "finalized": 0xFFFFFFFF}
_CODE_TAGS = {code: tag for tag, code in _TAG_CODES.items()}
MAX_DEPTH = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class FinalityRule:
    """One rule; build it by `parse`, `from_code` or `from_depth`, or use `LATEST`, `SAFE`, `FINALIZED`."""

    code: int
    """uint32: a depth in blocks, or one of the three codes of a tag."""

    def __post_init__(self) -> None:
        if not (1 <= self.code <= MAX_DEPTH or self.code in _CODE_TAGS):
            raise Invalid("no finality rule has this code", code=self.code)

    @classmethod
    def from_code(cls, code: int) -> "FinalityRule":
        """The rule of a wire code. Raises: Invalid."""
        return cls(code)

    @classmethod
    def from_depth(cls, depth: int) -> "FinalityRule":
        """Final once `depth` blocks stand upon it. Raises: Invalid."""
        if not 1 <= depth <= MAX_DEPTH:
            raise Invalid("a depth is between 1 and 0x7fffffff blocks", depth=depth)
        return cls(depth)

    @classmethod
    def parse(cls, text: str) -> "FinalityRule":
        """Read `latest`, `safe`, `finalized` or `depth:12`. Raises: Invalid."""
        if text in _TAG_CODES:
            return cls(_TAG_CODES[text])
        name, separator, number = text.partition(":")
        if name == "depth" and separator and number.isascii() and number.isdigit() and number[0] != "0":
            return cls.from_depth(int(number))
        raise Invalid("unknown finality rule", text=text, next_step="write latest, safe, finalized or depth:<blocks>")

    @property
    def tag(self) -> str | None:
        """The JSON-RPC block tag, or None for a depth."""
        return _CODE_TAGS.get(self.code)

    @property
    def depth(self) -> int | None:
        """Blocks that must stand upon a final one, or None for a tag."""
        return None if self.code in _CODE_TAGS else self.code

    def __str__(self) -> str:
        return self.tag or f"depth:{self.code}"


LATEST = FinalityRule(_TAG_CODES["latest"])
SAFE = FinalityRule(_TAG_CODES["safe"])
FINALIZED = FinalityRule(_TAG_CODES["finalized"])
