"""The pure modules of the contracts, asked in batches: the differential twin of `comity.core`."""

from collections.abc import Iterable, Sequence

from comity.chain.bindings import encode_call
from comity.core.errors import ComityError
from comity.core.types import Address
from tests.contracts.chain import Chain

BATCH = 500


class Modules:
    """contracts_support/Modules.vy on a chain."""

    def __init__(self, chain: Chain, address: Address) -> None:
        self.chain = chain
        self.address = address

    async def ask(self, signature: str, arguments: Iterable[Sequence[object]]) -> list[bytes | None]:
        """The answers of one function to many calls, in order; None where it reverts."""
        return await self.ask_encoded([encode_call(signature, *values) for values in arguments])

    async def ask_encoded(self, calls: Sequence[bytes]) -> list[bytes | None]:
        """The same for calldata."""
        answers: list[bytes | None] = []
        for start in range(0, len(calls), BATCH):
            batch = [
                ("eth_call", [{"to": self.address, "data": data}, "latest"]) for data in calls[start : start + BATCH]
            ]
            for answer in await self.chain.rpc.batch(batch, return_exceptions=True):
                answers.append(None if isinstance(answer, ComityError) else bytes.fromhex(answer[2:]))
        return answers

    async def ask_words(self, signature: str, arguments: Iterable[Sequence[object]]) -> list[int]:
        """The same for a function that returns one word and never reverts."""
        answers = await self.ask(signature, arguments)
        assert None not in answers, signature
        return [int.from_bytes(answer or b"", "big") for answer in answers]
