"""Three members, a set of two, and their signatures over made-up words."""

from dataclasses import replace

from comity.chain.signer import LocalSigner
from comity.core.attestation import AttestationSet
from comity.core.checkpoint import Checkpoint
from comity.core.finality import FINALIZED
from comity.core.types import Address, ChainId, Direction, Lane, Word
from comity.tiers.attestation import Attestation, AttestationVerifier, sign_checkpoint

LANE = Lane(b"\x11" * 32)
VERIFIER = AttestationVerifier(ChainId(2**255 + 1), Address(b"\x0a" * 20))
SIGNERS = sorted((LocalSigner(bytes([index]) * 32) for index in (1, 2, 3)), key=lambda signer: signer.address)
STRANGER = LocalSigner(b"\x09" * 32)
SET = AttestationSet(7, 2, FINALIZED.code, tuple(signer.address for signer in SIGNERS))
ROTATED = replace(SET, epoch=8)


def a_checkpoint(nonce: int, accumulator: int = 5) -> Checkpoint:
    return Checkpoint(LANE, Direction.DISPATCHES, Word(nonce << 216 | accumulator))


def an_attestation(signer: LocalSigner, checkpoint: Checkpoint, attestation_set: AttestationSet = SET) -> Attestation:
    signature = sign_checkpoint(signer, VERIFIER, checkpoint, attestation_set)
    return Attestation(checkpoint, attestation_set.id, signer.address, signature, height=1)
