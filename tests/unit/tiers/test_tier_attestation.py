"""Signing, recovering, choosing and proving; twin of src/comity/tiers/attestation.py."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from attestors import LANE, ROTATED, SET, SIGNERS, STRANGER, VERIFIER, a_checkpoint, an_attestation
from hypothesis import given
from hypothesis import strategies as st

from comity.core.attestation import AttestationError, AttestationSignatureMalformed, AttestationSignerUnknown
from comity.core.checkpoint import Checkpoint
from comity.core.errors import Invalid, NotReady
from comity.core.types import Address, ChainId, Direction, Lane, Word
from comity.tiers.attestation import (
    Equivocation,
    build_proof,
    choose_word,
    choose_words,
    recover_signer,
    sign_checkpoint,
    verify_proof,
)


def test_member_signs_and_is_recovered() -> None:
    signature = sign_checkpoint(SIGNERS[0], VERIFIER, a_checkpoint(3), SET)
    assert len(signature) == 64
    assert recover_signer(VERIFIER, a_checkpoint(3), SET, signature) == SIGNERS[0].address
    assert sign_checkpoint(SIGNERS[0], VERIFIER, a_checkpoint(3), SET) == signature


def test_stranger_neither_signs_nor_counts() -> None:
    with pytest.raises(AttestationSignerUnknown):
        sign_checkpoint(STRANGER, VERIFIER, a_checkpoint(3), SET)
    with_stranger = replace(SET, members=tuple(sorted((*SET.members, STRANGER.address))))
    signature = sign_checkpoint(STRANGER, VERIFIER, a_checkpoint(3), with_stranger)
    with pytest.raises(AttestationSignerUnknown):
        recover_signer(VERIFIER, a_checkpoint(3), SET, signature)


def test_signer_that_uses_another_key_is_noticed() -> None:
    class Impostor:
        address = SIGNERS[0].address

        def sign_digest(self, digest: bytes) -> tuple[int, int, int]:
            return SIGNERS[1].sign_digest(digest)

    with pytest.raises(AttestationSignatureMalformed, match="another key"):
        sign_checkpoint(Impostor(), VERIFIER, a_checkpoint(3), SET)


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": Checkpoint(Lane(b"\x12" * 32), Direction.DISPATCHES, a_checkpoint(3).word)},
        {"checkpoint": Checkpoint(LANE, Direction.RECEIPTS, a_checkpoint(3).word)},
        {"checkpoint": a_checkpoint(4)},
        {"verifier": replace(VERIFIER, chain_id=ChainId(1))},
        {"verifier": replace(VERIFIER, address=Address(b"\x0b" * 20))},
        {"verifier": replace(VERIFIER, development=True)},
        {"attestation_set": ROTATED},
        {"attestation_set": replace(SET, threshold=1)},
        {"attestation_set": replace(SET, finality=1)},
    ],
)
def test_signature_counts_for_nothing_but_what_was_signed(change: dict[str, Any]) -> None:
    signature = sign_checkpoint(SIGNERS[0], VERIFIER, a_checkpoint(3), SET)
    values = {"verifier": VERIFIER, "checkpoint": a_checkpoint(3), "attestation_set": SET, "signature": signature}
    with pytest.raises(AttestationSignerUnknown):
        recover_signer(**(values | change))


@given(st.binary(max_size=80))
def test_garbage_is_never_a_member(garbage: bytes) -> None:
    with pytest.raises(AttestationError):
        recover_signer(VERIFIER, a_checkpoint(3), SET, garbage)


@given(st.integers(0, 511))
def test_flipped_bit_is_never_the_same_member(bit: int) -> None:
    signature = int.from_bytes(sign_checkpoint(SIGNERS[0], VERIFIER, a_checkpoint(3), SET)) ^ 1 << bit
    with pytest.raises(AttestationError):
        recover_signer(VERIFIER, a_checkpoint(3), SET, signature.to_bytes(64))


@pytest.mark.parametrize("count", [2, 3])
def test_every_large_enough_subset_gives_a_valid_proof(count: int) -> None:
    for signers in combinations(SIGNERS, count):
        signatures = {s.address: sign_checkpoint(s, VERIFIER, a_checkpoint(3), SET) for s in signers}
        proof = build_proof(a_checkpoint(3), SET, signatures)
        verify_proof(VERIFIER, a_checkpoint(3), SET, proof)
        for checkpoint, attestation_set in ((a_checkpoint(4), SET), (a_checkpoint(3), ROTATED)):
            with pytest.raises(AttestationError):
                verify_proof(VERIFIER, checkpoint, attestation_set, proof)


def test_one_signature_is_not_yet_a_proof() -> None:
    signature = sign_checkpoint(SIGNERS[0], VERIFIER, a_checkpoint(3), SET)
    with pytest.raises(NotReady):
        build_proof(a_checkpoint(3), SET, {SIGNERS[0].address: signature})


def test_empty_direction_has_no_proof() -> None:
    empty = Checkpoint(LANE, Direction.DISPATCHES, Word(5))
    signatures = {s.address: sign_checkpoint(s, VERIFIER, empty, SET) for s in SIGNERS}
    with pytest.raises(Invalid, match="empty"):
        build_proof(empty, SET, signatures)


def test_highest_word_with_enough_signatures_is_chosen() -> None:
    first, second, third = SIGNERS
    attestations = [
        an_attestation(first, a_checkpoint(3)),
        an_attestation(second, a_checkpoint(3)),
        an_attestation(first, a_checkpoint(5)),
        an_attestation(second, a_checkpoint(5)),
        an_attestation(third, a_checkpoint(9)),
        an_attestation(third, a_checkpoint(9)),
        an_attestation(first, a_checkpoint(9), ROTATED),
    ]
    chosen = choose_word(attestations, SET)
    assert chosen is not None
    assert chosen.checkpoint == a_checkpoint(5)
    verify_proof(VERIFIER, a_checkpoint(5), SET, chosen.proof)
    assert [word.checkpoint.nonce for word in choose_words(attestations, SET)] == [3, 5]
    assert choose_word(attestations[4:], SET) is None


def test_minority_that_signed_another_word_is_ignored() -> None:
    first, second, third = SIGNERS
    attestations = [
        an_attestation(third, a_checkpoint(3, accumulator=6)),
        an_attestation(first, a_checkpoint(3)),
        an_attestation(second, a_checkpoint(3)),
    ]
    chosen = choose_word(attestations, SET)
    assert chosen is not None
    assert chosen.checkpoint == a_checkpoint(3)


def test_quorum_that_contradicts_itself_is_evidence() -> None:
    attestations = [
        an_attestation(signer, a_checkpoint(3, accumulator)) for signer in SIGNERS[:2] for accumulator in (5, 6)
    ]
    with pytest.raises(Equivocation) as raised:
        choose_word(attestations, SET)
    assert set(raised.value.values["words"]) == {hex(a_checkpoint(3, each).word) for each in (5, 6)}
