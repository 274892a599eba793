"""Where an envelope is on its way, and why it is not further: every stage with its block, time, proof and gas.

Reads the chains by quorum and recovers every signature; what it says about waiting is advice, and changes nothing.
Spec: spec/outcomes.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from comity.chain.bindings import (
    DELIVER,
    DELIVER_LARGE,
    decode_dispatched,
    decode_uint,
    encode_call,
    encode_mark,
    encode_policy_of,
)
from comity.chain.codec import Log, from_hex
from comity.chain.quorum import fetch_final_number
from comity.chain.revert import decode_revert
from comity.core.attestation import AttestationSet, decode_proof
from comity.core.delivery import Delivery, decode_body
from comity.core.envelope import Envelope, Flags, compute_id, decode
from comity.core.errors import ComityError, Invalid, NotReady, Rejected, Unavailable
from comity.core.finality import FinalityRule
from comity.core.policy import Policy, is_satisfied
from comity.core.types import Accumulator, Address, Address32, Direction, EnvelopeId, Hash32, Outcome
from comity.sdk.client import TIERED, Chain, Client, Decision, LaneEnds, encode_receive_message
from comity.tiers.attestation import AttestationVerifier
from comity.tiers.attestation_client import AttestationClient

_PAUSED_SHIFT: Final = 64
_MASK_40: Final = (1 << 40) - 1
"""Of a lane's state at its Gate: until when it is paused."""

OUTCOME_NAMES: Final = {outcome: outcome.name.lower() for outcome in Outcome}


