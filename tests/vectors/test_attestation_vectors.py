"""Attestation vectors against the code, and against eth_abi, eth_account's EIP-712 and recovery."""

import pytest
from coincurve import PublicKey
from eth_abi import encode as abi_encode
from eth_account.messages import encode_typed_data
from vector_files import cases, hash_independently, load, unhex

from comity.core import attestation
from comity.core.attestation import AttestationSet, decode_proof, encode_proof, unpack_signature
from comity.core.checkpoint import Checkpoint
from comity.core.types import Direction

VECTORS = load("attestation")


def read_set(case):
    members = tuple(unhex(member) for member in case["members"])
    return AttestationSet(case["epoch"], case["threshold"], case["finality"], members)


SETS = [read_set(case) for case in VECTORS["sets"]]


def recover(digest, signature):
    r, s, parity = unpack_signature(signature)
    recoverable = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
    key = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    return hash_independently(key.format(compressed=False)[1:])[12:]


def recover_set(proof, digest):
    decoded = decode_proof(proof)
    return decoded.compute_set([recover(digest, signature) for signature in decoded.signatures])


@pytest.mark.parametrize("case", cases("attestation", "sets"))
def test_set_id_is_the_hash_of_the_abi_encoding(case):
    values = [case["epoch"], case["threshold"], case["finality"], [unhex(member) for member in case["members"]]]
    digest = hash_independently(abi_encode(["uint256", "uint256", "uint256", "address[]"], values))
    assert read_set(case).id == int.from_bytes(digest, "big") & (1 << 216) - 1 == int(case["id"], 16)


@pytest.mark.parametrize("case", cases("attestation", "digests"))
def test_digest_is_that_of_eip712(case):
    checkpoint = Checkpoint(unhex(case["lane"]), Direction(case["direction"]), int(case["word"], 16))
    signed, verifier = SETS[case["set"]], unhex(case["verifier"])
    typed = encode_typed_data(
        {
            "name": "Comity Attestation",
            "version": "1-development" if case["development"] else "1",
            "chainId": case["chain_id"],
            "verifyingContract": verifier,
        },
        {
            "Attestation": [
                {"name": "lane", "type": "bytes32"},
                {"name": "direction", "type": "uint8"},
                {"name": "word", "type": "uint256"},
                {"name": "set", "type": "uint256"},
            ]
        },
        {"lane": checkpoint.lane, "direction": case["direction"], "word": checkpoint.word, "set": signed.id},
    )
    digest = attestation.compute_digest(case["chain_id"], verifier, checkpoint, signed, development=case["development"])
    assert digest == hash_independently(b"\x19\x01" + typed.header + typed.body) == unhex(case["digest"])
    assert typed.header == unhex(case["domain"])


@pytest.mark.parametrize("case", cases("attestation", "digests"))
def test_checkpoint_digest_is_the_hash_of_the_abi_encoding(case):
    type_hash = hash_independently(b"Checkpoint(bytes32 lane,uint8 direction,uint256 word)")
    values = [type_hash, unhex(case["lane"]), case["direction"], int(case["word"], 16)]
    digest = hash_independently(abi_encode(["bytes32", "bytes32", "uint8", "uint256"], values))
    checkpoint = Checkpoint(unhex(case["lane"]), Direction(case["direction"]), int(case["word"], 16))
    assert checkpoint.digest == digest == unhex(case["checkpoint_digest"])


@pytest.mark.parametrize("case", cases("attestation", "proofs"))
def test_proof_recovers_exactly_the_set(case):
    digest = VECTORS["digests"][case["digest"]]
    proof, signed = unhex(case["proof"]), SETS[digest["set"]]
    assert recover_set(proof, unhex(digest["digest"])) == signed
    decoded = decode_proof(proof)
    signers = [signed.members[i] for i in case["signers"]]
    assert encode_proof(signed, dict(zip(signers, decoded.signatures, strict=True))) == proof


@pytest.mark.parametrize("case", cases("attestation", "unaccepted"))
def test_proof_of_other_signers_gives_another_set(case):
    digest = VECTORS["digests"][case["digest"]]
    try:
        recovered = recover_set(unhex(case["proof"]), unhex(digest["digest"]))
    except attestation.AttestationMembersNotAscending:
        return
    assert recovered.id != SETS[digest["set"]].id


@pytest.mark.parametrize("case", cases("attestation", "invalid"))
def test_invalid_proof_is_refused_for_its_reason(case):
    with pytest.raises(getattr(attestation, case["error"])) as raised:
        decode_proof(unhex(case["proof"]))
    assert raised.value.values
