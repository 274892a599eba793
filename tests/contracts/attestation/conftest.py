"""The Attestation verifier by itself: sets of any size whose keys the test holds."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from comity.chain.bindings import encode_call
from comity.chain.signer import LocalSigner
from comity.core.attestation import AttestationSet, compute_digest, pack_signature
from comity.core.checkpoint import Checkpoint
from comity.core.keccak import keccak
from comity.core.lane import pack_word
from comity.core.types import Address, Direction, Seconds
from comity.devnet import deploy
from tests.contracts.chain import Chain
from tests.contracts.world import DESTINATION

FINALITY = 64
CHECKPOINT = Checkpoint(keccak(b"a lane"), Direction.DISPATCHES, pack_word(7, 12345))


def make_signers(count: int, start: int = 0) -> list[LocalSigner]:
    """Keys in the order of their addresses."""
    keys = [LocalSigner(keccak(b"member %d" % n)) for n in range(start, start + count)]
    return sorted(keys, key=lambda key: key.address)


@dataclass(frozen=True)
class Verifier:
    """A deployed verifier, its set, and the keys of the members in order."""

    chain: Chain
    address: Address
    set: AttestationSet
    signers: list[LocalSigner]
    development: bool = True

    def sign(self, signer: LocalSigner, checkpoint: Checkpoint = CHECKPOINT) -> tuple[int, int, int]:
        """r, s and the parity of y."""
        digest = compute_digest(DESTINATION, self.address, checkpoint, self.set, development=self.development)
        r, s, v = signer.sign_digest(digest)
        return r, s, v - 27

    def build(self, signing: Sequence[int], checkpoint: Checkpoint = CHECKPOINT, **changes: object) -> bytes:
        """A proof by the members at these indices, whatever it is worth; `changes` replace parts of it."""
        members = self.set.members
        parts = {
            "epoch": self.set.epoch,
            "threshold": len(signing),
            "finality": self.set.finality,
            "count": len(members),
            "bitmap": sum(1 << index for index in signing),
            "absent": [members[index] for index in range(len(members)) if index not in signing],
            "signatures": [pack_signature(*self.sign(self.signers[index], checkpoint)) for index in signing],
        } | changes
        return b"".join(
            (
                parts["epoch"].to_bytes(4, "big"),
                parts["threshold"].to_bytes(1, "big"),
                parts["finality"].to_bytes(4, "big"),
                parts["count"].to_bytes(1, "big"),
                parts["bitmap"].to_bytes(4, "big"),
                *parts["absent"],
                *parts["signatures"],
            )
        )

    async def verify(self, proof: bytes, checkpoint: Checkpoint = CHECKPOINT) -> bytes:
        """Ask. Raises: Rejected."""
        return await self.chain.call(self.address, encode_verify(proof, checkpoint))


def encode_verify(proof: bytes, checkpoint: Checkpoint = CHECKPOINT) -> bytes:
    """Calldata of the question."""
    return encode_call(
        "verify(bytes32,uint256,uint256,bytes)", checkpoint.lane, int(checkpoint.direction), checkpoint.word, proof
    )


async def create_verifier(
    chain: Chain, threshold: int, count: int, *, development: bool = True, delay: int = 0
) -> Verifier:
    """Deploy a verifier with a set of fresh members."""
    signers = make_signers(count)
    members = tuple(signer.address for signer in signers)
    attestation_set = AttestationSet(epoch=1, threshold=threshold, finality=FINALITY, members=members)
    terms = deploy.Terms(owner=chain.account, delay=Seconds(delay), development=development)
    address = await deploy.create_attestation(chain, terms, attestation_set)
    return Verifier(chain, address, attestation_set, signers, development)


@pytest.fixture
async def verifier(world):
    """Two of three."""
    return await create_verifier(world.destination, 2, 3)
