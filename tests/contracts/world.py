"""Router and Gate with all that stands around them, on two chains, and a lane between them whose run a test can write.

A Gate cannot tell a run that a Router made from one that `Sent` makes: tests of the Gate alone send nothing.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode as abi_decode

from comity.chain.bindings import (
    DECIDED,
    DISPATCHED,
    Decided,
    decode_decided,
    encode_call,
    encode_deliver,
    encode_dispatch,
    encode_expire,
    encode_set_policy,
)
from comity.chain.codec import Log
from comity.chain.rpc import TransactionReceipt
from comity.chain.signer import LocalSigner
from comity.core.attestation import AttestationSet, compute_digest, encode_proof, pack_signature
from comity.core.checkpoint import Checkpoint
from comity.core.delivery import Delivery, encode_body
from comity.core.envelope import Envelope, compute_settlement, compute_terms
from comity.core.keccak import keccak
from comity.core.lane import compute_lane, compute_seed, extend
from comity.core.policy import Policy
from comity.core.types import Address, Address32, ChainId, Direction, Gas, Hash32, Lane, Seconds, to_address32
from comity.devnet import deploy
from tests.contracts.chain import DAY, GENESIS, Chain

ORIGIN = ChainId(900_001)
DESTINATION = ChainId(900_002)
DEADLINE = Seconds(GENESIS + 10 * DAY)
HOOK_GAS = Gas(400_000)

ATTESTATION, FIRST, SECOND, THIRD = range(4)
"""Indices of the verifiers on both Gates: the first is real, the others accept the proof `YES`."""

YES = b"yes"
POLICY = 1 << FIRST
"""What envelopes ask for unless a test says otherwise: the verifier FIRST."""

SENDER = Address(b"\x5e" * 20)
RELAYER = Address(b"\xee" * 20)
OUTSIDER = Address(b"\x0f" * 20)

SIGNERS = tuple(sorted((LocalSigner(keccak(b"attestor %d" % n)) for n in range(4)), key=lambda key: key.address))
ATTESTORS = AttestationSet(epoch=1, threshold=3, finality=64, members=tuple(key.address for key in SIGNERS))

ACCEPT, REVERT, BURN, WRONG_MAGIC, SILENT, SHORT, REPLY, REPLY_WRONG_MAGIC, CALL, REPLY_TWICE = range(10)
"""Modes of contracts_support/Receiver.vy."""

_CALLER = Address32(bytes(32))


def policy_of(required: Sequence[int] = (), threshold: int = 0, optional: Sequence[int] = ()) -> int:
    """A policy's word."""
    return Policy(frozenset(required), frozenset(optional), threshold).word


class Sent:
    """What a Router dispatched into a lane, as far as a Gate can tell, after `start` others that nobody delivers."""

    def __init__(self, lane: Lane, start: int = 0) -> None:
        self.lane = lane
        self.start = start
        self.envelopes: list[bytes] = []

    def add(self, receiver: Address, **fields: Any) -> Envelope:
        """Dispatch an envelope to the receiver; its failure is final unless the flags say otherwise."""
        terms: dict[str, Any] = {
            "lane": self.lane,
            "nonce": self.start + len(self.envelopes) + 1,
            "sender": to_address32(SENDER),
            "receiver": to_address32(receiver),
            "deliver_before": DEADLINE,
            "gas_limit": HOOK_GAS,
            "policy": POLICY,
            "return_policy": POLICY,
            "payload": b"comity",
        }
        envelope = Envelope(**(terms | fields))
        self.envelopes.append(envelope.encode())
        return envelope

    def add_encoded(self, encoding: bytes) -> None:
        """Dispatch any bytes, as only a Router that lies would."""
        self.envelopes.append(encoding)

    def before(self, nonce: int) -> int:
        """The accumulator before an envelope."""
        accumulator = compute_seed(self.lane, Direction.DISPATCHES)
        for envelope in self.envelopes[: nonce - self.start - 1]:
            accumulator = extend(accumulator, keccak(envelope))
        return accumulator

    def run(
        self,
        first: int | None = None,
        last: int | None = None,
        *,
        bare: Sequence[int] = (),
        up_to: int | None = None,
        proofs: Mapping[int, bytes] | None = None,
    ) -> Delivery:
        """The run from one nonce to another, of which some stand as bare entries, under the word at `up_to`."""
        begin = 0 if first is None else first - self.start - 1
        end = len(self.envelopes) if last is None else last - self.start
        stop = None if up_to is None else up_to - self.start
        entries = [
            keccak(envelope) if nonce in bare else envelope
            for nonce, envelope in enumerate(self.envelopes[begin:end], start=self.start + begin + 1)
        ]
        suffix = [Hash32(keccak(envelope)) for envelope in self.envelopes[end:stop]]
        accepted = {FIRST: YES} if proofs is None else dict(proofs)
        before = self.before(self.start + begin + 1)
        return Delivery(before, proofs=accepted, entries=tuple(entries), suffix=tuple(suffix))


