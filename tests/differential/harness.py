"""Calls of the harness contracts, whose answers are lists of static words."""

from collections.abc import Sequence

from eth_abi.abi import encode as abi_encode

from comity.chain.bindings import compute_selector
from comity.core.types import Address
from tests.contracts.chain import Chain

GAS = 100_000_000


class Harness:
    """One deployed harness."""

    def __init__(self, chain: Chain, address: Address) -> None:
        self.chain = chain
        self.address = address

    async def call(self, name: str, kinds: Sequence[str], *values: object) -> bytes:
        """The raw answer."""
        selector = compute_selector(f"{name}({','.join(kinds)})")
        return await self.chain.call(self.address, selector + abi_encode(kinds, values), gas=GAS)

    async def rows(self, name: str, kinds: Sequence[str], *values: object, width: int = 1) -> list[list[bytes]]:
        """An answer that is one list of structs of `width` words."""
        answer = await self.call(name, kinds, *values)
        words = [answer[at : at + 32] for at in range(0, len(answer), 32)]
        assert int.from_bytes(words[0], "big") == 32
        count = int.from_bytes(words[1], "big")
        assert len(words) == 2 + count * width
        return [words[2 + at : 2 + at + width] for at in range(0, count * width, width)]

    async def integers(self, name: str, kinds: Sequence[str], *values: object) -> list[int]:
        """An answer that is one list of integers or booleans."""
        return [int.from_bytes(word, "big") for [word] in await self.rows(name, kinds, *values)]


def split(values: Sequence, size: int) -> list[Sequence]:
    """Batches of at most `size`."""
    return [values[at : at + size] for at in range(0, len(values), size)]
