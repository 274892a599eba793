"""Exact gas of the hot paths: real Router, Gate, verifier and receiver on two Anvil chains, no agents.

Every figure is the gas of a whole transaction (for runs: divided by the messages), from the third message of a lane on,
so that every slot it writes has been written before. Keys, payloads, nonces and timestamps are fixed: the figures are
the same on every machine, and are compared exactly with a committed snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from comity.bench.local_chain import LocalChain
from comity.chain.bindings import (
    DECIDED,
    DISPATCHED,
    decode_decided,
    decode_dispatched,
    encode_call,
    encode_deliver,
    encode_dispatch,
    encode_set_policy,
)
from comity.chain.signer import LocalSigner
from comity.compiler import load_artifact_of, load_artifacts
from comity.core.attestation import AttestationSet, compute_digest, encode_proof, pack_signature
from comity.core.checkpoint import Checkpoint
from comity.core.delivery import Delivery, encode_body
from comity.core.envelope import Envelope, Flags, compute_settlement, compute_terms, decode
from comity.core.errors import Invalid
from comity.core.finality import FINALIZED
from comity.core.keccak import keccak
from comity.core.lane import compute_lane, compute_seed, unpack_word
from comity.core.policy import Policy
from comity.core.types import (
    Accumulator,
    Address,
    Address32,
    ChainId,
    Direction,
    Gas,
    Lane,
    Outcome,
    Seconds,
    Wei,
    to_address32,
)
from comity.devnet import deploy

ORIGIN: Final = ChainId(900_001)
DESTINATION: Final = ChainId(900_002)
GENESIS: Final = 1_800_000_000
"""Timestamp of both chains' first block, seconds."""

DEADLINE: Final = Seconds(GENESIS + 20 * 86_400)
WARM_UP: Final = 2
"""Messages that went before the measured ones, under the same policy to the same receiver."""

GAS_LIMIT: Final = Gas(60_000)
FEE: Final = Wei(10**14)
RUNS: Final = (8, 32, 100)
QUORUMS: Final = {"3of4": (3, 4), "13of19": (13, 19)}
SNAPSHOT: Final = Path("tests/gas/snapshot.json")

_ANY: Final = Address32(bytes(32))
_RECORDER: Final = Path(__file__).with_name("Recorder.vy")


@dataclass(frozen=True, slots=True)
class Quorum:
    """A registered attestation set whose keys are at hand, and a receiver that asks for it."""

    index: int
    verifier: Address
    set: AttestationSet
    signers: tuple[LocalSigner, ...]
    """In the order of the members."""
    receiver: Address

    @property
    def policy(self) -> int:
        """The word of the policy that asks for this verifier alone."""
        return _compute_policy(self.index)


@dataclass(frozen=True, slots=True)
class Bench:
    """The deployments; each measurement starts from this state."""

    origin: LocalChain
    destination: LocalChain
    router: Address
    gate: Address
    lane: Lane
    quorums: dict[str, Quorum]


async def measure() -> dict[str, int]:
    """Return the gas of each named path."""
    load_artifacts(["Authority", "Router", "Gate", "Attestation"])
    async with LocalChain.start(ORIGIN, GENESIS) as origin, LocalChain.start(DESTINATION, GENESIS) as destination:
        bench = await build_bench(origin, destination)
        figures = {f"dispatch_{size}": await _measure_dispatch(bench, size) for size in (32, 256)}
        for name in QUORUMS:
            figures[f"deliver_1_{name}"] = await _measure_deliver(bench, name, 1)
        for count in RUNS:
            figures[f"deliver_run{count}_3of4"] = await _measure_deliver(bench, "3of4", count)
        return figures


def load_snapshot(path: Path = SNAPSHOT) -> dict[str, int]:
    """Return the committed figures."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, int])


def save_snapshot(figures: dict[str, int], path: Path = SNAPSHOT) -> None:
    """Write the figures that `check` compares with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")


def check(figures: dict[str, int], path: Path = SNAPSHOT) -> None:
    """Raise `Invalid` unless the figures equal the snapshot exactly."""
    expected = load_snapshot(path)
    moved = {
        name: f"{expected.get(name)} -> {figures.get(name)}"
        for name in sorted(expected.keys() | figures.keys())
        if expected.get(name) != figures.get(name)
    }
    if moved:
        raise Invalid("gas has moved", next_step="comity bench gas --update", **moved)


async def build_bench(origin: LocalChain, destination: LocalChain) -> Bench:
    """Deploy both ends, the lane, and for each quorum a verifier and a receiver."""
    source = await _deploy_endpoint(origin)
    target = await _deploy_endpoint(destination)
    await deploy.open_lane(origin, destination, source, target)
    lane = compute_lane(ORIGIN, to_address32(source.router), DESTINATION, to_address32(target.gate))
    quorums = {
        name: await _deploy_quorum(destination, target, lane, index, size)
        for index, (name, size) in enumerate(QUORUMS.items())
    }
    # The Router accepts only return policies that its own Gate could check.
    for quorum in quorums.values():
        await deploy.deploy_attestation(origin, source.authority, _compute_terms_of(origin), quorum.set)
    return Bench(origin, destination, source.router, target.gate, lane, quorums)


