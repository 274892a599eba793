"""Attestation sets, what their members sign, and the proof that carries signatures; pure encoding that trusts nobody.

Proof: epoch u32 | threshold u8 | finality u32 | member_count u8 | bitmap u32 (bit i: member i signed)
       | absent members in order, 20 bytes each | signatures of the signers in order, 64 bytes each

Signers are not named: their addresses are recovered, merged with the absent ones, and must give the stored set id.
Spec: spec/verification.md, "Attestation". Twin: contracts/verifiers/Attestation.vy. Signing: tiers/attestation.py.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from comity.core.checkpoint import Checkpoint
from comity.core.errors import Invalid, NotReady
from comity.core.keccak import keccak
from comity.core.types import Address, ChainId, Hash32, to_address32

MAX_MEMBERS = 32
SET_ID_BITS = 216
SIGNATURE_BYTES = 64
ADDRESS_BYTES = 20

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SECP256K1_HALF_ORDER = SECP256K1_ORDER // 2

DOMAIN_NAME = "Comity Attestation"
DOMAIN_VERSION = "1"
DEVELOPMENT_DOMAIN_VERSION = "1-development"
"""Of verifiers deployed as development ones, so that no signature counts on both kinds."""

_DOMAIN_TYPE_HASH = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_ATTESTATION_TYPE_HASH = keccak(b"Attestation(bytes32 lane,uint8 direction,uint256 word,uint256 set)")
_HEADER = struct.Struct(">IBIBI")
HEADER_BYTES = _HEADER.size
_U32 = 0xFFFFFFFF


class AttestationError(Invalid):
    """Not a valid set, signature or proof; the subclasses say why."""


class AttestationFieldOutOfRange(AttestationError):
    """An epoch, a finality code or the verifier's address is outside its range."""


class AttestationThresholdUnreachable(AttestationError):
    """The threshold is zero or more than the members."""


class AttestationMembersNotAscending(AttestationError):
    """Members are not strictly ascending, not 20 bytes, zero, or not 1 to 32."""


class AttestationProofLengthMismatch(AttestationError):
    """The proof is not exactly as long as its header says."""


class AttestationBitmapMismatch(AttestationError):
    """The bitmap names other than `threshold` members, or one beyond the set."""


class AttestationSignatureMalformed(AttestationError):
    """Not 64 bytes, r or s outside the curve's order, or the high of the two possible s."""


class AttestationSignerUnknown(AttestationError):
    """A signature is from no member of the set."""


class AttestationSetMismatch(AttestationError):
    """The recovered signers do not fit the proof."""


class AttestationsTooFew(NotReady):
    """Fewer members than the threshold have signed so far."""


