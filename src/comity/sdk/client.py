"""Send envelopes and learn what became of them, over the chains of one configuration.

Trusts a quorum of each chain's providers for what it reads. What it sends is checked by the contracts again.
Spec: spec/envelope.md, spec/outcomes.md.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from comity.chain.bindings import (
    DECIDED,
    DISPATCHED,
    FAILED,
    REPLIED,
    Decided,
    decode_decided,
    decode_dispatched,
    decode_result,
    decode_uint,
    encode_call,
    encode_dispatch,
    encode_policy_of,
)
from comity.chain.codec import BlockRef, Log, TopicFilter
from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import Rpc, RpcError
from comity.chain.signer import TransactionSigner
from comity.config import ChainConfig, Config
from comity.core.envelope import Envelope, Flags, compute_id, compute_settlement, compute_terms, decode
from comity.core.errors import ConfigError, Invalid, NotReady, Rejected, Unavailable
from comity.core.interop_address import InteropAddress
from comity.core.lane import compute_lane
from comity.core.policy import Policy
from comity.core.types import (
    Address,
    Address32,
    EnvelopeId,
    Gas,
    Hash32,
    Lane,
    Outcome,
    Seconds,
    Wei,
    to_address32,
)
from comity.sdk.wallet import Wallet

DEFAULT_LIFETIME: Final = Seconds(86_400)
MIN_GAS_LIMIT: Final = Gas(100_000)
_POLL_SECONDS: Final = 0.3
_LOG_RANGE: Final = 10_000
_NOBODY: Final = Address(bytes(20))
_AT_ONCE: Final = Seconds(0)
_FREE: Final = Wei(0)
_NO_GAS: Final = Gas(0)


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain of the configuration and its providers."""

    name: str
    config: ChainConfig
    quorum: ProviderQuorum

    async def call(self, to: Address, data: bytes, sender: Address = _NOBODY, block: BlockRef = "latest") -> bytes:
        """Read a view as most providers see it. Raises: Unavailable, Rejected."""
        return await self.quorum.vote(lambda rpc: rpc.eth_call(to, data, sender=sender, block=block))

    async def fetch_time(self) -> Seconds:
        """The clock of the newest agreed block."""
        return Seconds((await self.quorum.agreed_head()).timestamp)

    def describe_verifiers(self) -> str:
        """The verifiers by index, as people see them."""
        return ", ".join(f"{index} {verifier.set}" for index, verifier in enumerate(self.config.verifiers))

    async def find_logs(self, address: Address, topics: Sequence[TopicFilter]) -> list[Log]:
        """Logs of one contract, from the newest range that has any. Raises: Unavailable."""
        async for found in self.list_ranges(address, topics, (await self.quorum.agreed_head()).number):
            if found:
                return found
        return []

    async def list_ranges(self, address: Address, topics: Sequence[TopicFilter], end: int) -> AsyncIterator[list[Log]]:
        """Logs of one contract up to the block `end`, newest range first. Raises: Unavailable."""
        while end >= self.config.start_block:
            start = max(self.config.start_block, end - _LOG_RANGE + 1)
            yield await self._fetch_range(address, topics, start, end)
            end = start - 1

    async def _fetch_range(self, address: Address, topics: Sequence[TopicFilter], start: int, end: int) -> list[Log]:
        return await self.quorum.vote(lambda rpc: rpc.fetch_logs(address, topics, start, end), tuple)


@dataclass(frozen=True, slots=True)
class LaneEnds:
    """A lane with its two chains."""

    lane: Lane
    origin: Chain
    destination: Chain

    @property
    def name(self) -> str:
        """As people see it."""
        return f"{self.origin.name}→{self.destination.name}"


@dataclass(frozen=True, slots=True)
class Sent:
    """An envelope that a mined transaction dispatched."""

    id: EnvelopeId
    ends: LaneEnds
    envelope: Envelope
    encoding: bytes
    transaction: Hash32
    block: int
    gas_used: Gas


