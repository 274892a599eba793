"""Two real chains with the real contracts, mined by hand: a block comes with a transaction, or when a test says so.

Everything is deployed anew for each test; nothing sleeps, so a test decides what every agent has seen.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from comity.chain.bindings import (
    DECIDED,
    decode_decided,
    decode_uint,
    encode_call,
    encode_dispatch,
    encode_set_policy,
    encode_snapshots,
    encode_words,
)
from comity.chain.codec import from_hex
from comity.chain.rpc import Rpc, TransactionReceipt
from comity.compiler import Artifact, load_artifact
from comity.config import Config, decode_config
from comity.core.envelope import Envelope, compute_settlement, compute_terms
from comity.core.errors import Rejected
from comity.core.policy import Policy
from comity.core.types import Address, ChainId, Direction, EnvelopeId, Hash32, Lane, Outcome, Seconds, Word
from comity.devnet import deploy
from comity.devnet.anvil import Anvil
from comity.devnet.devnet import derive_signer
from comity.sdk.client import Client, LaneEnds, Message, Sent

ORIGIN, DESTINATION = "alpha", "beta"
CHAIN_IDS: Final = {ORIGIN: ChainId(900_001), DESTINATION: ChainId(900_002)}
MAIN, RESERVE = "main", "reserve"
SETS: Final = {MAIN: (4, 3), RESERVE: (2, 2)}
"""Members and threshold; the order is that of the verifiers at each Gate."""
ONLY_MAIN: Final = Policy(required=frozenset({0}))
ONLY_RESERVE: Final = Policy(required=frozenset({1}))
FINALIZED_DEPTH: Final = 2
"""Anvil, with one slot in an epoch, calls the block two behind the latest finalized."""
OWNER, SENDER, RELAYER, GUARDIAN = (derive_signer(role) for role in ("owner", "sender", "relayer", "guardian"))

_NOBODY: Final = Address(bytes(20))
_GAS: Final = 12_000_000
_BALANCE: Final = hex(10_000 * 10**18)
_POLL_BLOCK_SECONDS: Final = 0.04
"""Agents look four times a block: often, because nothing but them is waited for."""


class Chain:
    """One Anvil that mines each transaction into a block of its own, and other blocks when told to."""

    def __init__(self, name: str, anvil: Anvil, rpc: Rpc) -> None:
        self.name, self.anvil, self.rpc = name, anvil, rpc

    async def mine(self, blocks: int = 1) -> None:
        if blocks:
            await self.rpc.call("anvil_mine", hex(blocks))

    async def reorg(self, depth: int) -> None:
        """Replace the newest blocks by as many others, which are empty."""
        await self.rpc.call("anvil_reorg", depth, [])

    async def pass_time(self, seconds: int) -> None:
        await self.rpc.call("evm_increaseTime", seconds)
        await self.mine()

    async def fetch_raw(self, transaction: Hash32) -> bytes:
        return from_hex(await self.rpc.call("eth_getRawTransactionByHash", transaction))

    async def include(self, raw: bytes) -> None:
        """Mine a signed transaction again, after a reorg took it out."""
        await self.wait_for(await self.rpc.send_raw_transaction(raw))

    async def send(self, sender: Address, to: Address | None, data: bytes, *, value: int = 0) -> TransactionReceipt:
        """Send from any account, whose key the node does not need. Raises: Rejected."""
        call: dict[str, Any] = {"from": sender, "data": data, "gas": hex(_GAS), "value": hex(value)}
        if to is not None:
            call["to"] = to
        receipt = await self.wait_for(from_hex(await self.rpc.call("eth_sendTransaction", call)))
        if receipt.status != 1:
            await self.rpc.eth_call(to, data, sender=sender, value=value)
            raise Rejected("transaction reverted", reason="no longer")
        return receipt

    async def wait_for(self, transaction: bytes) -> TransactionReceipt:
        # Anvil may answer before the block exists.
        while (receipt := await self.rpc.fetch_receipt(transaction)) is None:
            await asyncio.sleep(0.002)
        return receipt


@dataclass(frozen=True, slots=True)
class Account:
    """Whoever deploys; `deploy.Sender`."""

    chain: Chain
    account: Address

    async def fetch_nonce(self) -> int:
        return await self.chain.rpc.transaction_count(self.account)

    async def send(self, to: Address | None, data: bytes, *, value: int = 0) -> TransactionReceipt:
        return await self.chain.send(self.account, to, data, value=value)

    async def call(self, to: Address, data: bytes) -> bytes:
        return await self.chain.rpc.eth_call(to, data, sender=self.account)


class World:
    """The two chains, the lane between them, and an app at its end."""

    def __init__(self, chains: dict[str, Chain], config: Config, client: Client, app: Address) -> None:
        self.chains = chains
        self.config = config
        self.client = client
        self.app = app

    @property
    def origin(self) -> Chain:
        return self.chains[ORIGIN]

    @property
    def destination(self) -> Chain:
        return self.chains[DESTINATION]

    @property
    def router(self) -> Address:
        return self.config.chains[ORIGIN].router_address

    @property
    def gate(self) -> Address:
        return self.config.chains[DESTINATION].gate_address

    @property
    def ends(self) -> LaneEnds:
        return self.client.list_lanes()[0]

    @property
    def lane(self) -> Lane:
        return self.ends.lane

    async def dispatch(self, payload: bytes = b"greetings", **message: Any) -> Sent:
        """Have the sender dispatch an envelope to the app, by the SDK."""
        terms: dict[str, Any] = {"receiver": self.app, "policy": ONLY_MAIN, "payload": payload, **message}
        return await self.client.send(self.ends, SENDER, Message(**terms))

    async def act(self, signature: str, *values: object, chain: str = DESTINATION, by: Address = OWNER.address) -> None:
        """Call the Authority of a chain, as its owner or as a guardian. Raises: Rejected."""
        authority = self.config.chains[chain].authority_address
        await self.chains[chain].send(by, authority, encode_call(signature, *values))

    async def fetch_word(self, direction: Direction, block: int | str = "latest") -> Word:
        """What the chain itself holds."""
        chain, contract = self._find_keeper(direction)
        return Word(decode_uint(await chain.rpc.eth_call(contract, encode_words(self.lane), block=block)))

    async def fetch_snapshot(self, direction: Direction, nonce: int, block: int | str = "latest") -> Word:
        """What the chain itself keeps of an earlier word; 0 when nothing."""
        chain, contract = self._find_keeper(direction)
        call = encode_snapshots(self.lane, nonce)
        return Word(decode_uint(await chain.rpc.eth_call(contract, call, block=block)))

    async def fetch_outcomes(self, envelope_id: EnvelopeId) -> list[Outcome]:
        """Every decision about an envelope in the destination's canonical chain."""
        logs = await self.destination.rpc.fetch_logs(self.gate, (DECIDED, Hash32(envelope_id)), 0, "latest")
        return [decode_decided(log).outcome for log in logs]

    def _find_keeper(self, direction: Direction) -> tuple[Chain, Address]:
        is_dispatches = direction is Direction.DISPATCHES
        return (self.origin, self.router) if is_dispatches else (self.destination, self.gate)

    async def count_entries(self) -> int:
        """How often the app's hook took a message."""
        answer = await self.destination.rpc.eth_call(self.app, encode_call("count()"))
        return decode_uint(answer)

    async def deploy_app(self, artifact: Artifact, policy: Policy | None = ONLY_MAIN, **arguments: object) -> Address:
        """Put a receiver on the destination, owned by the sender."""
        account = Account(self.destination, SENDER.address)
        app = await deploy.create(account, artifact, gate=self.gate, **arguments)
        if policy:
            await account.send(self.gate, encode_set_policy(self.lane, app, policy.word))
        return app


