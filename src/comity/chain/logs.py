"""Fetching logs so that a reorg, a lagging node or a truncated answer cannot lose any unnoticed.

Recent blocks are asked for by hash, which names one block for ever; older ranges stand between two looks at their last
block. One provider can still withhold what it knows: several are asked through `chain.quorum`, and lanes are gap-free.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from comity.chain import codec
from comity.chain.codec import Log, TopicFilter
from comity.chain.rpc import Rpc, RpcError
from comity.core.errors import NotReady, Unavailable
from comity.core.types import Hash32
from comity.proofs.header import Header, HeaderError, verify_header

_BATCH = 100


class LogFilter(msgspec.Struct, frozen=True):
    """Which logs: of one contract or of several, with these topics by position."""

    address: bytes | tuple[bytes, ...] | None = None
    topics: tuple[TopicFilter, ...] = ()

    def matches(self, log: Log) -> bool:
        """Whether a node rightly gave this log."""
        if self.address is not None and log.address not in _to_options(self.address):
            return False
        return len(log.topics) >= len(self.topics) and all(
            wanted is None or topic in _to_options(wanted)
            for wanted, topic in zip(self.topics, log.topics, strict=False)
        )

    def to_json(self, **blocks: Any) -> dict[str, Any]:
        """The parameter of `eth_getLogs`."""
        filter_ = codec.to_log_filter(self.address, self.topics)
        filter_.update(codec.to_json(blocks))
        return filter_


async def fetch_pinned_logs(provider: Rpc, blocks: Sequence[tuple[int, Hash32]], wanted: LogFilter) -> list[Log]:
    """The logs of these very blocks, in order. Raises: NotReady when the provider does not know one; Unavailable."""
    found: list[Log] = []
    for start in range(0, len(blocks), _BATCH):
        chunk = blocks[start : start + _BATCH]
        # Some nodes answer "no logs" for a block they do not know, so each is asked for by a second method as well.
        counts: list[tuple[str, list[Any]]] = [
            ("eth_getBlockTransactionCountByHash", [block_hash]) for _, block_hash in chunk
        ]
        queries: list[tuple[str, list[Any]]] = [
            ("eth_getLogs", [wanted.to_json(blockHash=block_hash)]) for _, block_hash in chunk
        ]
        answers = await provider.batch(counts + queries, return_exceptions=True)
        for (number, block_hash), count, logs in zip(chunk, answers[: len(chunk)], answers[len(chunk) :], strict=True):
            if not isinstance(count, str) or isinstance(logs, RpcError):
                raise NotReady("the provider does not know this block", host=provider.host, number=number)
            parsed = _parse(logs, wanted, provider)
            if any((log.block_number, log.block_hash) != (number, block_hash) for log in parsed):
                raise Unavailable("the provider gave logs of another block", host=provider.host, number=number)
            found += parsed
    return found


async def fetch_range_logs(
    provider: Rpc, from_block: int, to_block: int, to_hash: Hash32, wanted: LogFilter
) -> list[Log]:
    """The logs of a range of final blocks whose last has `to_hash`, by halves where the provider wants smaller ones.

    Raises: NotReady when the provider does not know the last block; Unavailable.
    """
    found: list[Log] = []
    ranges = [(from_block, to_block)]
    while ranges:
        start, end = ranges.pop()
        look = ("eth_getBlockByNumber", [codec.to_quantity(end), False])
        blocks = {"fromBlock": codec.to_quantity(start), "toBlock": codec.to_quantity(end)}
        query = ("eth_getLogs", [wanted.to_json(**blocks)])
        before, logs, after = await provider.batch([look, query, look], return_exceptions=True)
        if isinstance(logs, RpcError):
            if start == end:
                raise Unavailable("the provider refuses the logs of one block", host=provider.host, why=logs.message)
            middle = (start + end) // 2
            ranges += [(middle + 1, end), (start, middle)]
            continue
        hashes = [_find_hash(before, provider), _find_hash(after, provider)]
        if hashes[0] != hashes[1] or (end == to_block and hashes[0] != to_hash):
            raise NotReady("the chain changed while its logs were fetched", host=provider.host, number=end)
        parsed = _parse(logs, wanted, provider)
        if any(not start <= log.block_number <= end for log in parsed):
            raise Unavailable("the provider gave logs outside the range", host=provider.host, start=start, end=end)
        found += parsed
    return found


async def fetch_linked_headers(provider: Rpc, from_block: int, tip: Header) -> list[Header]:
    """The headers from `from_block` to the trusted `tip`, each hashed again and linked to the next by its parent hash.

    Raises: NotReady when they do not link; Unavailable, HeaderError.
    """
    found: list[Header] = []
    for start in range(from_block, tip.number, _BATCH):
        numbers = range(start, min(start + _BATCH, tip.number))
        answers = await provider.batch([("eth_getBlockByNumber", [codec.to_quantity(n), False]) for n in numbers])
        if not all(isinstance(answer, dict) for answer in answers):
            raise NotReady("the provider does not know these blocks", host=provider.host, start=start)
        found += [verify_header(answer) for answer in answers]
    found.append(tip)
    for number, header in enumerate(found, from_block):
        if header.number != number:
            raise HeaderError("the provider gave another block than asked for", asked=number, given=header.number)
    for parent, child in pairwise(found):
        if child.parent_hash != parent.hash:
            raise NotReady("the chain changed while its headers were fetched", number=child.number)
    return found


def _parse(logs: Any, wanted: LogFilter, provider: Rpc) -> list[Log]:
    try:
        parsed = sorted((codec.parse_log(log) for log in logs), key=lambda log: (log.block_number, log.log_index))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unavailable("the provider gave malformed logs", host=provider.host) from None
    if any(log.removed or not wanted.matches(log) for log in parsed):
        raise Unavailable("the provider gave logs that were not asked for", host=provider.host)
    return parsed


def _find_hash(block: Any, provider: Rpc) -> Hash32:
    try:
        return codec.to_hash(block["hash"])
    except (ValueError, KeyError, TypeError):
        raise NotReady("the provider does not know this block", host=provider.host) from None


def _to_options(wanted: bytes | Sequence[bytes]) -> Sequence[bytes]:
    return (wanted,) if isinstance(wanted, bytes) else wanted
