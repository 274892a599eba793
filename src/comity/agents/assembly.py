"""Builds agents from the configuration: the only place where a row of comity.toml becomes something that runs.

Trusts the operator's file, which `comity.config` has checked.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from comity.agents.attestor import AttestedChain, Attestor, Duty
from comity.agents.relayer import RelayedChain, RelayedLane, Relayer, RelayOptions
from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import Rpc
from comity.chain.signer import TransactionSigner
from comity.config import ChainConfig, Config
from comity.core.errors import ConfigError
from comity.core.finality import FinalityRule
from comity.core.lane import compute_lane
from comity.core.types import Address, Direction, to_address32
from comity.store.port import LaneRecord, Store
from comity.telemetry import Metrics
from comity.tiers.attestation import AttestationVerifier, DigestSigner
from comity.tiers.attestation_client import AttestationClient

_LONGEST_POLL_SECONDS: Final = 2.0


def build_quorum(chain: ChainConfig) -> ProviderQuorum:
    """Connect to a chain's providers. Raises: ConfigError."""
    return ProviderQuorum([Rpc(url) for url in chain.rpc], chain.quorum)


def compute_poll_seconds(config: Config) -> float:
    """How often an agent looks at its chains: four times a block of the fastest one."""
    return min(_LONGEST_POLL_SECONDS, min(chain.block_seconds for chain in config.chains.values()) / 4)


def build_lane_record(origin: ChainConfig, destination: ChainConfig) -> LaneRecord:
    """Return a lane with its four parts."""
    router, gate = to_address32(origin.router_address), to_address32(destination.gate_address)
    return LaneRecord(compute_lane(origin.id, router, destination.id, gate), origin.id, router, destination.id, gate)


def build_attestor(
    config: Config,
    quorums: Mapping[str, ProviderQuorum],
    signer: DigestSigner,
    store: Store,
    metrics: Metrics,
    *,
    listen: tuple[str, int],
) -> Attestor:
    """Build the attestor of every configured lane for the set that the signer is a member of.

    `quorums` are by the chain's name, and stay the caller's to close. Raises: ConfigError.
    """
    set_name = find_set(config, signer.address)
    rule = config.sets[set_name].rule
    chains = [
        AttestedChain(chain.chain, chain.id, quorums[name], rule, max(1, chain.start_block))
        for name, chain in config.chains.items()
    ]
    return Attestor(
        chains,
        tuple(_build_duties(config, set_name)),
        signer,
        store,
        metrics,
        host=listen[0],
        port=listen[1],
        poll_seconds=compute_poll_seconds(config),
    )


def build_relayer(config: Config, signer: TransactionSigner, store: Store, metrics: Metrics) -> Relayer:
    """Build the relayer of every configured lane. Raises: ConfigError."""
    chains = [
        RelayedChain(
            chain.chain, chain.id, build_quorum(chain), FinalityRule.parse(chain.finality), max(1, chain.start_block)
        )
        for chain in config.chains.values()
    ]
    lanes = [
        RelayedLane(
            f"{origin}→{destination}",
            build_lane_record(config.chains[origin], config.chains[destination]),
            _build_sources(config, config.chains[destination]),
        )
        for origin, destination in config.list_lanes()
    ]
    options = RelayOptions(expire=config.relay.expire, poll_seconds=compute_poll_seconds(config))
    return Relayer(chains, lanes, signer, store, options=options, metrics=metrics)


def find_set(config: Config, member: Address) -> str:
    """Return the name of the set that an address is a member of. Raises: ConfigError."""
    for name, attestation_set in config.sets.items():
        if member in attestation_set.addresses:
            return name
    raise ConfigError("the key is no member of any configured set", next_step="add it under [sets]", member=member)


def _build_sources(config: Config, destination: ChainConfig) -> dict[int, AttestationClient]:
    """A client for each of the destination's verifiers whose attestors are known."""
    sources = {}
    for index, (verifier, address) in enumerate(
        zip(destination.verifiers, destination.verifier_addresses, strict=True)
    ):
        attestation_set = config.sets[verifier.set]
        if attestation_set.attestors:
            checked = AttestationVerifier(destination.id, address, config.development)
            sources[index] = AttestationClient(attestation_set.attestors, checked, [attestation_set.attestation_set])
    return sources


def _build_duties(config: Config, name: str) -> Iterator[Duty]:
    """Dispatches are checked at the destination, receipts at the origin."""
    for origin_name, destination_name in config.list_lanes():
        origin, destination = config.chains[origin_name], config.chains[destination_name]
        lane = build_lane_record(origin, destination)
        for direction, checker in ((Direction.DISPATCHES, destination), (Direction.RECEIPTS, origin)):
            for verifier, address in zip(checker.verifiers, checker.verifier_addresses, strict=True):
                if verifier.set == name:
                    yield Duty(
                        f"{origin_name}→{destination_name}",
                        lane,
                        direction,
                        AttestationVerifier(checker.id, address, config.development),
                        config.sets[name].attestation_set,
                    )