@dataclass(frozen=True, slots=True)
class Stage:
    """One step that happened, or is under way."""

    name: str
    chain: str
    """CAIP-2."""
    is_done: bool
    block: int | None = None
    time: int | None = None
    """Unix seconds of that block."""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an envelope is not further, and what to do about it."""

    why: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Trace:
    """The whole story so far."""

    id: EnvelopeId
    lane: str
    envelope: Envelope
    stages: tuple[Stage, ...]
    outcome: Outcome | None
    obstacles: tuple[Obstacle, ...]


async def trace(client: Client, identifier: bytes) -> Trace:
    """Tell the story of an envelope, named by its id or by the transaction that dispatched it.

    Raises: NotReady when no configured Router dispatched it.
    """
    found = await client.find_dispatch(Hash32(identifier))
    if found is None:
        raise NotReady(
            "no configured Router dispatched this", next_step="comity doctor", id=identifier, chains=list(client.chains)
        )
    ends, log = found
    return await _Tracer(client, ends, log).build()


@dataclass(frozen=True, slots=True)
class SetProgress:
    """How far one verifier's attestation set is with this envelope."""

    index: int
    name: str
    set: AttestationSet
    signers: tuple[Address, ...]
    """Of the word that most members signed, among those that cover the envelope."""
    nonce: int
    error: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the verifier would accept."""
        return len(self.signers) >= self.set.threshold

    @property
    def missing(self) -> tuple[Address, ...]:
        """Members who have not signed."""
        return tuple(member for member in self.set.members if member not in self.signers)


class _Tracer:
    """One trace in the making."""

    def __init__(self, client: Client, ends: LaneEnds, log: Log) -> None:
        self.client = client
        self.ends = ends
        self.log = log
        self.encoding = decode_dispatched(log).envelope
        self.id = compute_id(self.encoding)
        self.envelope = decode(self.encoding)
        self.receiver = Address(self.envelope.receiver[12:])
        self.obstacles: list[Obstacle] = []

    async def build(self) -> Trace:
        decision = await self.client.find_decision(self.ends, self.id)
        stages = [await self._build_dispatched(), await self._build_final()]
        if decision is None:
            progress = await self._fetch_progress()
            stages.append(self._build_attested(progress))
            await self._find_obstacles(progress)
        else:
            stages += await self._build_decided(decision)
        return Trace(
            self.id,
            self.ends.name,
            self.envelope,
            tuple(stages),
            decision.outcome if decision else None,
            tuple(self.obstacles) if decision is None else (),
        )

    async def _build_dispatched(self) -> Stage:
        origin = self.ends.origin
        receipt = await origin.quorum.vote(lambda rpc: rpc.fetch_receipt(self.log.transaction_hash))
        return Stage(
            "dispatched",
            origin.config.chain,
            True,
            self.log.block_number,
            await _fetch_time(origin, self.log.block_number),
            {
                "transaction": self.log.transaction_hash,
                "nonce": self.envelope.nonce,
                "gas": receipt.gas_used if receipt else None,
            },
        )

    async def _build_final(self) -> Stage:
        """The strictest rule of the sets that the policy names decides when the origin's block counts."""
        origin = self.ends.origin
        rules = {attestation_set.rule for attestation_set in self._list_sets()} or {FinalityRule.parse("finalized")}
        numbers = {rule: await _fetch_final(origin, rule) for rule in rules}
        rule, final = min(numbers.items(), key=lambda entry: entry[1])
        to_go = max(0, self.log.block_number - final)
        if to_go:
            self.obstacles.append(
                Obstacle(
                    f"not final yet on {origin.config.chain}: {to_go} blocks to go under `{rule}`",
                    self._again(to_go * origin.config.block_seconds),
                )
            )
        return Stage("final", origin.config.chain, to_go == 0, final, None, {"rule": str(rule), "blocks_to_go": to_go})

    def _list_sets(self) -> list[Any]:
        named = Policy.from_word(self.envelope.policy)
        sets = self.client.config.list_sets(self.ends.destination.config)
        return [sets[index] for index in sorted(named.required | named.optional) if index < len(sets)]

    async def _fetch_progress(self) -> list[SetProgress]:
        verifiers = self.ends.destination.config.verifiers
        wanted = _mask(self.envelope.policy) | await self._fetch_receiver_mask()
        return [await self._fetch_set_progress(index) for index in range(len(verifiers)) if wanted >> index & 1]

    async def _fetch_receiver_mask(self) -> int:
        policy = await self._fetch_receiver_policy()
        return 0 if policy in (0, TIERED) else _mask(policy)

    async def _fetch_receiver_policy(self) -> int:
        gate = self.ends.destination.config.gate_address
        return decode_uint(await self.ends.destination.call(gate, encode_policy_of(self.ends.lane, self.receiver)))

    async def _fetch_set_progress(self, index: int) -> SetProgress:
        destination = self.ends.destination.config
        name = destination.verifiers[index].set
        config = self.client.config.sets[name]
        attestation_set = config.attestation_set
        address = destination.verifier_addresses[index]
        verifier = AttestationVerifier(destination.id, address, self.client.config.development)
        if not config.attestors:
            return SetProgress(index, name, attestation_set, (), 0, "no attestor's URL is configured")
        async with AttestationClient(config.attestors, verifier, [attestation_set]) as attestors:
            try:
                found = await attestors.fetch_attestations(
                    self.ends.lane, Direction.DISPATCHES, min_nonce=self.envelope.nonce
                )
            except Unavailable as error:
                return SetProgress(index, name, attestation_set, (), 0, error.message)
        signers: dict[Any, list[Address]] = {}
        for attestation in found:
            signers.setdefault(attestation.checkpoint, []).append(attestation.signer)
        if not signers:
            return SetProgress(index, name, attestation_set, (), 0)
        best = max(signers, key=lambda checkpoint: (len(signers[checkpoint]), -checkpoint.nonce))
        return SetProgress(index, name, attestation_set, tuple(sorted(signers[best])), best.nonce)

    def _build_attested(self, progress: Sequence[SetProgress]) -> Stage:
        verified = sum(1 << entry.index for entry in progress if entry.is_complete)
        details = {
            f"verifier {entry.index} ({entry.name})": {
                "signed": len(entry.signers),
                "threshold": entry.set.threshold,
                "signers": list(entry.signers),
                "missing": list(entry.missing),
                "word_nonce": entry.nonce,
            }
            for entry in progress
        }
        is_done = is_satisfied(self.envelope.policy, verified)
        return Stage("attested", self.ends.destination.config.chain, is_done, None, None, details)

    async def _build_decided(self, decision: Decision) -> list[Stage]:
        destination = self.ends.destination
        transaction = await destination.quorum.agree("eth_getTransactionByHash", decision.transaction)
        receipt = await destination.quorum.vote(lambda rpc: rpc.fetch_receipt(decision.transaction))
        time = await _fetch_time(destination, decision.block)
        chain = destination.config.chain
        stages: list[Stage] = []
        delivery = _decode_delivery(from_hex(transaction["input"]))
        if delivery is not None:
            stages.append(self._build_proved(delivery))
            run = len(delivery.entries)
            gas = receipt.gas_used if receipt else None
            details = {"transaction": decision.transaction, "run": run, "gas": gas}
            if gas is not None:
                details["gas_per_entry"] = gas // run
            stages.append(Stage("delivered", chain, True, decision.block, time, details))
        stages.append(
            Stage(
                "decided",
                chain,
                True,
                decision.block,
                time,
                {
                    "outcome": OUTCOME_NAMES[decision.outcome],
                    "receipt": decision.position,
                    "beneficiary": decision.beneficiary[12:],
                    "result": decision.result,
                    "reason": decode_revert(decision.result) if decision.outcome is Outcome.FAILED else None,
                    "transaction": decision.transaction,
                },
            )
        )
        return stages

    def _build_proved(self, delivery: Delivery) -> Stage:
        details = {
            f"verifier {index}": {"proof_bytes": len(proof), **_describe_proof(proof)}
            for index, proof in sorted(delivery.proofs.items())
        }
        return Stage("attested", self.ends.destination.config.chain, True, None, None, details)

    async def _find_obstacles(self, progress: Sequence[SetProgress]) -> None:
        now = await self.ends.destination.fetch_time()
        shown = f"0x{self.id.hex()}"
        if now > self.envelope.deliver_before:
            late = now - self.envelope.deliver_before
            self.obstacles = [Obstacle(f"the deadline passed {late} s ago", f"comity expire {shown}")]
            return
        if now < self.envelope.deliver_after:
            left = self.envelope.deliver_after - now
            why = f"too early: {left} s to go, until {self.envelope.deliver_after}"
            self.obstacles.append(Obstacle(why, self._again(left)))
        self._find_missing_signatures(progress)
        await self._find_receiver_obstacles(progress)
        await self._find_lane_obstacles()
        if not self.obstacles:
            await self._find_hook_obstacle()
        if not self.obstacles:
            self.obstacles.append(Obstacle("it can be delivered, and nobody has yet", "comity relay run"))

    def _find_missing_signatures(self, progress: Sequence[SetProgress]) -> None:
        verified = sum(1 << entry.index for entry in progress if entry.is_complete)
        if is_satisfied(self.envelope.policy, verified):
            return
        for entry in progress:
            if entry.is_complete or not _mask(self.envelope.policy) >> entry.index & 1:
                continue
            missing = ", ".join("0x" + member.hex() for member in entry.missing)
            why = (
                f"policy `{Policy.from_word(self.envelope.policy)}` needs verifier {entry.index} ({entry.name}): "
                f"{len(entry.signers)} of {entry.set.threshold} signatures; missing {missing}"
            )
            self.obstacles.append(Obstacle(f"{why}; {entry.error}" if entry.error else why, "comity attest run"))

    async def _find_receiver_obstacles(self, progress: Sequence[SetProgress]) -> None:
        policy = await self._fetch_receiver_policy()
        origin, destination = self.ends.origin.name, self.ends.destination.name
        if policy == 0:
            step = f"comity policy set {origin} {destination} 0x{self.receiver.hex()} '<policy>'"
            self.obstacles.append(Obstacle("the receiver has no policy for this lane", step))
        elif policy != TIERED and not is_satisfied(policy, sum(1 << e.index for e in progress if e.is_complete)):
            unmet = Policy.from_word(policy)
            if policy != self.envelope.policy:
                self.obstacles.append(Obstacle(f"the receiver's policy `{unmet}` is not satisfied", "comity doctor"))

    async def _find_lane_obstacles(self) -> None:
        destination, envelope = self.ends.destination, self.envelope
        gate = destination.config.gate_address
        state = decode_uint(await destination.call(gate, encode_call("lanes(bytes32)", self.ends.lane)))
        paused = state >> _PAUSED_SHIFT & _MASK_40
        now = await destination.fetch_time()
        if paused > now:
            self.obstacles.append(Obstacle(f"a guardian paused the lane until {paused}", self._again(paused - now)))
        if envelope.depends_on:
            mark = encode_mark(self.ends.lane, envelope.policy, envelope.depends_on)
            if decode_uint(await destination.call(gate, mark)) == 0:
                why = f"the dependency, nonce {envelope.depends_on} of this lane, is undecided"
                self.obstacles.append(Obstacle(why, "comity trace <the id of that envelope>"))

    def _again(self, seconds: float) -> str:
        return f"comity trace 0x{self.id.hex()}, in {seconds:.0f} s or more"

    async def _find_hook_obstacle(self) -> None:
        """Try the hook as the Gate would."""
        gate = self.ends.destination.config.gate_address
        call = encode_receive_message(self.id, self.ends, Address32(self.envelope.sender), self.envelope.payload)
        try:
            await self.ends.destination.quorum.vote(
                lambda rpc: rpc.eth_call(self.receiver, call, sender=gate, gas=self.envelope.gas_limit)
            )
        except Rejected as error:
            retried = bool(self.envelope.flags & Flags.RETRYABLE)
            fate = "it is retried until the deadline" if retried else "delivery would record FAILED"
            self.obstacles.append(
                Obstacle(f"the receiver reverts: {error.reason or 'without a reason'}; {fate}", "repair the receiver")
            )


