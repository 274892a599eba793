"""Attestations: the real verifier, at the vectors' own address and chain, against `comity.core.attestation`."""

from contextlib import asynccontextmanager

import pytest

from comity.chain.bindings import encode_call
from comity.compiler import load_artifact
from comity.core.attestation import AttestationSet, compute_domain
from comity.core.errors import Rejected
from comity.core.keccak import keccak
from comity.core.types import Address
from comity.devnet.deploy import build_creation
from tests.contracts.chain import DAY, GENESIS
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
    """The verifier that the digest is for, with every set of the vectors; gone afterwards."""
    sets = [read_set(case) for case in vectors["attestation"]["sets"]]
    async with chain.rolled_back():
        address = Address(unhex(digest["verifier"]))
        await deploy_at(chain, address, sets, digest["development"])
        yield address


async def verify(chain, address, digest, proof):
    """What the verifier answers about the digest's checkpoint, or None when it refuses."""
    word = int(digest["word"], 16)
    try:
        return await chain.call(
            address, encode_call(VERIFY, unhex(digest["lane"]), digest["direction"], word, unhex(proof))
        )
    except Rejected:
        return None


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
        for proof in accepted:
            assert await verify(chain, address, digest, proof) == unhex(digest["checkpoint_digest"])
        refused = lists["unaccepted"] + lists["invalid"]
        refused += [case for case in lists["proofs"] if not is_alike(lists["digests"][case["digest"]], digest)]
        for case in refused:
            assert await verify(chain, address, digest, case["proof"]) is None, case["name"]


async def test_a_vectors_proof_is_refused_with_any_other_byte(chain, vectors):
    lists = vectors["attestation"]
    digest = lists["digests"][1]
    [proof] = [unhex(case["proof"]) for case in lists["proofs"] if case["digest"] == 1]
    changed = [
        proof[:at] + bytes([proof[at] ^ delta]) + proof[at + 1 :] for at in range(len(proof)) for delta in (0x01, 0x80)
    ]
    changed += [proof[:end] for end in range(len(proof))] + [proof + b"\0", proof + bytes(64), proof[:14] + proof]
    async with verifier_of(chain, vectors, digest) as address:
        calls = [
            encode_call(VERIFY, unhex(digest["lane"]), digest["direction"], int(digest["word"], 16), one)
            for one in [proof, *changed]
        ]
        batch = [("eth_call", [{"to": address, "data": data}, "latest"]) for data in calls]
        first, *others = await chain.rpc.batch(batch, return_exceptions=True)
        assert unhex(first) == unhex(digest["checkpoint_digest"])
        assert all(isinstance(other, Rejected) for other in others)


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