@dataclass(frozen=True, slots=True)
class AttestationSet:
    """Who may attest, how many of them must, and how final a block must be for them to sign."""

    epoch: int
    """From 1, counted by the verifier; every rotation starts a new one."""
    threshold: int
    finality: int
    """The code of the finality rule (comity.core.finality)."""
    members: tuple[Address, ...]
    """Strictly ascending, 1 to 32."""

    def __post_init__(self) -> None:
        for name in ("epoch", "finality"):
            if not 1 <= getattr(self, name) <= _U32:
                raise AttestationFieldOutOfRange("attestation set", field=name, value=getattr(self, name))
        _validate_members(self.members)
        _validate_threshold(self.threshold, len(self.members))

    @property
    def proof_bytes(self) -> int:
        """How long a proof of this set is."""
        absent = len(self.members) - self.threshold
        return HEADER_BYTES + ADDRESS_BYTES * absent + SIGNATURE_BYTES * self.threshold

    @property
    def id(self) -> int:
        """Low 216 bits of keccak256(abi.encode(uint256, uint256, uint256, address[]))."""
        heads = (self.epoch, self.threshold, self.finality, 4 * 32, len(self.members))
        preimage = b"".join(value.to_bytes(32, "big") for value in heads) + b"".join(map(to_address32, self.members))
        return int.from_bytes(keccak(preimage)[32 - SET_ID_BITS // 8 :], "big")


@dataclass(frozen=True, slots=True)
class AttestationProof:
    """A decoded proof; whose signatures they are is known only once the signers are recovered."""

    epoch: int
    threshold: int
    finality: int
    member_count: int
    bitmap: int
    absent: tuple[Address, ...]
    signatures: tuple[bytes, ...]

    def compute_set(self, signers: Sequence[Address]) -> AttestationSet:
        """Merge the recovered signers, in the order of the signatures, with the absent members.

        Raises: AttestationError, when they cannot be the members of one set.
        """
        if len(signers) != self.threshold:
            raise AttestationSetMismatch("recovered signers", expected=self.threshold, actual=len(signers))
        signed, absent = iter(signers), iter(self.absent)
        members = tuple(next(signed if self.bitmap >> i & 1 else absent) for i in range(self.member_count))
        return AttestationSet(self.epoch, self.threshold, self.finality, members)


@lru_cache(maxsize=1024)
def compute_domain(chain_id: ChainId, verifier: Address, development: bool = False) -> Hash32:
    """Compute the EIP-712 domain separator of an Attestation verifier on the chain where it checks.

    Raises: AttestationFieldOutOfRange.
    """
    if len(verifier) != ADDRESS_BYTES:
        raise AttestationFieldOutOfRange("verifier address", expected=ADDRESS_BYTES, actual=len(verifier))
    version = DEVELOPMENT_DOMAIN_VERSION if development else DOMAIN_VERSION
    names = keccak(DOMAIN_NAME.encode()) + keccak(version.encode())
    return keccak(_DOMAIN_TYPE_HASH + names + chain_id.to_bytes(32, "big") + to_address32(verifier))


def compute_digest(
    chain_id: ChainId,
    verifier: Address,
    checkpoint: Checkpoint,
    attestation_set: AttestationSet,
    *,
    development: bool = False,
) -> Hash32:
    """Compute what a member signs: EIP-712 over the checkpoint and the set.

    `chain_id` and `verifier` are of the chain that checks: the destination for dispatches, the origin for receipts.
    """
    struct_hash = keccak(
        _ATTESTATION_TYPE_HASH
        + checkpoint.lane
        + checkpoint.direction.to_bytes(32, "big")
        + checkpoint.word.to_bytes(32, "big")
        + attestation_set.id.to_bytes(32, "big")
    )
    return keccak(b"\x19\x01" + compute_domain(chain_id, verifier, development) + struct_hash)


def encode_proof(attestation_set: AttestationSet, signatures: Mapping[Address, bytes]) -> bytes:
    """Encode a proof from members' signatures; of more than `threshold`, those of the first members are taken.

    The signatures are not verified here.

    Raises: AttestationError; AttestationsTooFew.
    """
    members, threshold = attestation_set.members, attestation_set.threshold
    unknown = signatures.keys() - set(members)
    if unknown:
        raise AttestationSignerUnknown("not a member of the set", signer=min(unknown), epoch=attestation_set.epoch)
    signers = [member for member in members if member in signatures][:threshold]
    if len(signers) < threshold:
        raise AttestationsTooFew("signatures so far", expected=threshold, actual=len(signers))
    for signer in signers:
        validate_signature(signatures[signer])
    bitmap = sum(1 << i for i, member in enumerate(members) if member in signers)
    header = _HEADER.pack(attestation_set.epoch, threshold, attestation_set.finality, len(members), bitmap)
    absent = (member for member in members if member not in signers)
    return b"".join((header, *absent, *(signatures[signer] for signer in signers)))


def decode_proof(proof: bytes) -> AttestationProof:
    """Read a proof strictly: every length, order and range that does not need a key is checked.

    Raises: AttestationError.
    """
    if len(proof) < HEADER_BYTES:
        raise AttestationProofLengthMismatch("proof is shorter than its header", least=HEADER_BYTES, actual=len(proof))
    epoch, threshold, finality, member_count, bitmap = _HEADER.unpack_from(proof)
    for name, value in (("epoch", epoch), ("finality", finality)):
        if value == 0:
            raise AttestationFieldOutOfRange("attestation proof", field=name, value=value)
    if not 1 <= member_count <= MAX_MEMBERS:
        raise AttestationMembersNotAscending("member count", actual=member_count, most=MAX_MEMBERS)
    _validate_threshold(threshold, member_count)
    if bitmap >> member_count or bitmap.bit_count() != threshold:
        raise AttestationBitmapMismatch("bitmap", bitmap=bin(bitmap), members=member_count, threshold=threshold)
    signatures_at = HEADER_BYTES + ADDRESS_BYTES * (member_count - threshold)
    expected = signatures_at + SIGNATURE_BYTES * threshold
    if len(proof) != expected:
        raise AttestationProofLengthMismatch("proof length", expected=expected, actual=len(proof))
    absent = tuple(Address(part) for part in _split(proof[HEADER_BYTES:signatures_at], ADDRESS_BYTES))
    if absent:
        _validate_members(absent)
    signatures = _split(proof[signatures_at:], SIGNATURE_BYTES)
    for signature in signatures:
        validate_signature(signature)
    return AttestationProof(epoch, threshold, finality, member_count, bitmap, absent, signatures)


def pack_signature(r: int, s: int, y_parity: int) -> bytes:
    """Pack a signature into the 64 bytes of EIP-2098; of the two possible s the low one is taken.

    Raises: AttestationSignatureMalformed.
    """
    if s > SECP256K1_HALF_ORDER:
        s, y_parity = SECP256K1_ORDER - s, 1 - y_parity
    if y_parity not in (0, 1) or not 0 < r < SECP256K1_ORDER or s <= 0:
        raise AttestationSignatureMalformed("signature", r=r, s=s, y_parity=y_parity)
    return r.to_bytes(32, "big") + (y_parity << 255 | s).to_bytes(32, "big")


def unpack_signature(signature: bytes) -> tuple[int, int, int]:
    """Split 64 bytes into r, s and y_parity.

    Raises: AttestationSignatureMalformed.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise AttestationSignatureMalformed("signature length", expected=SIGNATURE_BYTES, actual=len(signature))
    r, packed = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    s = packed & (1 << 255) - 1
    if not 0 < r < SECP256K1_ORDER or not 0 < s <= SECP256K1_HALF_ORDER:
        raise AttestationSignatureMalformed("signature outside the order, or high s", r=r, s=s)
    return r, s, packed >> 255


def validate_signature(signature: bytes) -> None:
    """Check length, ranges and low s.

    Raises: AttestationSignatureMalformed.
    """
    unpack_signature(signature)


def _split(joined: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(joined[i : i + size] for i in range(0, len(joined), size))


def _validate_members(members: Sequence[Address]) -> None:
    if not 1 <= len(members) <= MAX_MEMBERS:
        raise AttestationMembersNotAscending("member count", actual=len(members), most=MAX_MEMBERS)
    previous = bytes(ADDRESS_BYTES)
    for member in members:
        if len(member) != ADDRESS_BYTES or member <= previous:
            raise AttestationMembersNotAscending("members", member=member, previous=previous)
        previous = member


def _validate_threshold(threshold: int, member_count: int) -> None:
    if not 1 <= threshold <= member_count:
        raise AttestationThresholdUnreachable("attestation threshold", threshold=threshold, members=member_count)
