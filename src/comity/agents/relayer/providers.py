"""Several providers of one chain, asked one after the other: for hints and for sending, where no quorum is needed.

Trusts each for availability only; what must be true is asked of `chain.quorum`, or checked against the chain's words.
"""

from collections.abc import Sequence
from typing import Any

from comity.chain.rpc import Rpc
from comity.core.errors import Unavailable


class FailoverRpc(Rpc):
    """Asks the provider that answered last; when it no longer does, the next one."""

    def __init__(self, providers: Sequence[Rpc]) -> None:
        """The providers' connections stay theirs."""
        self._providers = tuple(providers)
        self._current = 0

    @property
    def host(self) -> str:  # type: ignore[override]
        """Of the provider that is asked now."""
        return self._providers[self._current].host

    async def close(self) -> None:
        """Nothing of its own to release."""

    async def _exchange(self, calls: Sequence[tuple[str, Sequence[Any]]], *, alone: bool) -> list[Any]:
        for _ in self._providers[1:]:
            asked = self._current
            try:
                return await self._providers[asked]._exchange(calls, alone=alone)
            except Unavailable:
                # Another task may have moved on meanwhile.
                if self._current == asked:
                    self._current = (asked + 1) % len(self._providers)
        return await self._providers[self._current]._exchange(calls, alone=alone)
