"""Follows one chain: tells what is new, what is final and what a reorg undid, without a gap and across restarts.

Trusts its provider, or a quorum of them, for which chain is the canonical one; that blocks link is checked by their
hashes. An event is delivered at least once: a cursor is saved only after its events were acknowledged.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import msgspec

from comity.chain.codec import Log, TopicFilter
from comity.chain.logs import LogFilter, fetch_linked_headers, fetch_pinned_logs, fetch_range_logs
from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import Rpc
from comity.core.errors import Invalid, NotReady, Unavailable
from comity.core.finality import FinalityRule
from comity.core.types import Hash32
from comity.proofs.header import Header

RECENT_BLOCKS = 256
"""Hashes kept of the newest blocks; a deeper reorg is undone down to the last final block."""

Point = tuple[int, Hash32]
"""A block by number and hash."""


class FinalityViolated(Invalid):
    """A block that was final under the rule is no longer on the chain: stop, nothing signed since can be trusted."""


class ChainChanged(Invalid):
    """The provider serves another chain than the cursor was saved for."""


class Advanced(msgspec.Struct, frozen=True):
    """Blocks `from_block` … `to_block` are new (none when `from_block > to_block`); all up to `final_to` are final."""

    from_block: int
    to_block: int
    final_to: int


class Reverted(msgspec.Struct, frozen=True):
    """Every block above `to_block` is undone."""

    to_block: int


Event = Advanced | Reverted


class Cursor(msgspec.Struct, frozen=True):
    """How far a follower came; bytes for a store by `encode` and `decode`."""

    chain_id: int
    genesis: Hash32
    number: int
    hash: Hash32
    final: Point
    recent: tuple[Point, ...]
    """Newest last; `(number, hash)` among them."""

    def encode(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, encoded: bytes) -> "Cursor":
        """Raises: Invalid."""
        try:
            return msgspec.json.decode(encoded, type=cls)
        except msgspec.DecodeError as error:
            raise Invalid("not a follower's cursor", why=str(error)) from None

    def find_hash(self, number: int) -> Hash32 | None:
        """The hash that this cursor knows for a block."""
        position = bisect_right(self.recent, number, key=lambda point: point[0]) - 1
        if position >= 0 and self.recent[position][0] == number:
            return self.recent[position][1]
        return self.final[1] if self.final[0] == number else None


class Follower:
    """Drive it with `step`, or with `async for event in follower`; after an error either goes on where it stood.

    `load_cursor` and `save_cursor` keep the cursor; without them every start begins at `start_block`.
    """

    def __init__(
        self,
        source: Rpc | ProviderQuorum,
        *,
        finality: FinalityRule,
        start_block: int = 1,
        max_range: int = 2000,
        poll_seconds: float = 1.0,
        load_cursor: Callable[[], Cursor | None] | None = None,
        save_cursor: Callable[[Cursor], None] | None = None,
    ) -> None:
        self._source = source if isinstance(source, ProviderQuorum) else ProviderQuorum([source], 1)
        self._rule = finality
        self._start_block = max(1, start_block)
        self._max_range = max_range
        self._poll_seconds = poll_seconds
        self._load_cursor = load_cursor
        self._save_cursor = save_cursor
        self._cursor: Cursor | None = None
        self._saved: Cursor | None = None

    @property
    def cursor(self) -> Cursor | None:
        """Where the last step came to; None before the first."""
        return self._cursor

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            try:
                events = await self.step()
            except NotReady:
                events = []
            for event in events:
                yield event
            self.acknowledge()
            if not events:
                await asyncio.sleep(self._poll_seconds)

    def acknowledge(self) -> None:
        """Save the cursor: the events of the last step are dealt with. The next step does so by itself."""
        if self._cursor is not None and self._cursor is not self._saved:
            if self._save_cursor is not None:
                self._save_cursor(self._cursor)
            self._saved = self._cursor

    async def step(self) -> list[Event]:
        """Look once; at most `max_range` new blocks. An empty list means that nothing changed.

        Raises: NotReady, Unavailable (try again); FinalityViolated, ChainChanged (stop).
        """
        self.acknowledge()
        cursor = self._cursor = self._cursor or await self._start()
        head = await self._source.agreed_head()
        final_number = await self._fetch_final_number(cursor)
        if head.number <= cursor.number:
            known = cursor.find_hash(head.number)
            if known is None and head.number < cursor.final[0]:
                await self._verify_identity(cursor)
                raise Unavailable("the provider is behind the final block", head=head.number, final=cursor.final[0])
            if known not in (None, head.hash):
                return await self._revert(cursor)
            # Else the provider lags on the same chain: the head stays where it is, only finality may move.
            return await self._apply(cursor, [], final_number)
        if final_number - cursor.number > RECENT_BLOCKS:
            return await self._jump(cursor, final_number)
        to_block = min(head.number, cursor.number + min(self._max_range, RECENT_BLOCKS))
        tip = head if to_block == head.number else await self._source.agreed_header(to_block)
        headers = await self._source.first(lambda rpc: fetch_linked_headers(rpc, cursor.number + 1, tip))
        if headers[0].parent_hash != cursor.hash:
            return await self._revert(cursor)
        return await self._apply(cursor, headers, final_number)

    async def fetch_logs(
        self,
        from_block: int,
        to_block: int,
        address: bytes | Sequence[bytes] | None = None,
        topics: Sequence[TopicFilter] = (),
    ) -> list[Log]:
        """All logs of blocks that were followed, of the very chain that was followed.

        Raises: NotReady when a reorg undid them meanwhile (the next step tells); Unavailable.
        """
        cursor = self._cursor
        if cursor is None or to_block > cursor.number:
            raise NotReady("these blocks are not followed yet", to_block=to_block)
        wanted = LogFilter(
            address=address if address is None or isinstance(address, bytes) else tuple(address), topics=tuple(topics)
        )
        pinned: list[Point] = []
        for number in range(to_block, from_block - 1, -1):
            known = cursor.find_hash(number)
            if known is None:
                break
            pinned.insert(0, (number, known))
        found = await self._fetch_old_logs(from_block, to_block - len(pinned), wanted)
        if pinned:
            found += await self._source.vote(lambda rpc: fetch_pinned_logs(rpc, pinned, wanted), tuple)
        return found

    async def _fetch_old_logs(self, from_block: int, to_block: int, wanted: LogFilter) -> list[Log]:
        found: list[Log] = []
        for start in range(from_block, to_block + 1, self._max_range):
            end = await self._source.agreed_header(min(start + self._max_range - 1, to_block))
            ask = partial(fetch_range_logs, from_block=start, to_block=end.number, to_hash=end.hash, wanted=wanted)
            found += await self._source.vote(ask, tuple)
        return found

    async def _start(self) -> Cursor:
        cursor = self._load_cursor() if self._load_cursor is not None else None
        if cursor is not None:
            await self._verify_identity(cursor)
            self._saved = cursor
            return cursor
        genesis = await self._source.agreed_header(0)
        before = await self._source.agreed_header(self._start_block - 1)
        return Cursor(
            chain_id=await self._source.chain_id(),
            genesis=genesis.hash,
            number=before.number,
            hash=before.hash,
            final=(0, genesis.hash),
            recent=((before.number, before.hash),),
        )

    async def _verify_identity(self, cursor: Cursor) -> None:
        found = (await self._source.chain_id(), (await self._source.agreed_header(0)).hash)
        if found != (cursor.chain_id, cursor.genesis):
            raise ChainChanged(
                "the provider serves another chain than the one followed so far",
                next_step="correct the provider, or start with an empty store if the chain was reset",
                expected_chain=cursor.chain_id,
                found_chain=found[0],
                expected_genesis=cursor.genesis,
                found_genesis=found[1],
            )

    async def _fetch_final_number(self, cursor: Cursor) -> int:
        try:
            return await self._source.agreed_finalized(self._rule)
        except NotReady:
            return cursor.final[0]

    async def _jump(self, cursor: Cursor, final_number: int) -> list[Event]:
        """Catch up among final blocks, whose headers need not be linked one by one."""
        tip = await self._source.agreed_header(min(final_number, cursor.number + self._max_range))
        if not await self._is_canonical((cursor.number, cursor.hash)):
            return await self._revert(cursor)
        return await self._apply(cursor, [tip], final_number)

    async def _apply(self, cursor: Cursor, headers: Sequence[Header], final_number: int) -> list[Event]:
        """Move the cursor over headers that are known to follow it."""
        recent = (*cursor.recent, *((header.number, header.hash) for header in headers))[-RECENT_BLOCKS:]
        number, block_hash = recent[-1]
        moved = msgspec.structs.replace(cursor, number=number, hash=block_hash, recent=recent)
        final_number = min(final_number, number)
        if final_number > cursor.final[0]:
            known = moved.find_hash(final_number) or (await self._source.agreed_header(final_number)).hash
            moved = msgspec.structs.replace(moved, final=(final_number, known))
        if moved == cursor:
            return []
        self._cursor = moved
        return [Advanced(from_block=cursor.number + 1, to_block=number, final_to=moved.final[0])]

    async def _revert(self, cursor: Cursor) -> list[Event]:
        """Go back to the newest block known that is still on the chain."""
        if not await self._is_canonical(cursor.final):
            await self._verify_identity(cursor)
            found = await self._source.agreed_header(cursor.final[0])
            raise FinalityViolated(
                "a final block was reorganised away",
                next_step="stop; the finality rule is too weak for this chain, or the providers lie",
                rule=str(self._rule),
                number=cursor.final[0],
                expected=cursor.final[1],
                found=found.hash,
            )
        points = [cursor.final, *(point for point in cursor.recent if point[0] > cursor.final[0])]
        low, high = 0, len(points) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if await self._is_canonical(points[middle]):
                low = middle
            else:
                high = middle - 1
        number, block_hash = points[low]
        if number == cursor.number:
            return []
        recent = tuple(point for point in cursor.recent if point[0] <= number) or (points[low],)
        self._cursor = msgspec.structs.replace(cursor, number=number, hash=block_hash, recent=recent)
        return [Reverted(to_block=number)]

    async def _is_canonical(self, point: Point) -> bool:
        try:
            return (await self._source.agreed_header(point[0])).hash == point[1]
        except NotReady:
            return False
