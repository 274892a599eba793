"""`verify`: exactly the signed checkpoints, of the current set, by exactly the threshold's number of its members."""

from dataclasses import replace
from itertools import combinations, permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.core.attestation import SECP256K1_ORDER, encode_proof, pack_signature
from comity.core.checkpoint import Checkpoint
from comity.core.errors import Rejected
from comity.core.lane import pack_word
from comity.core.types import Direction
from tests.contracts.attestation.conftest import (
    CHECKPOINT,
    FINALITY,
    create_verifier,
    encode_verify,
    make_signers,
)
from tests.contracts.chain import DAY, refused
from tests.contracts.world import OUTSIDER

NOT_THE_SET = "attestation: not signed by the set"
MALFORMED = "attestation: malformed proof"


def pack_unchecked(r, s, parity):
    """A signature whose s is not looked at."""
    return r.to_bytes(32, "big") + (parity << 255 | s).to_bytes(32, "big")


async def test_verify_returns_the_digest_of_the_checkpoint(verifier):
    assert await verifier.verify(verifier.build([0, 2])) == CHECKPOINT.digest


async def test_verify_accepts_what_the_python_twin_encodes(verifier):
    signatures = {
        signer.address: pack_signature(*verifier.sign(signer)) for signer in (verifier.signers[0], verifier.signers[1])
    }
    assert encode_proof(verifier.set, signatures) == verifier.build([0, 1])
    await verifier.verify(encode_proof(verifier.set, signatures))


@pytest.mark.threat("B9")
@pytest.mark.parametrize("count", range(1, 7))
async def test_verify_accepts_every_quorum_and_no_smaller_one(world, count):
    """All thresholds and all subsets of sets of up to six: S7, sound and complete."""
    for threshold in range(1, count + 1):
        verifier = await create_verifier(world.destination, threshold, count)
        subsets = [subset for size in range(count + 1) for subset in combinations(range(count), size)]
        proofs = [verifier.build(subset) for subset in subsets]
        calls = [("eth_call", [{"to": verifier.address, "data": encode_verify(proof)}, "latest"]) for proof in proofs]
        answers = await world.destination.rpc.batch(calls, return_exceptions=True)
        for subset, answer in zip(subsets, answers, strict=True):
            accepted = not isinstance(answer, Rejected)
            assert accepted == (len(subset) == threshold), (threshold, subset)
            assert not accepted or bytes.fromhex(answer[2:]) == CHECKPOINT.digest


@pytest.mark.threat("B9")
async def test_verify_reaches_the_last_of_32_members(world):
    verifier = await create_verifier(world.destination, 31, 32)
    for absent in (0, 15, 31):
        signing = [index for index in range(32) if index != absent]
        assert await verifier.verify(verifier.build(signing)) == CHECKPOINT.digest


@pytest.mark.threat("B9")
async def test_verify_refuses_to_count_fewer_signatures_by_a_lower_threshold(verifier):
    """The threshold that the proof states is part of the set's id."""
    with refused(NOT_THE_SET):
        await verifier.verify(verifier.build([0]))
    with refused(NOT_THE_SET):
        await verifier.verify(verifier.build([0, 1, 2]))


@pytest.mark.threat("B4")
async def test_verify_refuses_a_proof_of_threshold_zero(verifier):
    """With and without the signatures that nobody counts."""
    with pytest.raises(Rejected):
        await verifier.verify(verifier.build([], threshold=0))
    with pytest.raises(Rejected):
        await verifier.verify(verifier.build([0, 1], threshold=0))


@pytest.mark.threat("B10")
async def test_verify_refuses_one_signature_twice(verifier):
    first, second = (pack_signature(*verifier.sign(verifier.signers[index])) for index in (0, 1))
    for signatures in ([first, first], [second, second], [first, first, first], [second, first]):
        with pytest.raises(Rejected, match="attestation:"):
            await verifier.verify(verifier.build([0, 1], signatures=signatures))


@pytest.mark.threat("B10")
async def test_verify_refuses_signatures_in_another_order(world):
    verifier = await create_verifier(world.destination, 3, 4)
    ordered = [pack_signature(*verifier.sign(verifier.signers[index])) for index in (0, 1, 3)]
    for signatures in permutations(ordered):
        if list(signatures) == ordered:
            await verifier.verify(verifier.build([0, 1, 3], signatures=signatures))
            continue
        with refused(NOT_THE_SET):
            await verifier.verify(verifier.build([0, 1, 3], signatures=signatures))


@pytest.mark.threat("B10")
async def test_verify_refuses_a_member_named_absent_who_also_signed(verifier):
    """Two seats for one key: one by its signature, one by its name."""
    members = verifier.set.members
    for absent in ([members[0]], [members[1]]):
        with refused(NOT_THE_SET):
            await verifier.verify(verifier.build([0, 1], absent=absent))


@pytest.mark.threat("B11")
async def test_verify_refuses_a_signature_with_the_other_parity(verifier):
    r, s, parity = verifier.sign(verifier.signers[0])
    second = pack_signature(*verifier.sign(verifier.signers[1]))
    with refused(NOT_THE_SET):
        await verifier.verify(verifier.build([0, 1], signatures=[pack_unchecked(r, s, 1 - parity), second]))


