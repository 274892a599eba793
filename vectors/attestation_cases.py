"""Cases of attestation.json, signed by keys that anybody can compute."""

from collections.abc import Iterator
from dataclasses import replace

from coincurve import PrivateKey
from vector_format import LANE, Case, show

from comity.core import attestation, lane
from comity.core.attestation import AttestationSet
from comity.core.checkpoint import Checkpoint
from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.types import Direction


def build_keys(count: int) -> list[PrivateKey]:
    """Signers, ascending by address."""
    keys = [PrivateKey(keccak(b"comity vector signer %d" % i)) for i in range(count)]
    return sorted(keys, key=address_of)


def address_of(key: PrivateKey) -> bytes:
    """The account of a key."""
    return keccak(key.public_key.format(compressed=False)[1:])[12:]


def sign(key: PrivateKey, digest: bytes) -> bytes:
    """A deterministic signature in 64 bytes."""
    signature = key.sign_recoverable(digest, hasher=None)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return attestation.pack_signature(r, s, signature[64])


KEYS = build_keys(32)
SETS = tuple(
    AttestationSet(epoch, threshold, finality, tuple(map(address_of, KEYS[:size])))
    for epoch, threshold, finality, size in (
        (1, 3, 1, 4),
        (2, 2, 0xFFFFFFFF, 3),
        (3, 1, 12, 1),
        (4, 19, 0xFFFFFFFE, 32),
    )
)
VERIFIER = b"\x77" * 20
CHECKPOINT = Checkpoint(LANE, Direction.DISPATCHES, lane.pack_word(5, lane.compute_seed(LANE, Direction.DISPATCHES)))
DIGESTS = tuple(
    (31338, VERIFIER, development, replace(CHECKPOINT, direction=direction), index)
    for index, development, direction in ((0, False, 0), (1, False, 1), (2, True, 0), (3, False, 0))
)


def compute_digest(index: int) -> bytes:
    """What the signers of DIGESTS[index] sign."""
    chain_id, verifier, development, checkpoint, set_index = DIGESTS[index]
    return attestation.compute_digest(chain_id, verifier, checkpoint, SETS[set_index], development=development)


def build_proof(index: int, signers: tuple[int, ...], digest: bytes | None = None) -> bytes:
    """A proof for DIGESTS[index] by the keys of these indices, over another digest if one is given."""
    signed = digest or compute_digest(index)
    return attestation.encode_proof(SETS[index], {address_of(KEYS[i]): sign(KEYS[i], signed) for i in signers})


def invalid_proofs() -> Iterator[tuple[str, bytes, type[Invalid]]]:
    """Proofs that each break one rule of the encoding."""
    proof = build_proof(1, (0, 2))
    sig = 14 + 20
    half = attestation.SECP256K1_HALF_ORDER
    yield "no bytes", b"", attestation.AttestationProofLengthMismatch
    yield "cut short", proof[:-1], attestation.AttestationProofLengthMismatch
    yield "a trailing byte", proof + b"\0", attestation.AttestationProofLengthMismatch
    yield "epoch 0", bytes(4) + proof[4:], attestation.AttestationFieldOutOfRange
    yield "finality 0", proof[:5] + bytes(4) + proof[9:], attestation.AttestationFieldOutOfRange
    yield "threshold 0", proof[:4] + b"\0" + proof[5:], attestation.AttestationThresholdUnreachable
    yield "threshold above the members", proof[:4] + b"\4" + proof[5:], attestation.AttestationThresholdUnreachable
    yield "no members", proof[:9] + b"\0" + proof[10:], attestation.AttestationMembersNotAscending
    yield "33 members", proof[:9] + b"\x21" + proof[10:], attestation.AttestationMembersNotAscending
    yield "a signer beyond the set", proof[:13] + b"\x09" + proof[14:], attestation.AttestationBitmapMismatch
    yield "fewer signers than the threshold", proof[:13] + b"\x01" + proof[14:], attestation.AttestationBitmapMismatch
    yield "more signers than the threshold", proof[:13] + b"\x07" + proof[14:], attestation.AttestationBitmapMismatch
    yield "an absent member of zero", proof[:14] + bytes(20) + proof[34:], attestation.AttestationMembersNotAscending
    yield "r is zero", proof[:sig] + bytes(32) + proof[sig + 32 :], attestation.AttestationSignatureMalformed
    yield "s is zero", proof[:-32] + bytes(32), attestation.AttestationSignatureMalformed
    above = (half + 1).to_bytes(32, "big")
    yield "the lowest high s", proof[:-32] + above, attestation.AttestationSignatureMalformed
    highest = ((1 << 255) - 1).to_bytes(32, "big")
    yield "the highest s of 255 bits", proof[:-32] + highest, attestation.AttestationSignatureMalformed
    order = attestation.SECP256K1_ORDER.to_bytes(32, "big")
    yield "r is the order", proof[:sig] + order + proof[sig + 32 :], attestation.AttestationSignatureMalformed
    two_absent = bytearray(build_proof(0, (0, 1, 2)))
    wide = AttestationSet(9, 2, 1, SETS[0].members)
    pair = attestation.encode_proof(wide, {address_of(KEYS[i]): sign(KEYS[i], compute_digest(0)) for i in (0, 1)})
    swapped = pair[:14] + pair[34:54] + pair[14:34] + pair[54:]
    yield "absent members out of order", swapped, attestation.AttestationMembersNotAscending
    repeated = pair[:34] + pair[14:34] + pair[54:]
    yield "an absent member twice", repeated, attestation.AttestationMembersNotAscending
    two_absent[4] = 2
    yield "a lower threshold with all signatures", bytes(two_absent), attestation.AttestationBitmapMismatch


