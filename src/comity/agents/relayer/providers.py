"""Several providers of one chain, asked one after the other: for hints and for sending, where no quorum is needed.

Trusts each for availability only; what must be true is asked of `chain.quorum`, or checked against the chain's words.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from comity.chain.codec import Block, BlockRef
from comity.chain.rpc import Rpc, RpcError
from comity.core.errors import ComityError, NotReady, Unavailable

BATCH_CALLS: Final = 50
"""In one request at most; fewer once the providers took only fewer."""

T = TypeVar("T")
Calls = Sequence[tuple[str, Sequence[Any]]]


class FailoverRpc(Rpc):
    """Asks the provider that answered last; when that one fails, refuses or makes no sense, the next one."""

    def __init__(self, providers: Sequence[Rpc]) -> None:
        """The providers' connections stay theirs."""
        self._providers = tuple(providers)
        self._current = 0
        self._batch_calls = BATCH_CALLS

    @property
    def host(self) -> str:  # type: ignore[override]
        """Of the provider that is asked now."""
        return self._providers[self._current].host

    async def close(self) -> None:
        """Nothing of its own to release."""

    async def fetch_block(self, block: BlockRef = "latest", full: bool = False) -> Block:
        """A mined block. Raises: NotReady when the last provider asked does not know it."""
        return await self._ask_each(lambda provider: provider.fetch_block(block, full), Unavailable, NotReady, RpcError)

    async def read(self, calls: Calls, parse: Callable[[Any], T]) -> list[T]:
        """The parsed results of many calls, all of which make sense.

        Raises: Unavailable; and the first Rejected or RpcError.
        """

        async def ask(provider: Rpc, part: Calls) -> list[T]:
            answers = await provider.batch(part)
            try:
                return [parse(answer) for answer in answers]
            except (ValueError, TypeError, AttributeError, ComityError) as error:
                raise Unavailable("the provider gave a malformed answer", host=provider.host, why=str(error)) from None

        found = await self._split(calls, ask)
        for answer in found:
            if isinstance(answer, ComityError):
                raise answer
        return found

    async def _ask(self, parse: Callable[[Any], T], method: str, *params: Any) -> T:
        return await self._ask_each(lambda provider: provider._ask(parse, method, *params), *_failures(method))

    async def _exchange(self, calls: Calls, *, alone: bool) -> list[Any]:
        async def ask(provider: Rpc, part: Calls) -> list[Any]:
            answers = await provider._exchange(part, alone=alone)
            for (method, _), answer in zip(part, answers, strict=True):
                if isinstance(answer, _failures(method)):
                    raise answer
            return answers

        return await self._split(calls, ask)

    async def _split(self, calls: Calls, ask: Callable[[Rpc, Calls], Awaitable[list[Any]]]) -> list[Any]:
        """Ask in parts that the providers take; a single call that all of them refuse has its error in place."""
        found: list[Any] = []
        size = self._batch_calls
        while len(found) < len(calls):
            part = calls[len(found) : len(found) + size]
            try:
                answers = await self._ask_each(lambda provider, part=part: ask(provider, part), Unavailable, RpcError)  # type: ignore[misc]
            except (Unavailable, RpcError) as error:
                if len(part) > 1:
                    size = len(part) // 2
                    continue
                if isinstance(error, Unavailable):
                    raise
                answers = [error]
            else:
                # Only a success shows that it was the size: an outage must not slow what follows.
                self._batch_calls = size
            found += answers
        return found

    async def _ask_each(self, ask: Callable[[Rpc], Awaitable[T]], *failures: type[ComityError]) -> T:
        for _ in self._providers[1:]:
            asked = self._current
            try:
                return await ask(self._providers[asked])
            except failures:
                # Another task may have moved on meanwhile.
                if self._current == asked:
                    self._current = (asked + 1) % len(self._providers)
        return await ask(self._providers[self._current])


def _failures(method: str) -> tuple[type[ComityError], ...]:
    """What sends a question to the next provider; what a pool says about a transaction is for the sender to read."""
    return (Unavailable,) if method.startswith("eth_send") else (Unavailable, RpcError)