@pytest.mark.threat("B11")
async def test_verify_refuses_every_high_s_it_can_express(verifier):
    """(r, n - s) with the other parity is valid for ecrecover. The form has no room for nearly all of them, either."""
    half = SECP256K1_ORDER // 2
    second = pack_signature(*verifier.sign(verifier.signers[1]))
    for s in (half + 1, (1 << 255) - 1):
        with refused("attestation: high s"):
            await verifier.verify(verifier.build([0, 1], signatures=[pack_unchecked(5, s, 0), second]))
    with refused(NOT_THE_SET):
        await verifier.verify(verifier.build([0, 1], signatures=[pack_unchecked(5, half, 0), second]))


@pytest.mark.threat("B2")
async def test_verify_refuses_a_stranger_in_a_members_seat(verifier):
    [stranger] = make_signers(1, start=50)
    forged = pack_signature(*verifier.sign(stranger))
    genuine = pack_signature(*verifier.sign(verifier.signers[1]))
    with refused(NOT_THE_SET):
        await verifier.verify(verifier.build([0, 1], signatures=[forged, genuine]))


@pytest.mark.threat("B1")
@pytest.mark.threat("B2")
async def test_verify_refuses_a_set_that_the_caller_brings_along(world, verifier):
    """Strangers sign as a set of their own, of the current epoch, with its threshold: the id is not the stored one."""
    strangers = make_signers(3, start=20)
    members = tuple(signer.address for signer in strangers)
    own = replace(verifier, signers=strangers, set=replace(verifier.set, members=members))
    with refused(NOT_THE_SET):
        await verifier.verify(own.build([0, 1]))


@pytest.mark.threat("B3")
@pytest.mark.parametrize("signature", [bytes(64), b"\xff" * 32 + bytes(31) + b"\1", bytes(32) + bytes(31) + b"\1"])
async def test_verify_refuses_what_recovers_to_nobody(verifier, signature):
    """ecrecover answers zero; the zero address is no member."""
    second = pack_signature(*verifier.sign(verifier.signers[1]))
    with refused(NOT_THE_SET):
        await verifier.verify(verifier.build([0, 1], signatures=[signature, second]))


@pytest.mark.threat("A1")
@pytest.mark.threat("B4")
async def test_verify_refuses_an_epoch_without_a_set(verifier):
    for epoch in (0, 2, (1 << 32) - 1):
        with refused("attestation: unknown set"):
            await verifier.verify(verifier.build([0, 1], epoch=epoch))


async def test_verify_refuses_another_finality_rule(verifier):
    with refused(NOT_THE_SET):
        await verifier.verify(verifier.build([0, 1], finality=FINALITY - 1))


@pytest.mark.parametrize(
    "other",
    [
        replace(CHECKPOINT, lane=b"\1" * 32),
        replace(CHECKPOINT, direction=Direction.RECEIPTS),
        replace(CHECKPOINT, word=pack_word(8, 12345)),
        replace(CHECKPOINT, word=pack_word(7, 12346)),
    ],
    ids=["lane", "direction", "nonce", "accumulator"],
)
async def test_verify_refuses_another_checkpoint_than_was_signed(verifier, other: Checkpoint):
    with refused(NOT_THE_SET):
        await verifier.verify(verifier.build([0, 1]), other)


@pytest.mark.threat("B12")
async def test_verify_refuses_what_was_signed_for_another_verifier(world, verifier):
    """The same members, set and checkpoint: the domain names the contract."""
    twin = await create_verifier(world.destination, 2, 3)
    await twin.verify(twin.build([0, 1]))
    with refused(NOT_THE_SET):
        await twin.verify(verifier.build([0, 1]))


async def test_verify_keeps_signatures_for_development_apart(world):
    """The same key may sign for both kinds of deployment without harm."""
    real = await create_verifier(world.destination, 2, 3, development=False, delay=DAY)
    await real.verify(real.build([0, 1]))
    with refused(NOT_THE_SET):
        await real.verify(replace(real, development=True).build([0, 1]))


@pytest.mark.threat("A4")
async def test_verify_refuses_proofs_that_are_longer_or_shorter_than_they_say(verifier):
    proof = verifier.build([0, 1])
    for changed in (proof + b"\0", proof + bytes(64), proof[:14] + bytes(20) + proof[14:]):
        with refused(MALFORMED):
            await verifier.verify(changed)
    for cut in range(len(proof)):
        with pytest.raises(Rejected):
            await verifier.verify(proof[:cut])


@pytest.mark.threat("A4")
async def test_verify_refuses_a_bitmap_beyond_the_members(verifier):
    for bitmap in (0b1011, 0b11 | 1 << 31):
        with refused(MALFORMED):
            await verifier.verify(verifier.build([0, 1], bitmap=bitmap))
    with pytest.raises(Rejected):
        await verifier.verify(verifier.build([0, 1], count=33))


@pytest.mark.threat("A2")
async def test_verify_depends_on_every_bit_of_the_proof(world, verifier):
    proof = verifier.build([0, 2])
    changed = [
        proof[:at] + bytes([proof[at] ^ 1 << bit]) + proof[at + 1 :] for at in range(len(proof)) for bit in range(8)
    ]
    calls = [("eth_call", [{"to": verifier.address, "data": encode_verify(each)}, "latest"]) for each in changed]
    answers = await world.destination.rpc.batch(calls, return_exceptions=True)
    accepted = [at for at, answer in enumerate(answers) if not isinstance(answer, Rejected)]
    assert accepted == []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
async def test_verify_refuses_noise(verifier, noise):
    with pytest.raises(Rejected):
        await verifier.verify(noise)


async def test_verify_is_open_to_anyone(verifier):
    """It reads, and says the same to all."""
    answer = await verifier.chain.call(verifier.address, encode_verify(verifier.build([1, 2])), sender=OUTSIDER)
    assert answer == CHECKPOINT.digest
