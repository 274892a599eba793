"""Attestation sets and proofs: what is encoded is exactly the set, a threshold of it, and nothing else."""

from dataclasses import replace

import pytest
from core_strategies import attestation_sets
from eth_abi import encode as abi_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core import attestation
from comity.core.attestation import (
    SECP256K1_HALF_ORDER,
    SECP256K1_ORDER,
    AttestationSet,
    compute_digest,
    compute_domain,
    decode_proof,
    encode_proof,
    pack_signature,
    unpack_signature,
)
from comity.core.checkpoint import Checkpoint
from comity.core.keccak import keccak
from comity.core.lane import pack_word
from comity.core.types import Direction

MEMBERS = tuple(bytes([i]) * 20 for i in range(1, 5))
SET = AttestationSet(1, 2, 12, MEMBERS)
CHECKPOINT = Checkpoint(b"\1" * 32, Direction.DISPATCHES, pack_word(3, 9))
VERIFIER = b"\7" * 20

signatures = st.builds(
    pack_signature, st.integers(1, SECP256K1_ORDER - 1), st.integers(1, SECP256K1_ORDER - 1), st.integers(0, 1)
)


def sign_as(member):
    """A signature that tells who gave it."""
    return pack_signature(member[0] + 1, 1, 0)


@given(attestation_sets())
def test_set_id_is_that_of_eth_abi(signed):
    values = [signed.epoch, signed.threshold, signed.finality, list(signed.members)]
    digest = keccak(abi_encode(["uint256", "uint256", "uint256", "address[]"], values))
    assert signed.id == int.from_bytes(digest, "big") % (1 << 216)


@given(attestation_sets(), st.data())
def test_decode_inverts_encode(signed, data):
    by = data.draw(st.lists(st.sampled_from(signed.members), unique=True, min_size=signed.threshold))
    given_ = {member: data.draw(signatures) for member in by}
    proof = encode_proof(signed, given_)
    decoded = decode_proof(proof)
    taken = sorted(by)[: signed.threshold]
    assert decoded.signatures == tuple(given_[member] for member in taken)
    assert decoded.absent == tuple(member for member in signed.members if member not in taken)
    assert decoded.compute_set(taken) == signed
    assert len(proof) == 14 + 20 * len(decoded.absent) + 64 * signed.threshold


@settings(max_examples=20)
@given(attestation_sets(), st.integers(1, 255), st.data())
def test_any_changed_byte_is_refused_or_seen(signed, change, data):
    proof = encode_proof(signed, {member: data.draw(signatures) for member in signed.members})
    for offset in range(len(proof)):
        altered = proof[:offset] + bytes([proof[offset] ^ change]) + proof[offset + 1 :]
        try:
            decoded = decode_proof(altered)
        except attestation.AttestationError:
            continue
        assert decoded != decode_proof(proof)


def test_exactly_the_threshold_is_sent_and_fewer_is_not_yet():
    everybody = {member: sign_as(member) for member in MEMBERS}
    assert decode_proof(encode_proof(SET, everybody)).signatures == (sign_as(MEMBERS[0]), sign_as(MEMBERS[1]))
    with pytest.raises(attestation.AttestationsTooFew):
        encode_proof(SET, {MEMBERS[2]: sign_as(MEMBERS[2])})


def test_strangers_are_refused():
    strange = {MEMBERS[0]: sign_as(MEMBERS[0]), b"\x99" * 20: sign_as(MEMBERS[1])}
    with pytest.raises(attestation.AttestationSignerUnknown):
        encode_proof(SET, strange)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"epoch": 0}, attestation.AttestationFieldOutOfRange),
        ({"epoch": 1 << 32}, attestation.AttestationFieldOutOfRange),
        ({"finality": 0}, attestation.AttestationFieldOutOfRange),
        ({"threshold": 0}, attestation.AttestationThresholdUnreachable),
        ({"threshold": 5}, attestation.AttestationThresholdUnreachable),
        ({"members": ()}, attestation.AttestationMembersNotAscending),
        ({"members": MEMBERS[::-1]}, attestation.AttestationMembersNotAscending),
        ({"members": (MEMBERS[0], MEMBERS[0])}, attestation.AttestationMembersNotAscending),
        ({"members": (bytes(20), MEMBERS[0])}, attestation.AttestationMembersNotAscending),
        ({"members": (b"\1" * 19, MEMBERS[1])}, attestation.AttestationMembersNotAscending),
        ({"members": tuple(bytes([i]) * 20 for i in range(1, 34))}, attestation.AttestationMembersNotAscending),
    ],
)
def test_impossible_sets_are_refused(change, error):
    with pytest.raises(error):
        replace(SET, **change)


