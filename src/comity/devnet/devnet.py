"""A whole deployment on this machine: Anvil chains, a lane for every ordered pair, attestors and a relayer.

Everything runs in this process or dies with it, and nothing listens beyond loopback. Keys are derived from public names
and guard nothing.
"""

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from comity.agents.assembly import build_attestor, build_relayer
from comity.chain.rpc import Rpc
from comity.chain.signer import LocalSigner
from comity.compiler import load_artifacts
from comity.config import Config, LoadedConfig, decode_config, format_toml
from comity.core.errors import ConfigError
from comity.core.finality import FINALIZED
from comity.core.types import Address, ChainId, Seconds
from comity.devnet import deploy
from comity.devnet.anvil import Anvil
from comity.devnet.keys import derive_key, derive_signer, name_key
from comity.sdk.client import Client
from comity.sdk.keys import save_key
from comity.store.sqlite import SqliteStore
from comity.telemetry import Metrics

FIRST_CHAIN_ID: Final = 900_001
CHAIN_NAMES: Final = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
BALANCE: Final = 10_000 * 10**18
MAIN_SET, RESERVE_SET = "main", "reserve"
"""The reserve's attestors are registered, and run only when told to."""

_FINALITY_BLOCKS: Final = 3
"""With one slot in an epoch, Anvil's finalized block is two behind the latest."""

MARK: Final = "# Written by `comity dev up`; rewritten by the next one.\n"


@dataclass(frozen=True, slots=True)
class DevnetOptions:
    """What a devnet looks like."""

    chains: int = 3
    block_seconds: float = 1.0
    """Whole seconds, unless instant."""
    instant: bool = False
    """Also mine each transaction at once."""
    attestors: int = 4
    threshold: int = 3


class Devnet:
    """A running devnet."""

    def __init__(self, options: DevnetOptions, folder: Path, loaded: LoadedConfig, client: Client) -> None:
        self.options = options
        self.folder = folder
        self.loaded = loaded
        self.client = client
        self._agents: dict[str, asyncio.Task[None]] = {}
        self._stores: list[SqliteStore] = []

    @property
    def config(self) -> Config:
        """The configuration that the other commands may use."""
        return self.loaded.config

    @property
    def sender(self) -> LocalSigner:
        """Who sends envelopes and owns the example apps."""
        return derive_signer("sender")

    def start_attestors(self, name: str = MAIN_SET) -> None:
        """Start the attestors of a set."""
        quorums = {name: chain.quorum for name, chain in self.client.chains.items()}
        for index, url in enumerate(self.config.sets[name].attestors):
            host, _, port = url.removeprefix("http://").partition(":")
            store = self._open_store(f"attestor-{name}-{index}")
            signer = derive_signer(f"{name} attestor", index)
            attestor = build_attestor(self.config, quorums, signer, store, Metrics(), listen=(host, int(port)))
            self._start(f"attestor {name} {index}", attestor)

    def start_relayer(self) -> None:
        """Start the relayer."""
        relayer = build_relayer(self.config, derive_signer("relayer"), self._open_store("relayer"), Metrics())
        self._start("relayer", relayer)

    async def stop_agents(self) -> None:
        """Stop every agent and close the stores."""
        for task in self._agents.values():
            task.cancel()
        await asyncio.gather(*self._agents.values(), return_exceptions=True)
        self._agents.clear()
        for store in self._stores:
            store.close()
        self._stores.clear()

    @asynccontextmanager
    async def instant_mining(self) -> AsyncIterator[None]:
        """Mine each transaction at once inside, and let everything be final after it."""
        rpcs = [chain.quorum.providers[0] for chain in self.client.chains.values()]
        # In the mixed mode of `instant`, it would stop the blocks that come by time.
        if not self.options.instant:
            await asyncio.gather(*(rpc.call("evm_setAutomine", True) for rpc in rpcs))
        yield
        await asyncio.gather(*(_start_clock(rpc, self.options) for rpc in rpcs))

    def check(self) -> None:
        """Raise what an agent died of."""
        for task in self._agents.values():
            if task.done() and not task.cancelled():
                task.result()

    def _start(self, name: str, agent: Any) -> None:
        self._agents[name] = asyncio.create_task(agent.run(), name=name)

    def _open_store(self, name: str) -> SqliteStore:
        folder = self.folder / "data"
        folder.mkdir(parents=True, exist_ok=True)
        store = SqliteStore(folder / f"{name}.sqlite")
        self._stores.append(store)
        return store


@asynccontextmanager
async def run_devnet(options: DevnetOptions, folder: Path, *, agents: bool = True) -> AsyncIterator[Devnet]:
    """Run a devnet with its state in `folder`, which is emptied first; everything ends with the block."""
    if not 2 <= options.chains <= len(CHAIN_NAMES):
        raise ConfigError("a devnet has 2 to 6 chains", chains=options.chains)
    _make_empty(folder)
    compiling = asyncio.to_thread(load_artifacts, [*deploy.ENDPOINT_CONTRACTS, "Attestation"])
    async with AsyncExitStack() as stack:
        anvils, _ = await asyncio.gather(_start_chains(stack, options, folder), compiling)
        tables = await _deploy(options, anvils)
        path = _write_files(folder, tables)
        loaded = LoadedConfig(decode_config(tables, path), path)
        client = await stack.enter_async_context(Client(loaded.config))
        devnet = Devnet(options, folder, loaded, client)
        stack.push_async_callback(devnet.stop_agents)
        if agents:
            devnet.start_attestors()
            devnet.start_relayer()
        yield devnet


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