def _compute_terms_of(chain: LocalChain) -> deploy.Terms:
    return deploy.Terms(owner=chain.account, delay=Seconds(0), development=True)


async def _deploy_endpoint(chain: LocalChain) -> deploy.Endpoint:
    return await deploy.deploy_endpoint(chain, chain.chain, _compute_terms_of(chain))


async def _deploy_quorum(
    chain: LocalChain, target: deploy.Endpoint, lane: Lane, index: int, size: tuple[int, int]
) -> Quorum:
    threshold, count = size
    secrets = (keccak(b"comity gas attestor %d" % number) for number in range(count))
    signers = tuple(sorted((LocalSigner(secret) for secret in secrets), key=lambda signer: signer.address))
    members = tuple(signer.address for signer in signers)
    attestation_set = AttestationSet(epoch=1, threshold=threshold, finality=FINALIZED.code, members=members)
    verifier = await deploy.deploy_attestation(chain, target.authority, _compute_terms_of(chain), attestation_set)
    receiver = await deploy.create(chain, load_artifact_of(_RECORDER), gate=target.gate)
    await chain.send(target.gate, encode_set_policy(lane, receiver, _compute_policy(index)))
    return Quorum(index, verifier, attestation_set, signers, receiver)


async def _measure_dispatch(bench: Bench, size: int) -> int:
    async with bench.origin.rolled_back():
        for _ in range(WARM_UP):
            await _dispatch(bench, "3of4", size)
        _, gas = await _dispatch(bench, "3of4", size)
    return gas


async def _measure_deliver(bench: Bench, name: str, count: int) -> int:
    """Return the gas per message of delivering `count` in one run, after the warm-up's single messages."""
    async with bench.origin.rolled_back(), bench.destination.rolled_back():
        envelopes = [(await _dispatch(bench, name, 32))[0] for _ in range(WARM_UP + count)]
        before = compute_seed(bench.lane, Direction.DISPATCHES)
        for envelope in islice(envelopes, WARM_UP):
            before, _ = await _deliver(bench, name, before, [envelope])
        _, gas = await _deliver(bench, name, before, envelopes[WARM_UP:])
    return round(gas / count)


async def _dispatch(bench: Bench, name: str, size: int) -> tuple[bytes, int]:
    """Dispatch one message; return the envelope and the transaction's gas."""
    quorum = bench.quorums[name]
    sender = to_address32(bench.origin.account)
    envelope = Envelope(
        lane=bench.lane,
        nonce=1,
        flags=Flags.RETRYABLE,
        sender=sender,
        receiver=to_address32(quorum.receiver),
        deliver_before=DEADLINE,
        gas_limit=GAS_LIMIT,
        policy=quorum.policy,
        return_policy=quorum.policy,
        fee=FEE,
        payload=compute_payload(size),
    )
    data = encode_dispatch(
        lane=bench.lane,
        receiver=envelope.receiver,
        policy=envelope.policy,
        return_policy=envelope.return_policy,
        refund_to=Address(bytes(20)),
        terms=compute_terms(envelope),
        settlement=compute_settlement(envelope),
        tail=envelope.payload,
    )
    receipt = await bench.origin.send(bench.router, data, value=FEE)
    log = next(log for log in receipt.logs if log.topics[0] == DISPATCHED)
    return decode_dispatched(log).envelope, receipt.gas_used


async def _deliver(bench: Bench, name: str, before: Accumulator, run: Sequence[bytes]) -> tuple[Accumulator, int]:
    """Deliver a run under one proof; return the accumulator after it and the transaction's gas."""
    quorum = bench.quorums[name]
    bare = Delivery(before, entries=tuple(run))
    proof = _prove(quorum, Checkpoint(bench.lane, Direction.DISPATCHES, bare.word))
    delivery = Delivery(before, proofs={quorum.index: proof}, entries=tuple(run))
    data = encode_deliver(before, _ANY, encode_body(delivery))
    receipt = await bench.destination.send(bench.gate, data)
    decided = [decode_decided(log) for log in receipt.logs if log.topics[0] == DECIDED]
    executed = [decision for decision in decided if decision.outcome is Outcome.EXECUTED]
    if len(executed) != len(run):
        raise Invalid("a delivery of the benchmark did not execute", executed=len(executed), expected=len(run))
    kept = await bench.destination.call(quorum.receiver, encode_call("last()"))
    if kept != decode(run[-1]).payload[:32]:
        raise Invalid("the receiver did not keep the word", kept=kept)
    return unpack_word(bare.word)[1], receipt.gas_used


def compute_payload(size: int) -> bytes:
    """Return bytes that look random, none of them zero: zero bytes are cheaper calldata."""
    blocks = (keccak(b"comity gas payload %d" % number) for number in range(-(-size // 32)))
    return bytes(byte or 1 for block in blocks for byte in block)[:size]


def _prove(quorum: Quorum, checkpoint: Checkpoint) -> bytes:
    digest = compute_digest(DESTINATION, quorum.verifier, checkpoint, quorum.set, development=True)
    signatures = {}
    for signer in quorum.signers[: quorum.set.threshold]:
        r, s, v = signer.sign_digest(digest)
        signatures[signer.address] = pack_signature(r, s, v - 27)
    return encode_proof(quorum.set, signatures)


def _compute_policy(index: int) -> int:
    return Policy(required=frozenset({index})).word
