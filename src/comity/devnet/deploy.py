"""Deployment of Router, Gate and verifiers, and of the lanes between them.

Router and Gate name each other immutably, so the second address is computed from the deployer's next nonce before the
first contract exists. Trusts the provider it deploys through for nothing but mining: every step reads back what it
wrote. Spec: spec/lane.md, spec/verification.md.
"""

from dataclasses import dataclass
from typing import Protocol

from eth_abi.abi import encode

from comity.chain.bindings import encode_call
from comity.chain.rpc import TransactionReceipt
from comity.chain.transaction import compute_created_address
from comity.compiler import Artifact, load_artifact
from comity.core.attestation import AttestationSet
from comity.core.errors import Invalid
from comity.core.types import Address, ChainId, Lane, Seconds, to_address32

PAIR_CONTRACTS = ("Router", "Gate")


class Sender(Protocol):
    """One account on one chain that sends a transaction at a time."""

    @property
    def account(self) -> Address: ...

    async def fetch_nonce(self) -> int: ...

    async def send(self, to: Address | None, data: bytes, *, value: int = 0) -> TransactionReceipt: ...

    async def call(self, to: Address, data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A chain's Router and Gate."""

    chain: ChainId
    router: Address
    gate: Address


@dataclass(frozen=True, slots=True)
class Terms:
    """What the constructors fix for ever."""

    owner: Address
    delay: Seconds
    """Between an owner's announcement and its act; 0 on development deployments only."""
    development: bool


def build_creation(artifact: Artifact, *arguments: object) -> bytes:
    """Return the creation code of a contract with its constructor's arguments appended."""
    constructors = [entry for entry in artifact.abi if entry["type"] == "constructor"]
    kinds = [parameter["type"] for parameter in constructors[0]["inputs"]] if constructors else []
    return artifact.bytecode + bytes(encode(kinds, arguments))


async def create(sender: Sender, artifact: Artifact, *arguments: object) -> Address:
    """Create one contract. Raises: Rejected."""
    receipt = await sender.send(None, build_creation(artifact, *arguments))
    if receipt.contract_address is None:
        raise Invalid("the provider gave no address for a creation", transaction=receipt.transaction_hash)
    return receipt.contract_address


async def deploy_endpoint(sender: Sender, chain: ChainId, terms: Terms) -> Endpoint:
    """Create a Gate and a Router that name each other. Raises: Rejected, Invalid."""
    nonce = await sender.fetch_nonce()
    router_address = compute_created_address(sender.account, nonce + 1)
    gate = await create(sender, load_artifact("Gate"), terms.owner, router_address, terms.delay, terms.development)
    router = await create(sender, load_artifact("Router"), terms.owner, gate, terms.delay)
    if router != router_address:
        raise Invalid("another transaction of this account came between", expected=router_address, created=router)
    return Endpoint(chain, router, gate)


async def open_lane(origin: Sender, destination: Sender, source: Endpoint, target: Endpoint) -> None:
    """Open the lane from one Router to another chain's Gate, on both of its ends."""
    gate, router = to_address32(target.gate), to_address32(source.router)
    await destination.send(target.gate, encode_call("open_lane(uint256,bytes32)", source.chain, router))
    await origin.send(source.router, encode_call("open_lane(uint256,bytes32)", target.chain, gate))


async def deploy_attestation(sender: Sender, gate: Address, terms: Terms, attestation_set: AttestationSet) -> Address:
    """Create an Attestation verifier with its first set and register it at the Gate."""
    artifact = load_artifact("Attestation")
    members, threshold, finality = attestation_set.members, attestation_set.threshold, attestation_set.finality
    verifier = await create(sender, artifact, terms.owner, terms.delay, terms.development, members, threshold, finality)
    await sender.send(gate, encode_call("register(address)", verifier))
    return verifier


async def set_receiver_policy(sender: Sender, gate: Address, lane: Lane, receiver: Address, policy: int) -> None:
    """Set a receiver's policy as its owner."""
    await sender.send(gate, encode_call("set_policy(bytes32,address,uint256)", lane, receiver, policy))
