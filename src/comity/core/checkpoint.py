"""Checkpoints: the one claim that every verifier answers, and its digest. Trusts nobody.

"This direction of this lane held this word in a block that is final under the verifier's rule." The height belongs
to the proof, so that different verifiers can agree on one checkpoint.
Spec: spec/verification.md, "Checkpoint". Twin: contracts/interfaces/IVerifier.vyi and contracts/core/lane.vy.
"""

from dataclasses import dataclass

from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.lane import unpack_word
from comity.core.types import Accumulator, Direction, Hash32, Lane, Word

CHECKPOINT_TYPE_HASH = keccak(b"Checkpoint(bytes32 lane,uint8 direction,uint256 word)")


class CheckpointLaneInvalid(Invalid):
    """The lane of a checkpoint is not 32 bytes."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A word that a direction of a lane is claimed to have held; never the zero word of an unopened lane."""

    lane: Lane
    direction: Direction
    word: Word

    def __post_init__(self) -> None:
        if len(self.lane) != 32:
            raise CheckpointLaneInvalid("checkpoint lane", expected=32, actual=len(self.lane))
        unpack_word(self.word)

    @property
    def nonce(self) -> int:
        """The number of entries under the word."""
        return unpack_word(self.word)[0]

    @property
    def accumulator(self) -> Accumulator:
        """The accumulator of the word."""
        return unpack_word(self.word)[1]

    @property
    def digest(self) -> Hash32:
        """What a verifier returns when it accepts."""
        return keccak(
            CHECKPOINT_TYPE_HASH + self.lane + self.direction.to_bytes(32, "big") + self.word.to_bytes(32, "big")
        )
