"""Proofs at hand: which words of a lane can be shown to the Gate, and by which verifiers.

Trusts nobody: a source can only withhold. A word enters a run only if it equals the one that this relayer rebuilt from
the envelopes themselves, and the Gate asks the verifier again. Spec section 4; the sources live in comity/tiers.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from comity.core.lane import unpack_word
from comity.core.types import Direction, Lane, Word

POOL_WORDS: Final = 1024
"""Words kept at most, the lowest first: the others are fetched again when their turn comes."""


class ProofSource(Protocol):
    """What one verifier accepts, from wherever its proofs are made."""

    async def fetch(
        self, lane: Lane, direction: Direction, min_nonce: int, max_nonce: int
    ) -> Sequence[tuple[Word, bytes]]:
        """Fetch words with a nonce from `min_nonce` to `max_nonce`, both included, and a proof of each.

        Raises: Unavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class ProvenWord:
    """A word and a proof of it for each of some verifiers."""

    nonce: int
    word: Word
    proofs: Mapping[int, bytes]
    """By verifier index."""

    @property
    def verified(self) -> int:
        """The mask of the verifiers that will accept."""
        return sum(1 << index for index in self.proofs)


class ProofPool:
    """The proofs of one lane's dispatches, by word."""

    def __init__(self) -> None:
        self._nonces: list[int] = []
        self._words: dict[int, dict[Word, dict[int, bytes]]] = {}

    @property
    def highest(self) -> int:
        """The highest nonce with a proof; 0 when none."""
        return self._nonces[-1] if self._nonces else 0

    def add(self, index: int, word: Word, proof: bytes) -> bool:
        """Keep a proof for the verifier at `index`; False if it was kept already."""
        nonce, _ = unpack_word(word)
        if nonce not in self._words:
            insort(self._nonces, nonce)
            self._words[nonce] = {}
        proofs = self._words[nonce].setdefault(word, {})
        fresh = proofs.get(index) != proof
        proofs[index] = proof
        while len(self._nonces) > POOL_WORDS:
            self._forget(self._nonces[-1])
        return fresh

    def find(self, first: int, last: int) -> list[ProvenWord]:
        """Words with a nonce from `first` to `last`, lowest first."""
        found: list[ProvenWord] = []
        for nonce in self._nonces[bisect_left(self._nonces, first) :]:
            if nonce > last:
                break
            found += [ProvenWord(nonce, word, dict(proofs)) for word, proofs in self._words[nonce].items()]
        return found

    def discard(self, word: Word) -> None:
        """Forget what a verifier refused, or what contradicts the chain."""
        nonce, _ = unpack_word(word)
        words = self._words.get(nonce, {})
        words.pop(word, None)
        if nonce in self._words and not words:
            self._forget(nonce)

    def prune(self, first: int) -> None:
        """Forget the words below `first`: nothing undecided is under them."""
        for nonce in self._nonces[: bisect_left(self._nonces, first)]:
            self._forget(nonce)

    def _forget(self, nonce: int) -> None:
        del self._nonces[bisect_left(self._nonces, nonce)]
        del self._words[nonce]
