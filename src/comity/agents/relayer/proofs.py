"""Proofs at hand: which words of a lane can be shown to the Gate, and by which verifiers.

Trusts nobody: a source can only withhold. A word enters a run only if it equals the one that this relayer rebuilt from
the envelopes themselves, and the Gate asks the verifier again. Spec section 4; the sources live in comity/tiers.
"""

import asyncio
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from comity.core.delivery import MAX_ENTRIES, MAX_PART_BYTES, MAX_SUFFIX
from comity.core.errors import ComityError
from comity.core.lane import unpack_word
from comity.core.types import Direction, Lane, Word

POOL_WORDS: Final = 1024
"""Words kept at most, roughly: beyond it all are forgotten, and fetched again when their turn comes."""
REACH: Final = MAX_ENTRIES + MAX_SUFFIX
"""Nonces from the first envelope of a run to its word, both included, at most."""
_HASTE_SECONDS: Final = 0.1

log = structlog.get_logger(__name__)


class ProofSource(Protocol):
    """What one verifier accepts, from wherever its proofs are made; tiers.attestation_client is the first."""

    async def fetch(self, lane: Lane, direction: Direction, min_nonce: int) -> Sequence[tuple[Word, bytes]]:
        """Fetch the lowest words with a nonce of at least `min_nonce` and a proof of each; any number of them.

        Raises: Unavailable.
        """
        ...

    async def close(self) -> None:
        """Release the connections."""
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
    """Proofs of one lane's words, in order of nonce."""

    def __init__(self) -> None:
        self._nonces: list[int] = []
        self._words: dict[int, dict[Word, dict[int, bytes]]] = {}

    def __len__(self) -> int:
        return len(self._nonces)

    def add(self, index: int, word: Word, proof: bytes) -> None:
        """Keep a proof for the verifier at `index`."""
        nonce, _ = unpack_word(word)
        if nonce not in self._words:
            insort(self._nonces, nonce)
        self._words.setdefault(nonce, {}).setdefault(word, {})[index] = proof

    def find(self, first: int, last: int) -> list[ProvenWord]:
        """Words with a nonce from `first` to `last`, lowest first."""
        found: list[ProvenWord] = []
        for nonce in self._nonces[bisect_left(self._nonces, first) : bisect_right(self._nonces, last)]:
            found += [ProvenWord(nonce, word, dict(proofs)) for word, proofs in self._words[nonce].items()]
        return found

    def discard(self, word: Word) -> None:
        """Forget what a verifier refused, or what contradicts the chain."""
        nonce, _ = unpack_word(word)
        words = self._words.get(nonce, {})
        words.pop(word, None)
        if nonce in self._words and not words:
            del self._nonces[bisect_left(self._nonces, nonce)]
            del self._words[nonce]

    def clear(self) -> None:
        """Forget everything."""
        self._nonces.clear()
        self._words.clear()


class ProofDesk:
    """Fetches a lane's proofs from their sources, a window at a time, and keeps them at hand."""

    def __init__(self, lane: Lane, sources: Mapping[int, ProofSource], *, poll_seconds: float) -> None:
        """`sources` by the index of the Gate's verifier."""
        self.indices = tuple(sources)
        self._lane = lane
        self._sources = sources
        self._poll_seconds = poll_seconds
        self._pool = ProofPool()
        self._asked_at = 0.0
        self._asked_from = 0
        self._silent: set[int] = set()
        self.find = self._pool.find
        self.discard = self._pool.discard

    def is_stale(self, first: int, last: int) -> bool:
        """Say whether the sources may have more for a run that starts at `first` and could end at `last`."""
        at_hand = self.find(first, first + REACH - 1)
        if at_hand and at_hand[-1].nonce >= last:
            return False
        if not at_hand and first != self._asked_from:
            return True
        patience = self._poll_seconds if at_hand else min(self._poll_seconds, _HASTE_SECONDS)
        return time.monotonic() - self._asked_at >= patience

    async def fetch(self, first: int) -> None:
        """Fetch what the sources have from nonce `first` on; one that does not answer is passed over."""
        if len(self._pool) > POOL_WORDS:
            self._pool.clear()
        answers = await asyncio.gather(
            *(source.fetch(self._lane, Direction.DISPATCHES, first) for source in self._sources.values()),
            return_exceptions=True,
        )
        self._asked_at, self._asked_from = time.monotonic(), first
        for index, answer in zip(self.indices, answers, strict=True):
            if isinstance(answer, ComityError):
                self._note_silence(index, answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self._silent.discard(index)
                for word, proof in answer:
                    # The Gate reads no longer ones.
                    if len(proof) <= MAX_PART_BYTES:
                        self._pool.add(index, word, proof)

    def _note_silence(self, index: int, error: ComityError) -> None:
        """Say once that a source does not answer, not at every question."""
        if index not in self._silent:
            self._silent.add(index)
            log.warning("proofs.unavailable", lane=self._lane, verifier=index, error=error)
