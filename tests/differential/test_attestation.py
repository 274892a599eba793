"""Attestations: the real verifier, at the vectors' own address and chain, against `comity.core.attestation`."""

import struct
from contextlib import asynccontextmanager
from itertools import product

import pytest

from comity.chain.bindings import encode_call
from comity.chain.signer import LocalSigner
from comity.compiler import load_artifact
from comity.core.attestation import AttestationError, AttestationSet, compute_domain
from comity.core.checkpoint import Checkpoint
from comity.core.errors import Rejected
from comity.core.keccak import keccak
from comity.core.types import Address, Direction
from comity.devnet.deploy import build_creation
from comity.tiers.attestation import AttestationVerifier, verify_proof
from tests.contracts.chain import DAY, GENESIS, refused
from tests.contracts.world import sign
from tests.differential.harness import split
from tests.differential.samples import Samples, unhex

DELAY = DAY
ROTATE = "rotate(address[],uint256,uint256,uint256)"
VERIFY = "verify(bytes32,uint256,uint256,bytes)"
SET_ID = (1 << 216) - 1


def read_set(case):
    members = tuple(unhex(member) for member in case["members"])
    return AttestationSet(case["epoch"], case["threshold"], case["finality"], members)


async def deploy_at(chain, address, sets, development):
    """Create a verifier at any address: its creation code runs there as if it were the contract, and is then replaced.

    It adopts the sets one by one; a set of threshold one is another one where only development verifiers may have it.
    """
    delay = 0 if development else DELAY
    first, *others = sets
    creation = build_creation(
        load_artifact("Attestation"),
        owner=chain.account,
        delay=delay,
        development=development,
        members=first.members,
        threshold=first.threshold,
        finality=first.finality,
    )
    await chain.rpc.call("anvil_setCode", address, creation)
    runtime = await chain.call(address, b"")
    await chain.send(address, b"")
    await chain.rpc.call("anvil_setCode", address, runtime)
    for number, one in enumerate(others, start=1):
        adopted = one if development or one.threshold > 1 else first
        act = encode_call(ROTATE, adopted.members, adopted.threshold, adopted.finality, 7 * DAY)
        if delay:
            await chain.act(address, "announce(bytes32)", keccak(act))
            await chain.warp(GENESIS + number * DELAY)
        await chain.send(address, act)


@asynccontextmanager
async def verifier_of(chain, vectors, digest):
    """The verifier that the digest is for, with the sets of the vectors up to the digest's own; gone afterwards."""
    sets = [read_set(case) for case in vectors["attestation"]["sets"][: digest["set"] + 1]]
    async with chain.rolled_back():
        address = Address(unhex(digest["verifier"]))
        await deploy_at(chain, address, sets, digest["development"])
        yield address


def is_alike(digest, other):
    """Whether both are about one checkpoint before one verifier, to which several sets may answer."""
    return all(digest[name] == other[name] for name in ("checkpoint_digest", "domain"))


@pytest.mark.parametrize("number", range(4))
async def test_vectors_hold_for_the_contract(chain, vectors, number):
    lists = vectors["attestation"]
    digest = lists["digests"][number]
    assert digest["chain_id"] == chain.chain
    stored = lists["sets"][digest["set"]]
    async with verifier_of(chain, vectors, digest) as address:
        assert await chain.call(address, encode_call("domain()")) == unhex(digest["domain"])
        record = await chain.read(address, "sets(uint256)", stored["epoch"])
        assert record & SET_ID == int(stored["id"], 16) == read_set(stored).id

        accepted = [case["proof"] for case in lists["proofs"] if case["digest"] == number]
        assert accepted
        answers = await verify_all(chain, address, digest, [unhex(proof) for proof in accepted])
        assert answers == [unhex(digest["checkpoint_digest"])] * len(accepted)
        others = lists["unaccepted"] + lists["invalid"]
        others += [case for case in lists["proofs"] if not is_alike(lists["digests"][case["digest"]], digest)]
        answers = await verify_all(chain, address, digest, [unhex(case["proof"]) for case in others])
        assert [case["name"] for case, answer in zip(others, answers, strict=True) if answer is not None] == []


