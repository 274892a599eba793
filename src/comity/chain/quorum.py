"""Several providers asked as one: an answer counts only when a quorum of them gives it.

Trusts that fewer than a quorum of the providers lie together. A provider that fails, lags or lies never makes the
quorum smaller: without enough agreement there is no answer, and the caller stops rather than believes. Specification:
spec/verification.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any, TypeVar

import msgspec

from comity.chain.rpc import Rpc
from comity.core.errors import ComityError, ConfigError, NotReady, Rejected, Unavailable
from comity.core.finality import FinalityRule
from comity.proofs.header import Header, HeaderError, verify_header

T = TypeVar("T")
Ask = Callable[[Rpc], Coroutine[Any, Any, T]]
"""A question put to each provider."""

_SHOWN_CHARACTERS = 100
_STRAGGLER_SECONDS = 1.0
"""How long the highest final block waits for the providers beyond the quorum."""


def _itself(answer: Any) -> Hashable:
    return answer  # type: ignore[no-any-return]


class ProviderQuorum:
    """`quorum` of `providers` must agree; it is more than half of them, so that two answers never both count."""

    def __init__(self, providers: Sequence[Rpc], quorum: int) -> None:
        hosts = [provider.host for provider in providers]
        if not len(providers) >= quorum > len(providers) / 2:
            raise ConfigError(
                "a quorum is more than half of the providers, and at most all",
                quorum=quorum,
                providers=len(providers),
                next_step="raise the quorum, or configure more providers",
            )
        if len(set(hosts)) != len(hosts):
            raise ConfigError("one provider is configured twice, so its lie would count twice", hosts=hosts)
        self.providers = tuple(providers)
        self.quorum = quorum

    def __repr__(self) -> str:
        return f"ProviderQuorum({self.quorum} of {[provider.host for provider in self.providers]})"

    async def close(self) -> None:
        """Release all connections."""
        await asyncio.gather(*(provider.close() for provider in self.providers))

    async def agree(self, method: str, *params: Any) -> Any:
        """The JSON result that a quorum gives to one method.

        Raises: Unavailable, naming hosts and answers; Rejected when a quorum says that the call reverts.
        """
        return await self.vote(lambda provider: provider.call(method, *params), _to_canonical)

    async def chain_id(self) -> int:
        """The EIP-155 id that a quorum claims. Raises: Unavailable."""
        return await self.vote(lambda provider: provider.chain_id())

    async def agreed_header(self, number: int) -> Header:
        """The header at a height, whose hash a quorum gives and its fields have. Raises: Unavailable, NotReady."""
        return await self.vote(lambda provider: fetch_header(provider, number), lambda header: header.hash)

    async def agreed_head(self) -> Header:
        """The highest block that a quorum has reached and agrees on. Raises: Unavailable, NotReady."""
        return await self.agreed_header(await self._reached(lambda provider: provider.block_number()))

    async def agreed_finalized(self, rule: FinalityRule) -> int:
        """The highest number that a quorum calls final under `rule`. Raises: Unavailable, NotReady."""
        return await self._reached(lambda provider: fetch_final_number(provider, rule))

    async def vote(self, ask: Ask[T], identify: Callable[[T], Hashable] = _itself) -> T:
        """The first answer that a quorum gives to `ask`; `identify` maps answers to what must be equal.

        Raises: Unavailable; NotReady or Rejected when a quorum says so.
        """
        tasks = self._start(ask)
        votes: dict[Hashable, int] = {}
        try:
            for finished in asyncio.as_completed(tasks):
                ballot, error = await _cast(finished, identify)
                votes[ballot] = votes.get(ballot, 0) + 1
                if votes[ballot] < self.quorum:
                    continue
                if error is None:
                    return next(task.result() for task in _answered(tasks) if identify(task.result()) == ballot[1])
                if isinstance(error, NotReady | Rejected):
                    raise error
            raise Unavailable(
                "too few providers agree",
                next_step="compare the providers; add one, never lower the quorum",
                quorum=self.quorum,
                answers=self._describe(tasks),
            )
        finally:
            await _cancel(tasks)

    async def first(self, ask: Ask[T]) -> T:
        """The answer of the first provider that does not fail: only for what the caller can verify by itself.

        Raises: NotReady when one said so, else Unavailable.
        """
        errors: dict[str, ComityError] = {}
        for provider in self.providers:
            try:
                return await ask(provider)
            except ComityError as error:
                errors[provider.host] = error
        kind = NotReady if any(isinstance(error, NotReady) for error in errors.values()) else Unavailable
        raise kind("no provider answers", answers={host: error.message for host, error in errors.items()})

    async def _reached(self, ask: Ask[int]) -> int:
        """The highest number that at least `quorum` providers have reached."""
        tasks = self._start(ask)
        try:
            pending = set(tasks)
            while pending and len(_answered(tasks)) < self.quorum:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if pending:
                await asyncio.wait(pending, timeout=_STRAGGLER_SECONDS)
            numbers = sorted((task.result() for task in _answered(tasks)), reverse=True)
            if len(numbers) >= self.quorum:
                return numbers[self.quorum - 1]
            unready = sum(isinstance(task.exception(), NotReady) for task in tasks if task.done())
            kind = NotReady if unready >= self.quorum else Unavailable
            raise kind("too few providers answer", quorum=self.quorum, answers=self._describe(tasks))
        finally:
            await _cancel(tasks)

    def _start(self, ask: Ask[T]) -> list[asyncio.Task[T]]:
        return [asyncio.create_task(ask(provider)) for provider in self.providers]

    def _describe(self, tasks: Sequence[asyncio.Task[T]]) -> dict[str, str]:
        return {provider.host: _show(task) for provider, task in zip(self.providers, tasks, strict=True)}


async def fetch_header(provider: Rpc, number: int) -> Header:
    """One provider's header at a height, hashed again. Raises: NotReady, Unavailable, HeaderError."""
    block = await provider.fetch_block(number)
    header = verify_header(block.header)
    if header.number != number:
        raise HeaderError("the provider gave another block than asked for", asked=number, given=header.number)
    return header