def _mask(policy: int) -> int:
    named = Policy.from_word(policy)
    return sum(1 << index for index in named.required | named.optional)


async def _fetch_time(chain: Chain, number: int) -> int:
    return (await chain.quorum.agreed_header(number)).timestamp


async def _fetch_final(chain: Chain, rule: FinalityRule) -> int:
    numbers = []
    for provider in chain.quorum.providers:
        try:
            numbers.append(await fetch_final_number(provider, rule))
        except ComityError:
            continue
    numbers.sort(reverse=True)
    return numbers[chain.quorum.quorum - 1] if len(numbers) >= chain.quorum.quorum else 0


def _decode_delivery(calldata: bytes) -> Delivery | None:
    """Read `deliver`'s arguments back; None for other calls, such as `expire`."""
    if calldata[:4] not in (DELIVER, DELIVER_LARGE):
        return None
    before = int.from_bytes(calldata[4:36], "big")
    length = int.from_bytes(calldata[100:132], "big")
    try:
        return decode_body(Accumulator(before), Address32(calldata[36:68]), calldata[132 : 132 + length])
    except Invalid:
        return None


def _describe_proof(proof: bytes) -> dict[str, Any]:
    try:
        decoded = decode_proof(proof)
    except Invalid:
        return {}
    return {"signed": decoded.threshold, "members": decoded.member_count, "epoch": decoded.epoch}
