"""What an operator may choose about relaying, and how long the relayer waits before it looks at an envelope again."""

import random
from dataclasses import dataclass
from typing import Final

from comity.core.types import Address32, Seconds

_CALLER: Final = Address32(bytes(32))
_URGENT: Final = Seconds(900)
_FIRST_RETRY: Final = 10
_LONGEST_RETRY: Final = 6 * 3600
_LONGEST_WAIT: Final = 300


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """Limits and choices of one relayer."""

    beneficiary: Address32 = _CALLER
    """Account on the origin that earns the fees; zero for the relayer's own."""
    envelopes: int = 100
    """In one run at most."""
    pipeline: int = 4
    """Transactions of one lane in flight at most."""
    expire: bool = False
    """Give envelopes past their deadline their EXPIRED receipt; pays when they settle."""
    poll_seconds: float = 1.0
    """Between looks at a chain or at the attestors when nothing happens."""
    urgent_seconds: Seconds = _URGENT
    """Envelopes whose deadline is nearer go first."""
    max_fee_per_gas: int = 500 * 10**9
    """Wei; above it deliveries wait."""


def compute_retry_wait(attempts: int) -> Seconds:
    """Seconds until an envelope whose receiver fails is tried again: doubling, spread, at most six hours."""
    return Seconds(int(min(_FIRST_RETRY << min(attempts, 16), _LONGEST_RETRY) * random.uniform(0.75, 1.25)))


def compute_wait(base: int, age: int) -> Seconds:
    """Seconds until something that comes right by itself is looked at again: longer for what has waited long."""
    return Seconds(max(base, min(age // 8, _LONGEST_WAIT)))