async def fetch_final_number(provider: Rpc, rule: FinalityRule) -> int:
    """The highest number that one provider calls final. Raises: NotReady, Unavailable."""
    if rule.tag is not None:
        return (await provider.fetch_block(rule.tag)).number
    number = await provider.block_number() - rule.code
    if number < 0:
        raise NotReady("no block is deep enough", rule=str(rule), host=provider.host)
    return number


async def _cast(
    answer: Awaitable[T], identify: Callable[[T], Hashable]
) -> tuple[tuple[str, Hashable], ComityError | None]:
    """One ballot. A failure's is its kind, so that failures never vote with answers."""
    try:
        ballot = identify(await answer)
        try:
            hash(ballot)
        except TypeError:
            # Raw JSON may hold objects where a string belongs.
            raise Unavailable("a provider gave a malformed answer") from None
        return ("answer", ballot), None
    except Rejected as error:
        return ("rejected", error.values.get("data") or error.reason), error
    except ComityError as error:
        return ("failed", type(error).__name__), error


async def _cancel(tasks: Sequence[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _answered(tasks: Sequence[asyncio.Task[T]]) -> list[asyncio.Task[T]]:
    return [task for task in tasks if task.done() and task.exception() is None]


def _show(task: asyncio.Task[Any]) -> str:
    if not task.done():
        return "no answer yet"
    error = task.exception()
    text = getattr(error, "message", repr(error)) if error is not None else _describe(task.result())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _describe(answer: Any) -> str:
    return "0x" + answer.hash.hex() if isinstance(answer, Header) else repr(answer)


def _to_canonical(answer: Any) -> bytes:
    """JSON with sorted keys and without letter case, which addresses may carry as a checksum."""
    return msgspec.json.encode(answer, order="sorted").lower()
