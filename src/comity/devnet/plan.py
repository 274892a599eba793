"""`comity deploy`: compares the configuration with the chains, and does what is missing, as often as it is run.

An owner's act is announced first, and performed once its delay is over. Addresses are written into comity.toml, beside
what people wrote there. Trusts a quorum of each chain's providers. Spec: spec/lane.md, spec/verification.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from comity.chain.bindings import LANE_FROM, LANE_TO, decode_uint, encode_call, encode_verifiers
from comity.chain.signer import LocalSigner
from comity.config import LoadedConfig, parse_address
from comity.core.errors import ConfigError
from comity.core.keccak import keccak
from comity.core.types import Address, Seconds, to_address32
from comity.devnet import deploy
from comity.sdk.client import Chain, Client
from comity.sdk.wallet import Wallet

_ADDRESS_MASK: Final = (1 << 160) - 1


class State(StrEnum):
    """How far a step is."""

    DONE = "done"
    MISSING = "missing"
    ANNOUNCED = "announced"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the configuration asks for."""

    chain: str
    what: str
    state: State
    due: Seconds | None = None
    """When an announced act may be performed, on the chain's clock."""


class Deployment:
    """The configured chains, seen by their owner; without the owner's key, `plan` is all it can do."""

    def __init__(self, loaded: LoadedConfig, client: Client, signer: LocalSigner | None = None) -> None:
        self.loaded = loaded
        self.client = client
        self._signer = signer
        self._written: dict[str, dict[str, str]] = {}

    async def plan(self) -> list[Step]:
        """What there is, and what is missing. Raises: Unavailable."""
        steps: list[Step] = []
        for name, chain in self.client.chains.items():
            steps += await self._plan_chain(name, chain)
        for origin, destination in self.client.config.list_lanes():
            steps += await self._plan_lane(self.client.chains[origin], self.client.chains[destination])
        return steps

    async def apply(self) -> None:
        """Do the next thing that each missing step needs; call again after the delay. Raises: Rejected, Unavailable."""
        for name, chain in self.client.chains.items():
            if not chain.config.is_deployed:
                await self._create_endpoint(name, chain)
        await self._reload()
        for name, chain in self.client.chains.items():
            await self._apply_verifiers(name, chain)
        await self._reload()
        for origin, destination in self.client.config.list_lanes():
            await self._apply_lane(self.client.chains[origin], self.client.chains[destination])

    async def _plan_chain(self, name: str, chain: Chain) -> list[Step]:
        config = chain.config
        steps = [Step(config.chain, "create Authority, Gate and Router", await self._find_endpoint_state(chain))]
        if steps[0].state is State.BLOCKED:
            return steps
        for index, verifier in enumerate(config.verifiers):
            what = f"verifier {index}: Attestation of the set {verifier.set}"
            if not verifier.address or not config.is_deployed:
                steps.append(Step(config.chain, what, State.MISSING))
                continue
            address = parse_address(verifier.address, f"verifier {index}")
            steps.append(await self._plan_register(chain, what, address, index))
        return steps

    async def _find_endpoint_state(self, chain: Chain) -> State:
        """Blocked: the configuration names addresses where nothing stands, so that it is the one to correct."""
        config = chain.config
        if not config.is_deployed:
            return State.MISSING
        for address in (config.authority_address, config.gate_address, config.router_address):
            if await chain.quorum.agree("eth_getCode", address, "latest") == "0x":
                return State.BLOCKED
        return State.DONE

    async def _plan_register(self, chain: Chain, what: str, verifier: Address, index: int) -> Step:
        record = decode_uint(await chain.call(chain.config.gate_address, encode_verifiers(index)))
        if record & _ADDRESS_MASK:
            is_same = record & _ADDRESS_MASK == int.from_bytes(verifier, "big")
            return Step(chain.config.chain, what, State.DONE if is_same else State.BLOCKED)
        return await self._plan_owner_act(chain, what, _encode_register(verifier))

    async def _plan_owner_act(self, chain: Chain, what: str, act: bytes) -> Step:
        due = await self._fetch_due(chain, act)
        return Step(chain.config.chain, what, State.ANNOUNCED if due else State.MISSING, Seconds(due) or None)

    async def _plan_lane(self, origin: Chain, destination: Chain) -> list[Step]:
        what = f"lane {origin.name}→{destination.name}"
        steps = []
        if State.BLOCKED in [await self._find_endpoint_state(chain) for chain in (origin, destination)]:
            return [Step(destination.config.chain, what, State.BLOCKED)]
        for chain, act in self._list_lane_acts(origin, destination):
            end = "outgoing" if chain is origin else "incoming"
            if not (origin.config.is_deployed and destination.config.is_deployed):
                steps.append(Step(chain.config.chain, f"{what}, {end}", State.MISSING))
            elif await self._is_lane_open(chain, origin, destination):
                steps.append(Step(chain.config.chain, f"{what}, {end}", State.DONE))
            else:
                steps.append(await self._plan_owner_act(chain, f"{what}, {end}", act))
        return steps

    def _list_lane_acts(self, origin: Chain, destination: Chain) -> list[tuple[Chain, bytes]]:
        if not (origin.config.is_deployed and destination.config.is_deployed):
            return [(origin, b""), (destination, b"")]
        gate, router = destination.config.gate_address, origin.config.router_address
        outgoing = encode_call("open_outgoing(uint256,bytes32)", destination.config.id, to_address32(gate))
        incoming = encode_call("open_incoming(uint256,bytes32)", origin.config.id, to_address32(router))
        return [(destination, incoming), (origin, outgoing)]

    async def _is_lane_open(self, chain: Chain, origin: Chain, destination: Chain) -> bool:
        if chain is origin:
            call, to = LANE_TO + destination.config.id.to_bytes(32, "big"), origin.config.router_address
        else:
            call, to = LANE_FROM + origin.config.id.to_bytes(32, "big"), destination.config.gate_address
        return any(await chain.call(to, call))

    async def _create_endpoint(self, name: str, chain: Chain) -> None:
        start = (await chain.quorum.agreed_head()).number
        endpoint = await deploy.deploy_endpoint(self._get_wallet(chain), chain.config.id, self._terms)
        addresses = {key: "0x" + getattr(endpoint, key).hex() for key in ("authority", "gate", "router")}
        write_keys(self.loaded.path, f"[chains.{name}]", 0, {**addresses, "start_block": start})

    async def _apply_verifiers(self, name: str, chain: Chain) -> None:
        for index, verifier in enumerate(chain.config.verifiers):
            address = verifier.address
            if not address:
                attestation_set = self.client.config.sets[verifier.set].attestation_set
                created = await deploy.create_attestation(self._get_wallet(chain), self._terms, attestation_set)
                address = "0x" + created.hex()
                write_keys(self.loaded.path, f"[[chains.{name}.verifiers]]", index, {"address": address})
            record = decode_uint(await chain.call(chain.config.gate_address, encode_verifiers(index)))
            if not record:
                await self._perform(chain, _encode_register(Address(bytes.fromhex(address[2:]))))

    async def _apply_lane(self, origin: Chain, destination: Chain) -> None:
        for chain, act in self._list_lane_acts(origin, destination):
            if not await self._is_lane_open(chain, origin, destination):
                await self._perform(chain, act)

    async def _perform(self, chain: Chain, act: bytes) -> None:
        """Announce an owner's act, or perform it when its delay is over."""
        wallet, authority = self._get_wallet(chain), chain.config.authority_address
        if self._delay:
            due = await self._fetch_due(chain, act)
            if not due:
                await wallet.send(authority, encode_call("announce(bytes32)", keccak(act)))
                return
            if due > await chain.fetch_time():
                return
        await wallet.send(authority, act)

    async def _fetch_due(self, chain: Chain, act: bytes) -> int:
        if not self._delay:
            return 0
        return decode_uint(await chain.call(chain.config.authority_address, encode_call("due(bytes32)", keccak(act))))

    @property
    def _delay(self) -> Seconds:
        return Seconds(self.client.config.owner.delay)

    @property
    def _owner(self) -> LocalSigner:
        if self._signer is None:
            raise ConfigError("deploying needs the owner's key", next_step="set owner.key to the key's file")
        return self._signer

    @property
    def _terms(self) -> deploy.Terms:
        return deploy.Terms(self._owner.address, self._delay, self.client.config.development)

    def _get_wallet(self, chain: Chain) -> Wallet:
        return self.client.get_wallet(chain, self._owner)

    async def _reload(self) -> None:
        self.loaded = self.loaded.reload()
        await self.client.adopt(self.loaded.config)


def write_keys(path: Path, header: str, occurrence: int, values: dict[str, str | int]) -> None:
    """Write keys below the n-th table of this header, replacing those that stand there; the rest stays as it is.

    Raises: ConfigError when there is no such table.
    """
    lines = path.read_text().splitlines()
    tables = [number for number, line in enumerate(lines) if line.strip() == header]
    if occurrence >= len(tables):
        raise ConfigError(f"{path.name} has no table {header} of its own", next_step=f"write {header} on a line")
    start = tables[occurrence] + 1
    end = next((n for n in range(start, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
    key = re.compile(r"\s*([A-Za-z0-9_]+)\s*=")
    kept = [line for line in lines[start:end] if not ((match := key.match(line)) and match[1] in values)]
    written = [
        f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}" for name, value in values.items()
    ]
    partial = path.with_suffix(".partial")
    partial.write_text("\n".join([*lines[:start], *written, *kept, *lines[end:]]) + "\n")
    partial.replace(path)


def _encode_register(verifier: Address) -> bytes:
    return encode_call("register(address)", verifier)


def is_complete(steps: Sequence[Step]) -> bool:
    """Whether nothing is left to do."""
    return all(step.state is State.DONE for step in steps)