@asynccontextmanager
async def fork(chain: Chain) -> AsyncIterator[Chain]:
    """Another node with the same past, whose future is its own."""
    async with AsyncExitStack() as stack:
        other = await _start(stack, chain.name)
        await other.rpc.call("anvil_loadState", await chain.rpc.call("anvil_dumpState"))
        yield other


@asynccontextmanager
async def build_world(finality: str = "finalized") -> AsyncIterator[World]:
    """Start the chains and deploy everything; all of it ends with the block."""
    async with AsyncExitStack() as stack:
        chains = {name: await _start(stack, name) for name in (ORIGIN, DESTINATION)}
        tables = _build_tables(chains, finality)
        config = decode_config(tables, Path("comity.toml"))
        terms = deploy.Terms(OWNER.address, Seconds(0), development=True)
        owners = {name: Account(chain, OWNER.address) for name, chain in chains.items()}
        endpoints: dict[str, deploy.Endpoint] = {}
        for name, owner in owners.items():
            endpoint = endpoints[name] = await deploy.deploy_endpoint(owner, CHAIN_IDS[name], terms)
            table = tables["chains"][name]
            table |= {key: "0x" + getattr(endpoint, key).hex() for key in ("router", "gate", "authority")}
            for row, each in zip(table["verifiers"], config.list_sets(config.chains[name]), strict=True):
                verifier = await deploy.deploy_attestation(owner, endpoint.authority, terms, each.attestation_set)
                row["address"] = "0x" + verifier.hex()
        await deploy.open_lane(owners[ORIGIN], owners[DESTINATION], endpoints[ORIGIN], endpoints[DESTINATION])
        config = decode_config(tables, Path("comity.toml"))
        client = await stack.enter_async_context(Client(config))
        world = World(chains, config, client, _NOBODY)
        world.app = await world.deploy_app(load_artifact("Guestbook"), is_open=True)
        for name, chain in chains.items():
            await world.act("set_guardian(address,bool)", GUARDIAN.address, True, chain=name)
            await chain.mine(_count_blocks_to_finality(finality))
        yield world