def unaccepted_proofs() -> Iterator[tuple[str, int, bytes]]:
    """Proofs of the right form whose signers are not the set of the digest."""
    proof = build_proof(0, (0, 1, 2))
    first, second = proof[34:98], proof[98:162]
    yield "two signatures exchanged", 0, proof[:34] + second + first + proof[162:]
    yield "one signature twice", 0, proof[:34] + first + first + proof[162:]
    yield "another checkpoint", 0, build_proof(0, (0, 1, 2), compute_digest(1))
    outsider = sign(KEYS[9], compute_digest(0))
    yield "a signature of an outsider", 0, proof[:98] + outsider + proof[162:]
    yield "the parity bit of one signature flipped", 0, proof[:66] + bytes([proof[66] ^ 0x80]) + proof[67:]
    s = int.from_bytes(proof[66:98], "big") & (1 << 255) - 1
    yield (
        "the other s of a signature",
        0,
        proof[:66] + (attestation.SECP256K1_ORDER - s).to_bytes(32, "big") + proof[98:],
    )
    lowered = AttestationSet(1, 1, 1, SETS[0].members)
    lone = attestation.encode_proof(lowered, {address_of(KEYS[0]): sign(KEYS[0], compute_digest(0))})
    yield "a lower threshold", 0, lone
    yield "another finality rule", 0, proof[:5] + (2).to_bytes(4, "big") + proof[9:]
    yield "another epoch", 0, (2).to_bytes(4, "big") + proof[4:]
    yield "another absent member", 0, proof[:33] + bytes([proof[33] ^ 1]) + proof[34:]


def build_attestation() -> Case:
    """attestation.json."""
    digests = []
    for index, (chain_id, verifier, development, checkpoint, set_index) in enumerate(DIGESTS):
        digests.append(
            {
                "name": f"set {set_index}",
                "chain_id": chain_id,
                "verifier": show(verifier),
                "development": development,
                "lane": show(checkpoint.lane),
                "direction": int(checkpoint.direction),
                "word": hex(checkpoint.word),
                "set": set_index,
                "checkpoint_digest": show(checkpoint.digest),
                "domain": show(attestation.compute_domain(chain_id, verifier, development)),
                "digest": show(compute_digest(index)),
            }
        )
    signers = (("the first three", 0, (0, 1, 2)), ("the last three", 0, (1, 2, 3)), ("one absent between", 1, (0, 2)))
    signers += (("one of one, development", 2, (0,)), ("nineteen of 32", 3, (*range(0, 32, 2), 1, 3, 5)))
    return {
        "keys": [{"name": show(address_of(key)), "key": show(key.secret)} for key in KEYS],
        "sets": [
            {
                "name": f"{s.threshold} of {len(s.members)}",
                "epoch": s.epoch,
                "threshold": s.threshold,
                "finality": s.finality,
                "members": [show(member) for member in s.members],
                "id": hex(s.id),
            }
            for s in SETS
        ],
        "digests": digests,
        "proofs": [
            {"name": name, "digest": i, "signers": sorted(keys), "proof": show(build_proof(i, keys))}
            for name, i, keys in signers
        ],
        "unaccepted": [{"name": name, "digest": i, "proof": show(proof)} for name, i, proof in unaccepted_proofs()],
        "invalid": [{"name": n, "proof": show(p), "error": e.__name__} for n, p, e in invalid_proofs()],
    }