async def test_a_vectors_proof_is_refused_with_any_other_byte(chain, vectors):
    lists = vectors["attestation"]
    digest = lists["digests"][1]
    [proof] = [unhex(case["proof"]) for case in lists["proofs"] if case["digest"] == 1]
    changed = [
        proof[:at] + bytes([proof[at] ^ delta]) + proof[at + 1 :] for at in range(len(proof)) for delta in (0x01, 0x80)
    ]
    changed += [proof[:end] for end in range(len(proof))] + [proof + b"\0", proof + bytes(64), proof[:14] + proof]
    async with verifier_of(chain, vectors, digest) as address:
        first, *others = await verify_all(chain, address, digest, [proof, *changed])
        assert first == unhex(digest["checkpoint_digest"])
        assert others == [None] * len(changed)


def forge_proofs(attestors, signatures):
    """Headers, members and signatures that do not belong together, each also with bytes where nobody would look."""
    members = attestors.members
    for count, bitmap, threshold in product(range(6), range(1 << 5), range(6)):
        named = [member for index, member in enumerate(members[:count]) if bitmap >> index & 1]
        header = struct.pack(">IBIBI", attestors.epoch, threshold, attestors.finality, count, bitmap)
        absent = b"".join(member for member in members[:count] if member not in named)
        signed = b"".join(signatures[member] for member in named)
        missing = 64 * max(0, threshold - len(named))
        yield header + absent + signed
        yield header + absent + signed + bytes(missing or 64)
        yield header + absent + bytes(missing or 20) + signed
        yield header + bytes(20) + absent + signed


async def test_a_proof_of_any_make_up_is_accepted_exactly_when_python_accepts_it(chain, vectors):
    lists = vectors["attestation"]
    digest = lists["digests"][0]
    attestors = read_set(lists["sets"][digest["set"]])
    signers = {unhex(case["name"]): LocalSigner(unhex(case["key"])) for case in lists["keys"]}
    signatures = {member: sign(signers[member], unhex(digest["digest"])) for member in attestors.members}
    checkpoint = Checkpoint(unhex(digest["lane"]), Direction(digest["direction"]), int(digest["word"], 16))
    verifier = AttestationVerifier(chain.chain, unhex(digest["verifier"]), digest["development"])
    proofs = list(forge_proofs(attestors, signatures))
    expected = [is_accepted(verifier, checkpoint, attestors, proof) for proof in proofs]
    assert sum(expected) == 4
    async with verifier_of(chain, vectors, digest) as address:
        assert [answer is not None for answer in await verify_all(chain, address, digest, proofs)] == expected


def is_accepted(verifier, checkpoint, attestors, proof):
    try:
        verify_proof(verifier, checkpoint, attestors, proof)
    except AttestationError:
        return False
    return True


async def verify_all(chain, address, digest, proofs):
    """What the verifier answers about the digest's checkpoint, None where it refuses."""
    checkpoint = unhex(digest["lane"]), digest["direction"], int(digest["word"], 16)
    answers = []
    for batch in split(proofs, 500):
        calls = [
            ("eth_call", [{"to": address, "data": encode_call(VERIFY, *checkpoint, one)}, "latest"]) for one in batch
        ]
        answers += await chain.rpc.batch(calls, return_exceptions=True)
    assert all(isinstance(answer, str | Rejected) for answer in answers)
    return [None if isinstance(answer, Rejected) else unhex(answer) for answer in answers]


async def test_high_s_is_refused_for_what_it_is(chain, vectors):
    lists = vectors["attestation"]
    high = [case for case in lists["invalid"] if case["name"] in ("the lowest high s", "the highest s of 255 bits")]
    assert len(high) == 2
    digest = lists["digests"][1]
    checkpoint = unhex(digest["lane"]), digest["direction"], int(digest["word"], 16)
    async with verifier_of(chain, vectors, digest) as address:
        for case in high:
            with refused("attestation: high s"):
                await chain.call(address, encode_call(VERIFY, *checkpoint, unhex(case["proof"])))


async def test_sets_and_domains_are_the_same(chain):
    samples = Samples(12)
    for size, development in ((1, True), (2, False), (3, True), (9, False), (31, True), (32, False)):
        members = tuple(sorted(Address(samples.randbytes(20)) for _ in range(size)))
        adopted = AttestationSet(1, samples.between(min(size, 2), size), samples.between(1, (1 << 32) - 1), members)
        address = Address(samples.randbytes(20))
        async with chain.rolled_back():
            await deploy_at(chain, address, [adopted], development)
            assert await chain.read(address, "sets(uint256)", 1) & SET_ID == adopted.id
            domain = await chain.call(address, encode_call("domain()"))
            assert domain == compute_domain(chain.chain, address, development)