@dataclass(frozen=True)
class World:
    """Two chains' contracts; the account of each chain owns its Authority, without delay."""

    origin: Chain
    destination: Chain
    source: deploy.Endpoint
    target: deploy.Endpoint
    lane: Lane
    attestation: Address
    """The destination's verifier of index ATTESTATION."""

    async def deploy_receiver(self, policy: int = POLICY, mode: int = ACCEPT) -> Address:
        """Create a receiver that takes calls under a policy; 0 for none."""
        receiver = await self.destination.create("Receiver", gate=self.target.gate)
        if policy:
            await self.destination.send(self.target.gate, encode_set_policy(self.lane, receiver, policy))
        if mode:
            await self.destination.act(receiver, "set_mode(uint256)", mode)
        return receiver

    async def deliver(
        self, delivery: Delivery, *, beneficiary: Address32 = _CALLER, sender: Address = RELAYER, gas: int = 30_000_000
    ) -> TransactionReceipt:
        """Deliver a run. Raises: Rejected."""
        return await self.deliver_body(
            delivery.before, encode_body(delivery), beneficiary=beneficiary, sender=sender, gas=gas
        )

    async def deliver_body(
        self,
        before: int,
        body: bytes,
        *,
        beneficiary: Address32 = _CALLER,
        sender: Address = RELAYER,
        gas: int = 30_000_000,
    ) -> TransactionReceipt:
        """Deliver a body as it is. Raises: Rejected."""
        calldata = encode_deliver(before, beneficiary, body)
        return await self.destination.send(self.target.gate, calldata, sender=sender, gas=gas)

    async def expire(self, encoding: bytes, *, beneficiary: Address32 = _CALLER) -> TransactionReceipt:
        """Expire an envelope. Raises: Rejected."""
        return await self.destination.send(self.target.gate, encode_expire(encoding, beneficiary), sender=RELAYER)

    async def mark(self, nonce: int, policy: int = POLICY) -> int:
        """What the Gate keeps of an envelope: 0 undecided, 1 executed, 2 failed."""
        return await self.destination.read(self.target.gate, "mark(bytes32,uint256,uint256)", self.lane, policy, nonce)

    async def word(self) -> int:
        """The word of the lane's receipts."""
        return await self.destination.read(self.target.gate, "words(bytes32)", self.lane)

    async def count(self, receiver: Address) -> int:
        """How many hooks of a Receiver took effect."""
        return await self.destination.read(receiver, "count()")

    def encode_dispatch(self, receiver: Address, **fields: Any) -> bytes:
        """Calldata of a dispatch of the envelope that `Sent` would add."""
        envelope = Sent(self.lane).add(receiver, **fields)
        return encode_dispatch(
            lane=self.lane,
            receiver=envelope.receiver,
            policy=envelope.policy,
            return_policy=envelope.return_policy,
            refund_to=Address(envelope.refund_to[12:]),
            terms=compute_terms(envelope),
            settlement=compute_settlement(envelope),
            tail=envelope.payload,
        )


def decided(receipt: TransactionReceipt) -> list[Decided]:
    """The outcomes that a transaction recorded, in order."""
    return decode_all(receipt.logs)


def decode_all(logs: Iterable[Log]) -> list[Decided]:
    """The outcomes among some logs, in order."""
    return [decode_decided(log) for log in logs if log.topics[0] == DECIDED]


def dispatched(receipt: TransactionReceipt) -> bytes:
    """The one envelope that a transaction dispatched."""
    [log] = [log for log in receipt.logs if log.topics[0] == DISPATCHED]
    return log.data


def attest(
    checkpoint: Checkpoint,
    verifier: Address,
    signers: Sequence[LocalSigner] = SIGNERS[:3],
    attestors: AttestationSet = ATTESTORS,
    chain: ChainId = DESTINATION,
) -> bytes:
    """The proof that these signers give of a checkpoint."""
    digest = compute_digest(chain, verifier, checkpoint, attestors, development=True)
    return encode_proof(attestors, {signer.address: sign(signer, digest) for signer in signers})


def sign(signer: LocalSigner, digest: bytes) -> bytes:
    """A 64-byte signature."""
    r, s, v = signer.sign_digest(digest)
    return pack_signature(r, s, v - 27)


async def read_bytes(chain: Chain, to: Address, signature: str) -> bytes:
    """The answer of a view that returns bytes."""
    [answer] = abi_decode(["bytes"], await chain.call(to, encode_call(signature)))
    return answer


@asynccontextmanager
async def build_world() -> AsyncIterator[World]:
    """Start both chains and deploy everything on both, with development verifiers of the same indices."""
    async with Chain.start(ORIGIN) as origin, Chain.start(DESTINATION) as destination:
        source = await _deploy(origin)
        target = await _deploy(destination)
        await deploy.open_lane(origin, destination, source, target)
        lane = compute_lane(ORIGIN, to_address32(source.router), DESTINATION, to_address32(target.gate))
        await _deploy_verifiers(origin, source)
        attestation = await _deploy_verifiers(destination, target)
        yield World(origin, destination, source, target, lane, attestation)


def terms_of(chain: Chain) -> deploy.Terms:
    """How the world's contracts are owned."""
    return deploy.Terms(owner=chain.account, delay=Seconds(0), development=True)


async def _deploy(chain: Chain) -> deploy.Endpoint:
    return await deploy.deploy_endpoint(chain, chain.chain, terms_of(chain))


async def _deploy_verifiers(chain: Chain, endpoint: deploy.Endpoint) -> Address:
    attestation = await deploy.deploy_attestation(chain, endpoint.authority, terms_of(chain), ATTESTORS)
    for _ in (FIRST, SECOND, THIRD):
        verdict = await chain.create("Verdict", development=True)
        await chain.act(endpoint.authority, "register(address)", verdict)
    return attestation
