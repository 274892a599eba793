"""What the generators of vectors share: a lane, its accounts, and how values are written."""

from collections.abc import Iterator
from typing import Any

from comity.core.errors import Invalid
from comity.core.lane import compute_lane
from comity.core.types import to_address32

Case = dict[str, Any]

LANE = compute_lane(31337, to_address32(b"\xa1" * 20), 31338, to_address32(b"\xb2" * 20))


def show(value: bytes) -> str:
    """Bytes as JSON."""
    return "0x" + value.hex()


def refusals(cases: Iterator[tuple[str, bytes, type[Invalid]]]) -> list[Case]:
    """Cases that must be refused."""
    return [{"name": name, "encoding": show(encoding), "error": error.__name__} for name, encoding, error in cases]