@dataclass(frozen=True, slots=True)
class Decision:
    """What a Gate decided about an envelope."""

    outcome: Outcome
    position: int
    beneficiary: Address32
    result: bytes
    """Reply, or the reason of the failure; empty when there is none."""
    transaction: Hash32
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a sender asks for; what it leaves out is filled in from the chains, never below the receiver's policy."""

    receiver: Address
    payload: bytes = b""
    policy: Policy | None = None
    """None: the receiver's own."""
    return_policy: Policy | None = None
    """None: the same attestation sets, at the origin."""
    lifetime: Seconds = DEFAULT_LIFETIME
    """From now to the deadline, on the destination's clock."""
    delay: Seconds = _AT_ONCE
    """From now to the earliest execution."""
    gas_limit: Gas | None = None
    """None: estimated, with a margin."""
    flags: Flags = Flags.RETRYABLE
    depends_on: int = 0
    fee: Wei = _FREE
    failed_share_bps: int = 0
    callback_gas: Gas = _NO_GAS
    refund_to: Address = _NOBODY
    """Zero: the sender."""


class Client:
    """The configured chains and lanes; `async with` closes the connections."""

    def __init__(self, config: Config) -> None:
        self._wallets: dict[tuple[str, Address], Wallet] = {}
        self._connect(config)

    def _connect(self, config: Config) -> None:
        self.config = config
        self.chains: Mapping[str, Chain] = {
            name: Chain(name, chain, ProviderQuorum([Rpc(url) for url in chain.rpc], chain.quorum))
            for name, chain in config.chains.items()
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(wallet.close() for wallet in self._wallets.values()))
        self._wallets.clear()
        await asyncio.gather(*(chain.quorum.close() for chain in self.chains.values()))

    async def adopt(self, config: Config) -> None:
        """Go on with another configuration."""
        await self.close()
        self._connect(config)

    def find_chain(self, text: str) -> Chain:
        """A chain by name, CAIP-2 id or number. Raises: ConfigError."""
        return self.chains[self.config.find_chain(text)[0]]

    def find_lane(self, origin: Chain, destination: Chain) -> LaneEnds:
        """The lane between two chains. Raises: ConfigError when it is not configured."""
        if (origin.name, destination.name) not in self.config.list_lanes():
            raise ConfigError("no such lane", origin=origin.config.chain, destination=destination.config.chain)
        lane = compute_lane(
            origin.config.id,
            to_address32(origin.config.router_address),
            destination.config.id,
            to_address32(destination.config.gate_address),
        )
        return LaneEnds(lane, origin, destination)

    def list_lanes(self) -> list[LaneEnds]:
        """All configured lanes."""
        return [self.find_lane(self.chains[origin], self.chains[target]) for origin, target in self.config.list_lanes()]

    def get_wallet(self, chain: Chain, signer: TransactionSigner) -> Wallet:
        """The signer's account on a chain: always the same, so that its nonces stay in order."""
        key = (chain.name, signer.address)
        if key not in self._wallets:
            self._wallets[key] = Wallet(chain.config.id, chain.quorum, signer)
        return self._wallets[key]

    async def send(self, ends: LaneEnds, signer: TransactionSigner, message: Message) -> Sent:
        """Dispatch an envelope and wait for its transaction. Raises: NotReady, Rejected, Unavailable, Invalid."""
        draft = await self.draft(ends, signer.address, message)
        data = encode_dispatch(
            lane=ends.lane,
            receiver=draft.receiver,
            policy=draft.policy,
            return_policy=draft.return_policy,
            refund_to=message.refund_to,
            terms=compute_terms(draft),
            settlement=compute_settlement(draft),
            tail=draft.payload,
        )
        wallet = self.get_wallet(ends.origin, signer)
        receipt = await wallet.send(ends.origin.config.router_address, data, value=draft.fee)
        for log in receipt.logs:
            if log.address == ends.origin.config.router_address and log.topics[0] == DISPATCHED:
                encoding = decode_dispatched(log).envelope
                return Sent(
                    compute_id(encoding),
                    ends,
                    decode(encoding),
                    encoding,
                    receipt.transaction_hash,
                    receipt.block_number,
                    Gas(receipt.gas_used),
                )
        raise Invalid("the Router emitted no envelope", transaction=receipt.transaction_hash)

    async def draft(self, ends: LaneEnds, sender: Address, message: Message) -> Envelope:
        """The envelope as it would be dispatched, but for its nonce, which the Router gives."""
        policy = message.policy or await self.fetch_receiver_policy(ends, message.receiver)
        return_policy = message.return_policy or self.mirror_policy(ends, policy)
        now = await ends.destination.fetch_time()
        return Envelope(
            lane=ends.lane,
            # A dependency must be an earlier nonce; the real one comes from the Router.
            nonce=message.depends_on + 1,
            flags=message.flags,
            sender=to_address32(sender),
            receiver=to_address32(message.receiver),
            deliver_after=Seconds(now + message.delay if message.delay else 0),
            deliver_before=Seconds(now + message.lifetime),
            depends_on=message.depends_on,
            gas_limit=message.gas_limit or await self.estimate_gas_limit(ends, sender, message),
            policy=policy.word,
            return_policy=return_policy.word,
            fee=message.fee,
            failed_share_bps=message.failed_share_bps,
            callback_gas=message.callback_gas,
            refund_to=to_address32(_NOBODY if message.refund_to == sender else message.refund_to),
            payload=message.payload,
        )

    async def fetch_receiver_policy(self, ends: LaneEnds, receiver: Address) -> Policy:
        """The receiver's policy on a lane. Raises: NotReady when it takes no calls, or when it has tiers."""
        answer = await ends.destination.call(
            ends.destination.config.gate_address, encode_policy_of(ends.lane, receiver)
        )
        word = decode_uint(answer)
        if word == 0:
            path = f"{ends.origin.name} {ends.destination.name} 0x{receiver.hex()}"
            raise NotReady(
                "the receiver takes no calls from this lane; its owner can set a policy",
                next_step=f"comity policy set {path} {shlex.quote(self._suggest_policy(ends.destination))}",
                lane=ends.name,
                receiver=receiver,
                verifiers=ends.destination.describe_verifiers(),
            )
        if word == TIERED:
            raise NotReady("the receiver has tiers: name the policy yourself", next_step="comity send … --policy '0'")
        return Policy.from_word(word)

    def _suggest_policy(self, chain: Chain) -> str:
        """All verifiers whose attestors are running: the strictest policy that can be satisfied now."""
        sets = self.config.list_sets(chain.config)
        running = [str(index) for index, attestation_set in enumerate(sets) if not attestation_set.standby]
        return " and ".join(running) or "0"

    def mirror_policy(self, ends: LaneEnds, policy: Policy) -> Policy:
        """The policy over the origin's verifiers that names the same attestation sets.

        Raises: ConfigError when one of the two lacks a verifier.
        """
        there = [verifier.set for verifier in ends.destination.config.verifiers]
        here = [verifier.set for verifier in ends.origin.config.verifiers]
        named = policy.required | policy.optional
        if max(named) >= len(there):
            known = ends.destination.describe_verifiers()
            raise ConfigError("the policy names a verifier that is not configured", policy=str(policy), known=known)
        if not {there[index] for index in named} <= set(here):
            raise ConfigError(
                "no verifier at the origin mirrors this policy",
                next_step="name the return policy yourself: --return-policy",
                policy=str(policy),
                origin=ends.origin.describe_verifiers(),
            )
        required, optional = (
            frozenset(here.index(there[index]) for index in indices) for indices in (policy.required, policy.optional)
        )
        return Policy(required, optional, policy.threshold)

    async def estimate_gas_limit(self, ends: LaneEnds, sender: Address, message: Message) -> Gas:
        """Gas for the hook, a quarter above what it takes now; a floor where the hook cannot be tried."""
        call = encode_receive_message(EnvelopeId(bytes(32)), ends, to_address32(sender), message.payload)
        gate = ends.destination.config.gate_address
        try:
            estimate = await ends.destination.quorum.providers[0].estimate_gas(message.receiver, call, sender=gate)
        except (Rejected, RpcError, Unavailable):
            return MIN_GAS_LIMIT
        return Gas(max(MIN_GAS_LIMIT, estimate * 5 // 4))

    async def find_dispatch(self, identifier: Hash32) -> tuple[LaneEnds, Log] | None:
        """Find an envelope by its id, or by the transaction that dispatched it."""
        by_transaction = await asyncio.gather(*(self._find_in_transaction(c, identifier) for c in self._deployed()))
        by_id = await asyncio.gather(
            *(c.find_logs(c.config.router_address, (DISPATCHED, identifier)) for c in self._deployed())
        )
        for log in (entry for logs in (*by_transaction, *by_id) for entry in logs):
            lane = decode_dispatched(log).lane
            for ends in self.list_lanes():
                if ends.lane == lane and ends.origin.config.router_address == log.address:
                    return ends, log
        return None

    async def find_nonce(self, ends: LaneEnds, nonce: int, before: int) -> tuple[EnvelopeId, Envelope] | None:
        """Find the envelope at a position of a lane, dispatched up to the block `before`."""
        async for logs in ends.origin.list_ranges(ends.origin.config.router_address, (DISPATCHED,), before):
            for encoding in (decode_dispatched(log).envelope for log in logs):
                envelope = decode(encoding)
                if (envelope.lane, envelope.nonce) == (ends.lane, nonce):
                    return compute_id(encoding), envelope
        return None

    async def find_decision(self, ends: LaneEnds, envelope_id: EnvelopeId) -> Decision | None:
        """The outcome of an envelope, once its Gate has decided."""
        gate = ends.destination.config.gate_address
        logs = await ends.destination.find_logs(gate, (DECIDED, Hash32(envelope_id)))
        # A call can be given an EXPIRED receipt more than once: the first counts.
        return await self._build_decision(ends, decode_decided(logs[0]), logs[0]) if logs else None

    async def wait(self, sent: Sent, seconds: float) -> Decision:
        """Wait for the outcome. Raises: NotReady when the time is over first."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            decision = await self.find_decision(sent.ends, sent.id)
            if decision is not None:
                return decision
            await asyncio.sleep(_POLL_SECONDS)
        raise NotReady(
            "still undecided", next_step=f"comity trace 0x{sent.id.hex()}", id=sent.id, seconds_waited=seconds
        )

    def _deployed(self) -> list[Chain]:
        return [chain for chain in self.chains.values() if chain.config.is_deployed]

    async def _find_in_transaction(self, chain: Chain, transaction: Hash32) -> list[Log]:
        receipt = await chain.quorum.vote(lambda rpc: rpc.fetch_receipt(transaction))
        router = chain.config.router_address
        return [log for log in receipt.logs if log.address == router and log.topics[0] == DISPATCHED] if receipt else []

    async def _build_decision(self, ends: LaneEnds, decided: Decided, log: Log) -> Decision:
        gate = ends.destination.config.gate_address
        topics: tuple[TopicFilter, ...] = ((REPLIED, FAILED), Hash32(decided.id))
        results = await ends.destination.quorum.vote(
            lambda rpc: rpc.fetch_logs(gate, topics, block_hash=log.block_hash), tuple
        )
        content = b""
        for result in results:
            if result.transaction_hash == log.transaction_hash and result.log_index < log.log_index:
                content = decode_result(result).content
        return Decision(
            decided.outcome, decided.position, decided.beneficiary, content, log.transaction_hash, log.block_number
        )


TIERED: Final = (1 << 256) - 1
"""What `policy_of` answers for a receiver with tiers."""


def encode_receive_message(envelope_id: EnvelopeId, ends: LaneEnds, sender: Address32, payload: bytes) -> bytes:
    """Encode the hook's call as the Gate makes it: ERC-7786, the sender as ERC-7930."""
    account = InteropAddress.from_evm(ends.origin.config.id, Address(sender[12:])).encode()
    return encode_call("receiveMessage(bytes32,bytes,bytes)", envelope_id, account, payload)
