"""Deployment of Authority, Gate and Router, of verifiers, and of the lanes between Gates and Routers.

The three name each other immutably, so their addresses are computed from the deployer's nonces before the first exists.
Trusts the provider it deploys through for nothing but mining: the addresses are compared with those computed.
Spec: spec/lane.md, spec/verification.md.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from eth_abi.abi import encode

from comity.chain.bindings import encode_call
from comity.chain.rpc import TransactionReceipt
from comity.chain.transaction import compute_created_address
from comity.compiler import Artifact, load_artifact
from comity.core.attestation import AttestationSet
from comity.core.errors import Invalid
from comity.core.types import Address, ChainId, Seconds, to_address32

ENDPOINT_CONTRACTS: Final = ("Authority", "Gate", "Router")
"""In the order of their creation."""


class Sender(Protocol):
    """One account on one chain that sends a transaction at a time."""

    @property
    def account(self) -> Address: ...

    async def fetch_nonce(self) -> int: ...

    async def send(self, to: Address | None, data: bytes, *, value: int = 0) -> TransactionReceipt: ...

    async def call(self, to: Address, data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A chain's contracts."""

    chain: ChainId
    router: Address
    gate: Address
    authority: Address


@dataclass(frozen=True, slots=True)
class Terms:
    """What the constructors fix for ever."""

    owner: Address
    delay: Seconds
    """Between an owner's announcement and its act; 0 on development deployments only."""
    development: bool


def build_creation(artifact: Artifact, **arguments: object) -> bytes:
    """Return the creation code of a contract with its constructor's arguments, taken by name, appended."""
    [constructor] = [entry for entry in artifact.abi if entry["type"] == "constructor"] or [{"inputs": []}]
    kinds = [parameter["type"] for parameter in constructor["inputs"]]
    values = [arguments[parameter["name"]] for parameter in constructor["inputs"]]
    return artifact.bytecode + encode(kinds, values)


async def create(sender: Sender, artifact: Artifact, **arguments: object) -> Address:
    """Create one contract; arguments that its constructor does not name are left out. Raises: Rejected."""
    receipt = await sender.send(None, build_creation(artifact, **arguments))
    if receipt.contract_address is None:
        raise Invalid("the provider gave no address for a creation", transaction=receipt.transaction_hash)
    return receipt.contract_address


async def deploy_endpoint(sender: Sender, chain: ChainId, terms: Terms) -> Endpoint:
    """Create a chain's three contracts. Raises: Rejected, Invalid."""
    nonce = await sender.fetch_nonce()
    addresses = {
        name.lower(): compute_created_address(sender.account, nonce + index)
        for index, name in enumerate(ENDPOINT_CONTRACTS)
    }
    arguments = {"owner": terms.owner, "delay": terms.delay, "development": terms.development, **addresses}
    for name in ENDPOINT_CONTRACTS:
        created = await create(sender, load_artifact(name), **arguments)
        if created != addresses[name.lower()]:
            raise Invalid("another transaction of this account came between", contract=name, created=created)
    return Endpoint(chain, addresses["router"], addresses["gate"], addresses["authority"])


async def open_lane(origin: Sender, destination: Sender, source: Endpoint, target: Endpoint) -> None:
    """Open the lane from one Router to another chain's Gate, on both of its ends."""
    incoming = encode_call("open_incoming(uint256,bytes32)", source.chain, to_address32(source.router))
    outgoing = encode_call("open_outgoing(uint256,bytes32)", target.chain, to_address32(target.gate))
    await destination.send(target.authority, incoming)
    await origin.send(source.authority, outgoing)


async def deploy_attestation(
    sender: Sender, authority: Address, terms: Terms, attestation_set: AttestationSet
) -> Address:
    """Create an Attestation verifier, and register it at once, as development owners may."""
    verifier = await create_attestation(sender, terms, attestation_set)
    await sender.send(authority, encode_call("register(address)", verifier))
    return verifier


async def create_attestation(sender: Sender, terms: Terms, attestation_set: AttestationSet) -> Address:
    """Create an Attestation verifier with its first set."""
    return await create(
        sender,
        load_artifact("Attestation"),
        owner=terms.owner,
        delay=terms.delay,
        development=terms.development,
        members=list(attestation_set.members),
        threshold=attestation_set.threshold,
        finality=attestation_set.finality,
    )