def test_every_part_of_the_claim_changes_the_digest():
    digests = {
        compute_digest(1, VERIFIER, CHECKPOINT, SET),
        compute_digest(2, VERIFIER, CHECKPOINT, SET),
        compute_digest(1, b"\x08" * 20, CHECKPOINT, SET),
        compute_digest(1, VERIFIER, CHECKPOINT, SET, development=True),
        compute_digest(1, VERIFIER, replace(CHECKPOINT, lane=b"\2" * 32), SET),
        compute_digest(1, VERIFIER, replace(CHECKPOINT, direction=Direction.RECEIPTS), SET),
        compute_digest(1, VERIFIER, replace(CHECKPOINT, word=pack_word(4, 9)), SET),
        compute_digest(1, VERIFIER, CHECKPOINT, replace(SET, epoch=2)),
        compute_digest(1, VERIFIER, CHECKPOINT, replace(SET, threshold=3)),
        compute_digest(1, VERIFIER, CHECKPOINT, replace(SET, finality=13)),
        compute_digest(1, VERIFIER, CHECKPOINT, replace(SET, members=MEMBERS[:3])),
    }
    assert len(digests) == 11


def test_a_verifier_of_another_length_has_no_domain():
    with pytest.raises(attestation.AttestationFieldOutOfRange):
        compute_domain(1, bytes(32))


@given(st.integers(1, SECP256K1_ORDER - 1), st.integers(1, SECP256K1_ORDER - 1), st.integers(0, 1))
def test_of_the_two_signatures_of_a_key_one_is_encoded(r, s, parity):
    packed = pack_signature(r, s, parity)
    assert packed == pack_signature(r, SECP256K1_ORDER - s, 1 - parity)
    assert unpack_signature(packed)[1] <= SECP256K1_HALF_ORDER


@pytest.mark.parametrize(
    "signature",
    [
        bytes(64),
        sign_as(MEMBERS[0])[:63],
        sign_as(MEMBERS[0]) + b"\0",
        (1).to_bytes(32, "big") + (SECP256K1_HALF_ORDER + 1).to_bytes(32, "big"),
        SECP256K1_ORDER.to_bytes(32, "big") + (1).to_bytes(32, "big"),
    ],
)
def test_malformed_signatures_are_refused(signature):
    with pytest.raises(attestation.AttestationSignatureMalformed):
        encode_proof(SET, dict.fromkeys(MEMBERS, signature))


@pytest.mark.parametrize(
    ("r", "s", "parity"),
    [(0, 1, 0), (SECP256K1_ORDER, 1, 0), (1, 0, 0), (1, SECP256K1_ORDER, 0), (1, -1, 0), (1, 1, 2), (1, 1, -1)],
)
def test_what_is_no_signature_is_not_packed(r, s, parity):
    with pytest.raises(attestation.AttestationSignatureMalformed):
        pack_signature(r, s, parity)


def test_signers_of_another_number_are_no_set():
    decoded = decode_proof(encode_proof(SET, {member: sign_as(member) for member in MEMBERS}))
    with pytest.raises(attestation.AttestationSetMismatch):
        decoded.compute_set(MEMBERS[:1])
    with pytest.raises(attestation.AttestationMembersNotAscending):
        decoded.compute_set(MEMBERS[1::-1])
