"""The error tree: the class says what the caller should do next.

ComityError
├── Invalid        wrong for ever: drop it, and alert
├── NotReady       will come right by waiting: costs no attempt
├── Unavailable    a server or chain does not answer: back off and try again
├── Rejected       a contract refused, with its decoded reason
└── ConfigError    the operator must change something
"""

from typing import Any


class ComityError(Exception):
    """Base of all errors; `values` are the ones that disagreed, `next_step` is what the operator should do."""

    exit_code = 1

    def __init__(self, message: str, *, next_step: str | None = None, **values: Any) -> None:
        self.message = message
        self.next_step = next_step
        self.values = values
        super().__init__(str(self))

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={_show(value)}" for name, value in self.values.items())
        return f"{self.message} ({shown})" if shown else self.message


class Invalid(ComityError):
    """Wrong for ever: a malformed encoding, a false proof, a mismatching root."""


class NotReady(ComityError):
    """Not yet: the block is not final, the policy is not satisfied, the window is not open."""

    exit_code = 6


class Unavailable(ComityError):
    """A provider, attestor or database does not answer, or too few of them agree."""

    exit_code = 4


class Rejected(ComityError):
    """A contract reverted; `reason` is its decoded revert string, or the raw data in hex."""

    exit_code = 5

    def __init__(self, message: str, *, reason: str = "", **values: Any) -> None:
        self.reason = reason
        super().__init__(message, reason=reason, **values)


class ConfigError(ComityError):
    """The configuration is wrong; the message names the key and what to write."""

    exit_code = 3


def _show(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else repr(value)
