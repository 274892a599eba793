"""One chain as the relayer sees it: follows it, and keeps every index of its Router and its Gate in step.

Trusts its providers for availability only: after each stretch of blocks the words on chain, at the very block that was
followed, must equal those rebuilt from the logs. A lane whose words differ halts; the others go on. Spec section 2.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from comity.agents.relayer.indexer import Index, LogsMissing, WordMismatch, verify_word
from comity.agents.runner import failpoint
from comity.chain.bindings import DECIDED, DISPATCHED, FAILED, REPLIED, decode_uint, encode_words
from comity.chain.codec import Log, from_hex
from comity.chain.follower import RECENT_BLOCKS, Advanced, Follower, Reverted
from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import Rpc
from comity.core.errors import Invalid, NotReady, Rejected, Unavailable
from comity.core.types import Hash32, Seconds, Word

_TOPICS: Final = ((DISPATCHED, DECIDED, REPLIED, FAILED),)
_FIRST_STRETCH: Final = 4
_LONGEST_STRETCH: Final = 2048
_MANY_LOGS: Final = 4000
"""Logs to hold in memory at once, roughly: the next stretch of blocks is sized by what this one held."""
_FAR_BLOCKS: Final = 256
"""No provider is so far ahead of a quorum."""
_PATIENCE_SECONDS: Final = 120.0
_ATTEMPTS: Final = 5
_RETRY_SECONDS: Final = 0.2

log = structlog.get_logger(__name__)


class ChainFeed:
    """Follows one chain for all lanes that begin or end on it."""

    def __init__(
        self,
        name: str,
        start: Callable[[], Follower],
        source: ProviderQuorum,
        indexes: Sequence[Index],
        *,
        halt: Callable[[Index, Invalid], None],
        changed: Callable[[], None],
        start_block: int = 1,
        poll_seconds: float = 1.0,
    ) -> None:
        """`start` makes a follower that goes on from the stored cursor; `halt` is told of a lane that contradicts
        itself, `changed` of each step that brought something.
        """
        self.name = name
        self.block_number = 0
        """Everything up to it is indexed."""
        self.caught_up = asyncio.Event()
        """Set once there was nothing new."""
        self._start = start
        self._follower = start()
        self._source = source
        self._indexes = list(indexes)
        self._halt = halt
        self._changed = changed
        self._poll_seconds = poll_seconds
        self._start_block = start_block
        self._stretch = _FIRST_STRETCH
        self._nudged = asyncio.Event()
        self._advanced = asyncio.Condition()

    async def run(self) -> None:
        """Follow until cancelled.

        Raises:
            Unavailable: the logs stay incomplete; nothing is acknowledged, so a restart asks again.
            FinalityViolated, ChainChanged: stop.
        """
        # What an interrupted step did not acknowledge is told again to a new follower only.
        self._follower = self._start()
        while True:
            if not await self.step():
                self.caught_up.set()
                await self._rest()

    async def step(self) -> bool:
        """Take one step; False when there was nothing new."""
        events = await self._follower.step()
        for event in events:
            if isinstance(event, Reverted):
                self._revert(event.to_block)
            else:
                await self._advance(event)
        failpoint("relayer.indexed")
        self._follower.acknowledge()
        cursor = self._follower.cursor
        async with self._advanced:
            self.block_number = cursor.number if cursor else 0
            self._advanced.notify_all()
        if events:
            self._changed()
        return bool(events)

    def nudge(self) -> None:
        """Look again at once instead of at the next poll."""
        self._nudged.set()

    async def wait_for(self, block_number: int) -> None:
        """Wait until a block is indexed.

        Raises:
            Unavailable: it is not, for too long, or it cannot be: one provider alone may name any number.
        """
        if self.caught_up.is_set() and block_number > self.block_number + _FAR_BLOCKS:
            raise Unavailable("far above the chain's head", chain=self.name, block=block_number, head=self.block_number)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._advanced:
                while self.block_number < block_number:
                    self.nudge()
                    await self._advanced.wait()
        except TimeoutError:
            raise Unavailable(
                "the block is not seen", chain=self.name, block=block_number, head=self.block_number
            ) from None

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._nudged.wait()
        except TimeoutError:
            pass
        self._nudged.clear()

    def _revert(self, to_block: int) -> None:
        gone = [index.revert(to_block) for index in self._indexes]
        log.warning("blocks.reverted", chain=self.name, to_block=to_block, entries=sum(gone))

    async def _advance(self, event: Advanced) -> None:
        start = event.from_block
        while start <= event.to_block:
            end = min(event.to_block, start + self._stretch - 1)
            logs = await self._fetch_logs(start, end)
            for index in self._apply(logs):
                await self._repair(index, end)
            start = end + 1
            self._stretch = min(_LONGEST_STRETCH, max(1, self._stretch * _MANY_LOGS // max(len(logs), _MANY_LOGS // 2)))
        # Nodes drop the state of old blocks; while catching up, the logs of newer ones will tell.
        if event.to_block - event.from_block < RECENT_BLOCKS:
            await self._verify(event.to_block)

    def _apply(self, logs: Sequence[Log]) -> list[Index]:
        """Give logs to every index; return those that miss some."""
        now = Seconds(int(time.time()))
        lagging = []
        for index in tuple(self._indexes):
            try:
                fresh = index.index(logs, now)
            except LogsMissing as error:
                log.warning("logs.missing", chain=self.name, error=error)
                lagging.append(index)
                continue
            except Invalid as error:
                self._stop(index, error)
                continue
            if fresh:
                log.info("entries.indexed", chain=self.name, direction=index.direction.name.lower(), count=fresh)
        return lagging

    async def _repair(self, index: Index, to_block: int) -> None:
        """Ask again for everything since the last entry that an index has."""
        for attempt in range(1, _ATTEMPTS + 1):
            await asyncio.sleep(_RETRY_SECONDS * attempt)
            lagging: list[Index] = []
            for start in range(max(index.block_number, self._start_block), to_block + 1, _LONGEST_STRETCH):
                logs = await self._fetch_logs(start, min(to_block, start + _LONGEST_STRETCH - 1))
                lagging = self._apply(logs)
            if index not in lagging:
                return
        raise Unavailable("the provider withholds logs", chain=self.name, since=index.block_number, to_block=to_block)

    async def _verify(self, to_block: int) -> None:
        """Compare all words at the last block that was followed."""
        cursor = self._follower.cursor
        if cursor is None or cursor.number != to_block:
            return
        indexes = tuple(self._indexes)
        try:
            words = await self._fetch_words(indexes, cursor.hash)
        except NotReady:
            return  # reorganised away meanwhile: the next step tells
        for index, word in zip(indexes, words, strict=True):
            try:
                try:
                    verify_word(index, word)
                except LogsMissing:
                    await self._repair(index, to_block)
                    verify_word(index, word)
            except LogsMissing as error:
                raise Unavailable("the provider withholds logs", chain=self.name, to_block=to_block) from error
            except WordMismatch as error:
                self._stop(index, error)

    async def _fetch_logs(self, start: int, end: int) -> list[Log]:
        contracts = sorted({bytes(index.contract) for index in self._indexes})
        return await self._follower.fetch_logs(start, end, contracts, _TOPICS) if contracts else []

    async def _fetch_words(self, indexes: Sequence[Index], block_hash: Hash32) -> list[Word]:
        calls = [
            ("eth_call", [{"to": index.contract, "data": encode_words(index.lane)}, {"blockHash": block_hash}])
            for index in indexes
        ]

        async def ask(rpc: Rpc) -> tuple[Word, ...]:
            return tuple(_parse_word(answer, rpc) for answer in await rpc.batch(calls))

        try:
            return list(await self._source.vote(ask, tuple))
        except Rejected as error:
            raise Unavailable("the contract does not answer", chain=self.name, reason=error.reason) from error

    def _stop(self, index: Index, error: Invalid) -> None:
        self._indexes.remove(index)
        self._halt(index, error)


def _parse_word(answer: Any, rpc: Rpc) -> Word:
    """Read a word; before the deployment there is no code that could answer."""
    try:
        return Word(decode_uint(from_hex(answer)) if answer != "0x" else 0)
    except (ValueError, TypeError, AttributeError, Invalid):
        raise Unavailable("the provider gave a malformed answer", host=rpc.host) from None