async def _start_chains(stack: AsyncExitStack, options: DevnetOptions, folder: Path) -> list[Anvil]:
    now = int(time.time())
    chains = [
        Anvil(
            FIRST_CHAIN_ID + index,
            block_time=options.block_seconds if options.instant else None,
            # Chains with one genesis time would share their genesis hash.
            timestamp=now - index,
            extra_args=("--mixed-mining",) if options.instant else (),
            # Killed outright, it leaves files only where the next devnet clears them away.
            folder=folder,
        )
        for index in range(options.chains)
    ]
    for chain in chains:
        await stack.enter_async_context(chain)
    return chains


async def _deploy(options: DevnetOptions, anvils: Sequence[Anvil]) -> dict[str, Any]:
    """Deploy everything while each transaction is mined at once, and return the configuration's tables."""
    names = CHAIN_NAMES[: options.chains]
    sets = {MAIN_SET: (options.attestors, options.threshold), RESERVE_SET: (3, 2)}
    tables = _build_tables(options, sets, dict(zip(names, anvils, strict=True)))
    async with AsyncExitStack() as stack:
        rpcs = [await stack.enter_async_context(Rpc(anvil.url)) for anvil in anvils]
        await asyncio.gather(*(_fund(rpc) for rpc in rpcs))
        # Of the freshly written tables, only addresses are missing.
        client = await stack.enter_async_context(Client(decode_config(tables, Path("comity.toml"))))
        owner = derive_signer("owner")
        senders = {name: client.get_wallet(client.chains[name], owner) for name in names}
        terms = deploy.Terms(owner.address, Seconds(0), development=True)
        ends = await asyncio.gather(*(_deploy_chain(client, name, senders[name], terms) for name in names))
        for name, (endpoint, verifiers) in zip(names, ends, strict=True):
            table = tables["chains"][name]
            table |= {key: "0x" + getattr(endpoint, key).hex() for key in ("router", "gate", "authority")}
            for row, address in zip(table["verifiers"], verifiers, strict=True):
                row["address"] = "0x" + address.hex()
        endpoints = {name: endpoint for name, (endpoint, _) in zip(names, ends, strict=True)}
        for origin, target in client.config.list_lanes():
            await deploy.open_lane(senders[origin], senders[target], endpoints[origin], endpoints[target])
        await asyncio.gather(*(_start_clock(rpc, options) for rpc in rpcs))
    return tables


async def _start_clock(rpc: Rpc, options: DevnetOptions) -> None:
    """Make what was deployed final, and mine blocks by time from now on."""
    await rpc.call("anvil_mine", hex(_FINALITY_BLOCKS))
    if not options.instant:
        await rpc.call("evm_setIntervalMining", round(options.block_seconds))


async def _deploy_chain(
    client: Client, name: str, sender: deploy.Sender, terms: deploy.Terms
) -> tuple[deploy.Endpoint, list[Address]]:
    chain = client.chains[name].config
    endpoint = await deploy.deploy_endpoint(sender, ChainId(chain.id), terms)
    verifiers = [
        await deploy.deploy_attestation(sender, endpoint.authority, terms, attestation_set.attestation_set)
        for attestation_set in client.config.list_sets(chain)
    ]
    return endpoint, verifiers


async def _fund(rpc: Rpc) -> None:
    for role in ("owner", "relayer", "sender"):
        await rpc.call("anvil_setBalance", derive_signer(role).address, hex(BALANCE))


def _build_tables(options: DevnetOptions, sets: dict[str, tuple[int, int]], anvils: dict[str, Anvil]) -> dict[str, Any]:
    ports = iter(_find_free_ports(sum(count for count, _ in sets.values())))
    return {
        "development": True,
        "data": "data",
        "key": "keys/sender.key",
        "owner": {"key": "keys/owner.key", "delay": 0},
        "attest": {"key": f"keys/{name_key(RESERVE_SET, 0)}"},
        "relay": {"key": "keys/relayer.key"},
        "sets": {
            name: {
                "members": ["0x" + derive_signer(f"{name} attestor", n).address.hex() for n in range(count)],
                "threshold": threshold,
                "finality": str(FINALIZED),
                "attestors": [f"http://127.0.0.1:{next(ports)}" for _ in range(count)],
                "standby": name == RESERVE_SET,
            }
            for name, (count, threshold) in sets.items()
        },
        "chains": {
            name: {
                "chain": f"eip155:{anvil.chain_id}",
                "rpc": [anvil.url],
                "finality": str(FINALIZED),
                "block_seconds": options.block_seconds,
                "start_block": 1,
                "verifiers": [{"set": set_name} for set_name in sets],
            }
            for name, anvil in anvils.items()
        },
    }


def _write_files(folder: Path, tables: dict[str, Any]) -> Path:
    for role in ("owner", "relayer", "sender"):
        save_key(folder / "keys" / f"{role}.key", derive_key(role))
    for name, table in tables["sets"].items():
        for index in range(len(table["members"])):
            save_key(folder / "keys" / name_key(name, index), derive_key(f"{name} attestor", index))
    path = folder / "comity.toml"
    path.write_text(MARK + format_toml(tables))
    return path


def _find_free_ports(count: int) -> list[int]:
    """Ports that are free now; held open together, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [held.getsockname()[1] for held in sockets]
