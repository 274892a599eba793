"""Attestations: signing a checkpoint, recovering who signed, and the proof that the Attestation verifier checks.

Trusts no signature that it has not recovered. Spec: spec/verification.md, "Attestation".
Twins: core/attestation.py (the encoding), contracts/verifiers/Attestation.vy. Fetching: tiers/attestation_client.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import coincurve

from comity.core.attestation import (
    AttestationSet,
    AttestationSetMismatch,
    AttestationSignatureMalformed,
    AttestationSignerUnknown,
    compute_digest,
    decode_proof,
    encode_proof,
    pack_signature,
    unpack_signature,
)
from comity.core.checkpoint import Checkpoint
from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.types import Address, ChainId, Hash32


class DigestSigner(Protocol):
    """Whoever can sign digests with one key; `chain.signer.LocalSigner` is one."""

    @property
    def address(self) -> Address:
        """20 bytes."""
        ...

    def sign_digest(self, digest: bytes) -> tuple[int, int, int]:
        """r, s and v (27 or 28); the same for the same digest, always."""
        ...


@dataclass(frozen=True, slots=True)
class AttestationVerifier:
    """The contract for which a signature is given: it counts nowhere else."""

    chain_id: ChainId
    """The chain that checks: the destination for dispatches, the origin for receipts."""
    address: Address
    development: bool = False


@dataclass(frozen=True, slots=True)
class Attestation:
    """One member's recovered signature over a checkpoint."""

    checkpoint: Checkpoint
    set_id: int
    signer: Address
    signature: bytes
    """64 bytes (EIP-2098)."""
    height: int
    """Where the signer says it proved the word; it is not signed, and untrusted."""


class Equivocation(Invalid):
    """A quorum signed two words of one nonce: the set is broken, and its signatures are the evidence."""


def sign_checkpoint(
    signer: DigestSigner, verifier: AttestationVerifier, checkpoint: Checkpoint, attestation_set: AttestationSet
) -> bytes:
    """Sign a checkpoint for one verifier and one set; 64 bytes (EIP-2098).

    Raises:
        AttestationSignerUnknown: the signer is not a member.
    """
    if signer.address not in attestation_set.members:
        raise AttestationSignerUnknown("not a member of the set", signer=signer.address, epoch=attestation_set.epoch)
    digest = _compute_digest(verifier, checkpoint, attestation_set)
    r, s, v = signer.sign_digest(digest)
    signature = pack_signature(r, s, v - 27)
    if _recover(digest, signature) != signer.address:
        raise AttestationSignatureMalformed("the signer signed with another key", signer=signer.address)
    return signature


def recover_signer(
    verifier: AttestationVerifier, checkpoint: Checkpoint, attestation_set: AttestationSet, signature: bytes
) -> Address:
    """Recover the member who signed.

    Raises:
        AttestationError: the signature is malformed, or from no member.
    """
    signer = _recover(_compute_digest(verifier, checkpoint, attestation_set), signature)
    if signer not in attestation_set.members:
        raise AttestationSignerUnknown("not a member of the set", signer=signer, epoch=attestation_set.epoch)
    return signer


def build_proof(checkpoint: Checkpoint, attestation_set: AttestationSet, signatures: Mapping[Address, bytes]) -> bytes:
    """Build the verifier's proof from recovered signatures of exactly this checkpoint.

    Raises:
        AttestationsTooFew: fewer than the threshold.
    """
    if checkpoint.nonce == 0:
        raise Invalid("an empty direction needs no proof", lane=checkpoint.lane, direction=checkpoint.direction)
    return encode_proof(attestation_set, signatures)


def verify_proof(
    verifier: AttestationVerifier, checkpoint: Checkpoint, attestation_set: AttestationSet, proof: bytes
) -> None:
    """Check a proof as the contract does when it holds this set.

    Raises:
        AttestationError: the contract would refuse it.
    """
    decoded = decode_proof(proof)
    digest = _compute_digest(verifier, checkpoint, attestation_set)
    computed = decoded.compute_set([_recover(digest, signature) for signature in decoded.signatures])
    if computed.id != attestation_set.id:
        raise AttestationSetMismatch("recovered set", expected=attestation_set.id, computed=computed.id)


@dataclass(frozen=True, slots=True)
class SignedWord:
    """A checkpoint that enough members of one set signed."""

    checkpoint: Checkpoint
    attestation_set: AttestationSet
    signatures: Mapping[Address, bytes]

    @property
    def proof(self) -> bytes:
        """What the verifier checks."""
        return build_proof(self.checkpoint, self.attestation_set, self.signatures)


def choose_words(attestations: Iterable[Attestation], attestation_set: AttestationSet) -> list[SignedWord]:
    """Choose the words that at least a threshold of the set signed, lowest nonce first.

    Raises:
        Equivocation: two words of one nonce have that many signatures.
    """
    signatures: dict[Checkpoint, dict[Address, bytes]] = {}
    for attestation in attestations:
        if attestation.set_id == attestation_set.id:
            signatures.setdefault(attestation.checkpoint, {})[attestation.signer] = attestation.signature
    signed: dict[int, SignedWord] = {}
    for checkpoint, by_signer in signatures.items():
        if len(by_signer) < attestation_set.threshold:
            continue
        if other := signed.get(checkpoint.nonce):
            raise Equivocation(
                "a quorum signed two words of one nonce",
                lane=checkpoint.lane,
                direction=int(checkpoint.direction),
                words=(hex(other.checkpoint.word), hex(checkpoint.word)),
                next_step="report both proofs to the Gate, which suspends the verifier",
            )
        signed[checkpoint.nonce] = SignedWord(checkpoint, attestation_set, by_signer)
    return [signed[nonce] for nonce in sorted(signed)]


def choose_word(attestations: Iterable[Attestation], attestation_set: AttestationSet) -> SignedWord | None:
    """Choose the highest word that at least a threshold of the set signed. Raises: Equivocation."""
    words = choose_words(attestations, attestation_set)
    return words[-1] if words else None


def _compute_digest(verifier: AttestationVerifier, checkpoint: Checkpoint, attestation_set: AttestationSet) -> Hash32:
    return compute_digest(
        verifier.chain_id, verifier.address, checkpoint, attestation_set, development=verifier.development
    )


def _recover(digest: Hash32, signature: bytes) -> Address:
    r, s, y_parity = unpack_signature(signature)
    compact = r.to_bytes(32) + s.to_bytes(32) + bytes([y_parity])
    try:
        key = coincurve.PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except ValueError as error:
        raise AttestationSignatureMalformed("no key gives this signature", r=r, s=s) from error
    return Address(keccak(key.format(compressed=False)[1:])[12:])