async def _start(stack: AsyncExitStack, name: str) -> Chain:
    anvil = await stack.enter_async_context(Anvil(CHAIN_IDS[name], extra_args=("--auto-impersonate",)))
    chain = Chain(name, anvil, await stack.enter_async_context(Rpc(anvil.url)))
    for signer in (OWNER, SENDER, RELAYER, GUARDIAN):
        await chain.rpc.call("anvil_setBalance", signer.address, _BALANCE)
    return chain


def _build_tables(chains: dict[str, Chain], finality: str) -> dict[str, Any]:
    return {
        "development": True,
        "lanes": [[ORIGIN, DESTINATION]],
        "relay": {"expire": True},
        "sets": {
            name: {
                "members": ["0x" + derive_signer(f"{name} attestor", n).address.hex() for n in range(count)],
                "threshold": threshold,
                "finality": finality,
            }
            for name, (count, threshold) in SETS.items()
        },
        "chains": {
            name: {
                "chain": f"eip155:{CHAIN_IDS[name]}",
                "rpc": [chain.anvil.url],
                "finality": finality,
                "block_seconds": _POLL_BLOCK_SECONDS,
                "start_block": 1,
                "verifiers": [{"set": set_name} for set_name in SETS],
            }
            for name, chain in chains.items()
        },
    }


def encode_draft(draft: Envelope) -> bytes:
    """The Router's call that dispatches a draft, whoever sends it."""
    return encode_dispatch(
        lane=draft.lane,
        receiver=draft.receiver,
        policy=draft.policy,
        return_policy=draft.return_policy,
        refund_to=_NOBODY,
        terms=compute_terms(draft),
        settlement=compute_settlement(draft),
        tail=draft.payload,
    )


def _count_blocks_to_finality(finality: str) -> int:
    kind, _, depth = finality.partition(":")
    return int(depth) if kind == "depth" else FINALIZED_DEPTH
