"""What the relayer asks a destination: its clock and limits, receivers' policies, live verifiers, rehearsals.

Trusts one provider, for hints only: a wrong answer wastes gas or time, and the Gate decides. What cannot be undone,
such as giving an envelope up, is asked of a quorum. Spec section 7; twin: contracts/Gate.vy.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from comity.agents.relayer.providers import FailoverRpc
from comity.chain.bindings import decode_uint, encode_policy_of, encode_verifiers
from comity.chain.codec import Block, BlockRef, from_hex, from_quantity
from comity.chain.quorum import ProviderQuorum
from comity.core.errors import Rejected, Unavailable
from comity.core.types import Address, Gas, Lane, Seconds

TIERED: Final = (1 << 256) - 1
"""Stands in place of a receiver's policy that depends on a valuation; only a rehearsal can tell."""

TRANSACTION_GAS_CAP: Final = 1 << 24
"""The most gas that a transaction may ask for where EIP-7825 holds; taken everywhere."""
BLOCK_SHARE_PERCENT: Final = 60
"""Of a block's gas, so that a run is included although others want the block too."""

NO_REASON: Final = "no reason given"

_CACHE_ENTRIES: Final = 4096
_CACHE_SECONDS: Final = 5.0
_CLOCK_SECONDS: Final = 1.0
_DELIVERY_OVERLAP: Final = 30 * 86400
_U40: Final = (1 << 40) - 1

Key = TypeVar("Key")


class _Cache(Generic[Key]):
    """Answers that stay good for a while, bounded in number."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Key, tuple[float, int]] = OrderedDict()

    def find(self, key: Key) -> int | None:
        found = self._entries.get(key)
        return found[1] if found and time.monotonic() - found[0] < _CACHE_SECONDS else None

    def put(self, key: Key, value: int) -> None:
        self._entries.pop(key, None)
        self._entries[key] = (time.monotonic(), value)
        while len(self._entries) > _CACHE_ENTRIES:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()


@dataclass(frozen=True, slots=True)
class Clock:
    """The destination's time, by its newest block and the seconds since that was first seen here."""

    timestamp: Seconds
    seen_at: float
    block_gas: Gas

    @property
    def now(self) -> Seconds:
        """The timestamp to expect of a block that is mined now."""
        return Seconds(self.timestamp + int(time.monotonic() - self.seen_at))

    @property
    def gas_limit(self) -> Gas:
        """The most gas to ask for in one transaction."""
        return Gas(min(self.block_gas * BLOCK_SHARE_PERCENT // 100, TRANSACTION_GAS_CAP))


class GateView:
    """One Gate, read through whichever provider answers; verdicts are confirmed by all of `source`."""

    def __init__(self, gate: Address, source: ProviderQuorum, sender: Address) -> None:
        self.address = gate
        self._rpc = FailoverRpc(source.providers)
        self._source = source
        self._sender = sender
        self._clock: Clock | None = None
        self._asked_at = 0.0
        self._policies: _Cache[tuple[Lane, Address]] = _Cache()
        self._verifiers: _Cache[int] = _Cache()

    async def fetch_clock(self) -> Clock:
        """Fetch the newest block's time; asked anew at most once a second."""
        if self._clock is None or time.monotonic() - self._asked_at > _CLOCK_SECONDS:
            block = await self._rpc.fetch_block("latest")
            self._asked_at = time.monotonic()
            # An older time counts as well, lest one false answer outlive the provider that gave it.
            if self._clock is None or block.timestamp != self._clock.timestamp:
                self._clock = Clock(Seconds(block.timestamp), self._asked_at, _read_gas_limit(block))
        return self._clock

    async def fetch_block_number(self) -> int:
        """Fetch the number of the newest block."""
        return await self._rpc.block_number()

    async def fetch_policies(self, lane: Lane, receivers: Iterable[Address]) -> dict[Address, int]:
        """Fetch the policies of receivers: 0 for none, TIERED where it depends on a valuation."""
        keys = [(lane, receiver) for receiver in dict.fromkeys(receivers)]
        found = await self._read(self._policies, keys, lambda key: encode_policy_of(*key))
        return {receiver: policy for (_, receiver), policy in found.items()}

    async def fetch_live(self, indices: Iterable[int]) -> int:
        """Fetch the mask of those verifiers whose acceptance counts for deliveries now."""
        records = await self._read(self._verifiers, list(dict.fromkeys(indices)), encode_verifiers)
        now = (await self.fetch_clock()).now
        return sum(1 << index for index, record in records.items() if _is_live(record, now))

    def forget_verifiers(self) -> None:
        """Ask again next time: the Gate refused one that looked live."""
        self._verifiers.clear()

    async def rehearse(self, calls: Sequence[tuple[bytes, Gas]], *, block: BlockRef = "latest") -> list[str | None]:
        """Find for each call whether it would go through now: None, or the reason for which it reverts.

        Raises:
            Unavailable: no provider answers.
            RpcError: no provider holds the rehearsal of some call.
        """
        requests = [("eth_call", (self._to_call(data, gas), block)) for data, gas in calls]
        answers = await self._rpc.batch(requests, return_exceptions=True)
        return [_find_reason(answer) for answer in answers]

    async def confirm(self, data: bytes, gas: Gas, *, block: BlockRef = "latest") -> str | None:
        """Rehearse a call with a quorum of the providers.

        Raises:
            Unavailable: they do not agree.
        """
        try:
            await self._source.agree("eth_call", self._to_call(data, gas), block)
        except Rejected as error:
            return error.reason or NO_REASON
        return None

    async def _read(self, cache: _Cache[Key], keys: Sequence[Key], encode: Callable[[Key], bytes]) -> dict[Key, int]:
        """Read views of one word, from the cache where it is fresh."""
        cached = {key: cache.find(key) for key in keys}
        found = {key: value for key, value in cached.items() if value is not None}
        missing = [key for key in keys if key not in found]
        calls = [("eth_call", (self._to_call(encode(key), None), "latest")) for key in missing]
        answers = await self._rpc.read(calls, lambda answer: decode_uint(from_hex(answer)))
        for key, answer in zip(missing, answers, strict=True):
            found[key] = answer
            cache.put(key, answer)
        return found

    def _to_call(self, data: bytes, gas: Gas | None) -> dict[str, Any]:
        call: dict[str, Any] = {"from": self._sender, "to": self.address, "data": data}
        return call if gas is None else call | {"gas": hex(gas)}


def _read_gas_limit(block: Block) -> Gas:
    try:
        return Gas(from_quantity(block.header["gasLimit"]))
    except (KeyError, TypeError, ValueError):
        raise Unavailable("the provider gave a malformed answer", block=block.number, field="gasLimit") from None


def _find_reason(answer: Any) -> str | None:
    if isinstance(answer, Rejected):
        return answer.reason or NO_REASON
    if isinstance(answer, Exception):
        raise answer
    return None


def _is_live(record: int, now: Seconds) -> bool:
    """Read a verifier's record: address (160) | retired at (40) | suspended until (40) | revoked (1)."""
    retired, suspended, revoked = record >> 160 & _U40, record >> 200 & _U40, record >> 240 & 1
    return record != 0 and not revoked and now >= suspended and (not retired or now <= retired + _DELIVERY_OVERLAP)
