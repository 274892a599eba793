"""Why an envelope is not decided yet, and the next command for each reason.

Reads the chains by quorum and asks the attestors; it is advice to people, and changes nothing. The reasons are those of
Gate.vy, in its order. Spec: spec/outcomes.md, "Untouched".
"""

import asyncio
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from comity.chain.bindings import compute_selector, decode_uint, encode_call, encode_mark, encode_verifiers
from comity.chain.rpc import RpcError
from comity.core.attestation import AttestationSet
from comity.core.envelope import Envelope, Flags
from comity.core.errors import Rejected, Unavailable
from comity.core.policy import Policy, is_satisfied
from comity.core.types import Address, Address32, Direction, EnvelopeId, Gas, Outcome
from comity.sdk.client import TIERED, Client, LaneEnds, encode_receive_message
from comity.sdk.health import Health, fetch_health
from comity.tiers.attestation import AttestationVerifier
from comity.tiers.attestation_client import AttestationClient

_MASK_40: Final = (1 << 40) - 1
_PAUSED_SHIFT: Final = 64
"""In a lane's state at its Gate: until when it is paused."""
_SUSPENDED_SHIFT: Final = 200
_REVOKED_SHIFT: Final = 240
"""In a verifier's record at the Gate."""
_MAGIC: Final = compute_selector("receiveMessage(bytes32,bytes,bytes)").ljust(32, b"\0")
_TRANSACTION_GAS: Final = Gas(21_000)
_CALLDATA_GAS: Final = Gas(40)
"""What a node takes from an `eth_call` before the call itself, at most: for the transaction, and for each byte."""
_ONLY_INSIDE: Final = "gate: no hook"
"""How Gate and context refuse outside of a delivery: no judgement about the receiver."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an envelope is not further, and what to do about it."""

    why: str
    next_steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """An undecided envelope."""

    client: Client
    ends: LaneEnds
    id: EnvelopeId
    envelope: Envelope
    block: int
    """Where it was dispatched."""
    blocks_to_go: int
    """Until that block is final."""

    @property
    def receiver(self) -> Address:
        """The account at the destination."""
        return Address(self.envelope.receiver[12:])

    def look_again(self, seconds: float = 0) -> str:
        """The command that tells whether something has changed."""
        pause = f"sleep {max(1, round(seconds))}; " if seconds else ""
        return f"{pause}comity trace 0x{self.id.hex()}"

    async def ask_gate(self, call: bytes) -> int:
        """Read a number off the Gate. Raises: Unavailable, Rejected."""
        destination = self.ends.destination
        return decode_uint(await destination.call(destination.config.gate_address, call))

    async def fetch_policies(self) -> dict[str, int]:
        """Every policy that must be satisfied, by whose it is; 0 where there is none."""
        lane = self.ends.lane
        return {
            "sender": self.envelope.policy,
            "receiver": await self.ask_gate(encode_call("policy_of(bytes32,address)", lane, self.receiver)),
            "lane's floor": await self.ask_gate(encode_call("floors(bytes32)", lane)),
        }


@dataclass(frozen=True, slots=True)
class SetProgress:
    """How far one verifier's attestation set is with an envelope."""

    index: int
    name: str
    set: AttestationSet
    signers: tuple[Address, ...]
    """Of the word that most members signed, among those that cover the envelope."""
    error: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the verifier would accept."""
        return len(self.signers) >= self.set.threshold

    @property
    def missing(self) -> tuple[Address, ...]:
        """Members who have not signed."""
        return tuple(member for member in self.set.members if member not in self.signers)


async def fetch_progress(case: Case) -> list[SetProgress]:
    """Ask the attestors of every verifier that a policy in question names. Raises: Unavailable."""
    wanted = 0
    for policy in (await case.fetch_policies()).values():
        wanted |= _mask(policy)
    count = len(case.ends.destination.config.verifiers)
    chosen = [index for index in range(count) if wanted >> index & 1]
    return list(await asyncio.gather(*(_fetch_set_progress(case, index) for index in chosen)))


async def _fetch_set_progress(case: Case, index: int) -> SetProgress:
    destination = case.ends.destination.config
    name = destination.verifiers[index].set
    config = case.client.config.sets[name]
    attestation_set = config.attestation_set
    verifier = AttestationVerifier(destination.id, destination.get_verifier(index), case.client.config.development)
    if not config.attestors:
        return SetProgress(index, name, attestation_set, (), f"sets.{name}.attestors names no attestor")
    signers: dict[object, list[Address]] = {}
    async with AttestationClient(config.attestors, verifier, [attestation_set]) as attestors:
        try:
            found = await attestors.fetch_attestations(
                case.ends.lane, Direction.DISPATCHES, min_nonce=case.envelope.nonce
            )
        except Unavailable as error:
            return SetProgress(index, name, attestation_set, (), error.message)
    for attestation in found:
        signers.setdefault(attestation.checkpoint, []).append(attestation.signer)
    best = max(signers.values(), key=len, default=[])
    return SetProgress(index, name, attestation_set, tuple(sorted(best)))


async def find_obstacles(
    case: Case, progress: Sequence[SetProgress], start_attestor: Callable[[Address], str]
) -> tuple[Obstacle, ...]:
    """Everything that stands in the way now. Raises: Unavailable."""
    now = await case.ends.destination.fetch_time()
    if now > case.envelope.deliver_before:
        late = now - case.envelope.deliver_before
        why = f"the deadline passed {late} s ago, at {format_time(case.envelope.deliver_before)}"
        return (Obstacle(why, (f"comity expire 0x{case.id.hex()}",)),)
    found = [*_find_waiting(case, now)]
    if not case.blocks_to_go:
        found += await _find_missing_signatures(case, progress, start_attestor)
    found += await _find_verifier_obstacles(case, progress, now)
    found += await _find_receiver_obstacles(case)
    found += await _find_lane_obstacles(case, now)
    if not found:
        found += await _find_hook_obstacle(case)
    if not found:
        why = "nothing stands in its way: a relayer can deliver it, and has not yet"
        found.append(Obstacle(why, (case.look_again(3), "comity relay run")))
    return tuple(found)


def format_time(seconds: int) -> str:
    """Unix seconds as people read them."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _find_waiting(case: Case, now: int) -> list[Obstacle]:
    found = []
    if case.blocks_to_go:
        origin = case.ends.origin.config
        blocks = f"{case.blocks_to_go} block{'s' if case.blocks_to_go > 1 else ''}"
        again = case.look_again(case.blocks_to_go * origin.block_seconds)
        found.append(Obstacle(f"not final yet on {origin.chain}: {blocks} to go", (again,)))
    left = case.envelope.deliver_after - now
    if left > 0:
        why = f"too early: {left} s to go, until {format_time(case.envelope.deliver_after)}"
        found.append(Obstacle(why, (case.look_again(left),)))
    return found


async def _find_missing_signatures(
    case: Case, progress: Sequence[SetProgress], start_attestor: Callable[[Address], str]
) -> list[Obstacle]:
    verified = sum(1 << entry.index for entry in progress if entry.is_complete)
    unmet = {
        whose: policy
        for whose, policy in (await case.fetch_policies()).items()
        if policy not in (0, TIERED) and not is_satisfied(policy, verified)
    }
    found = []
    for entry in progress:
        asking = [whose for whose, policy in unmet.items() if _mask(policy) >> entry.index & 1]
        if asking and not entry.is_complete:
            policies = " and ".join(f"the {whose}'s policy `{Policy.from_word(unmet[whose])}`" for whose in asking)
            policies = policies.replace("floor's policy", "floor")
            found.append(await _describe_missing(case, entry, policies, start_attestor))
    known = len(case.ends.destination.config.verifiers)
    for whose, policy in unmet.items():
        if _mask(policy) >> known:
            why = f"the {whose}'s policy `{Policy.from_word(policy)}` names a verifier that the configuration lacks"
            found.append(Obstacle(why, ("comity deploy --plan",)))
    return found


async def _describe_missing(
    case: Case, entry: SetProgress, policies: str, start_attestor: Callable[[Address], str]
) -> Obstacle:
    config = case.client.config.sets[entry.name]
    steps: list[str] = []
    lines: list[str] = []
    for member in entry.missing:
        url = config.find_url(member)
        health = await fetch_health(url) if url else None
        lines.append(f"missing 0x{member.hex()}: {_describe_health(url, health)}")
        if health is None and len(steps) < entry.set.threshold - len(entry.signers):
            steps.append(start_attestor(member))
    head = (
        f"verifier {entry.index} ({entry.name}) has {len(entry.signers)} of {entry.set.threshold} signatures; "
        f"needed by {policies}"
    )
    if entry.error and not config.attestors:
        lines.append(entry.error)
    return Obstacle("\n".join([head, *lines]), tuple(steps or [case.look_again(case.ends.origin.config.block_seconds)]))


def _describe_health(url: str | None, health: Health | None) -> str:
    if url is None:
        return "sets.<name>.attestors does not say where it serves"
    if health is None:
        return f"{url} does not answer"
    return f"{url} is {health.status}" + (f": {health.why}" if health.why else ", and has not signed yet")


async def _find_verifier_obstacles(case: Case, progress: Sequence[SetProgress], now: int) -> list[Obstacle]:
    found = []
    for entry in progress:
        record = await case.ask_gate(encode_verifiers(entry.index))
        name = f"verifier {entry.index} ({entry.name})"
        suspended = record >> _SUSPENDED_SHIFT & _MASK_40
        if record == 0:
            found.append(Obstacle(f"{name} is not registered", ("comity deploy --apply",)))
        elif record >> _REVOKED_SHIFT:
            expiry = f"sleep {case.envelope.deliver_before - now + 1}; comity expire 0x{case.id.hex()}"
            found.append(Obstacle(f"{name} is revoked for ever: the envelope will expire", (expiry,)))
        elif suspended > now:
            why = f"a guardian suspended {name} until {format_time(suspended)}"
            found.append(Obstacle(why, (case.look_again(suspended - now),)))
    return found


async def _find_receiver_obstacles(case: Case) -> list[Obstacle]:
    if (await case.fetch_policies())["receiver"] != 0:
        return []
    destination = case.ends.destination
    if await destination.quorum.agree("eth_getCode", case.receiver, "latest") == "0x":
        why = f"nothing stands at the receiver 0x{case.receiver.hex()} on {destination.config.chain}"
        return [Obstacle(f"{why}; correct the address", (f"comity send {_name_ends(case)} <the receiver> …",))]
    policy = shlex.quote(str(Policy.from_word(case.envelope.policy)))
    step = f"comity policy set {_name_ends(case)} 0x{case.receiver.hex()} {policy}"
    return [Obstacle("the receiver has no policy for this lane, so it takes no calls; its owner can set one", (step,))]


async def _find_lane_obstacles(case: Case, now: int) -> list[Obstacle]:
    found = []
    paused = await case.ask_gate(encode_call("lanes(bytes32)", case.ends.lane)) >> _PAUSED_SHIFT & _MASK_40
    if paused > now:
        why = f"a guardian paused the lane until {format_time(paused)}"
        found.append(Obstacle(why, (case.look_again(paused - now),)))
    nonce = case.envelope.depends_on
    if nonce and not await case.ask_gate(encode_mark(case.ends.lane, case.envelope.policy, nonce)):
        found.append(await _describe_dependency(case, nonce, now))
    return found


async def _describe_dependency(case: Case, nonce: int, now: int) -> Obstacle:
    dependency = await case.client.find_nonce(case.ends, nonce, case.block)
    expiry = f"sleep {case.envelope.deliver_before - now + 1}; comity expire 0x{case.id.hex()}"
    if dependency is None:
        return Obstacle(f"it depends on nonce {nonce} of this lane, which its Router does not know", (expiry,))
    envelope_id, envelope = dependency
    if envelope.policy != case.envelope.policy:
        theirs = Policy.from_word(envelope.policy)
        why = f"it depends on nonce {nonce}, whose policy `{theirs}` is another, so that it can never be delivered"
        return Obstacle(why, (expiry,))
    decision = await case.client.find_decision(case.ends, envelope_id)
    if decision is not None and decision.outcome is Outcome.EXPIRED:
        return Obstacle(f"it depends on nonce {nonce}, which expired, so that it can never be delivered", (expiry,))
    return Obstacle(
        f"it depends on nonce {nonce} of this lane, which is undecided", (f"comity trace 0x{envelope_id.hex()}",)
    )


async def _find_hook_obstacle(case: Case) -> list[Obstacle]:
    """Try the hook as the Gate would."""
    destination, receiver = case.ends.destination, case.receiver
    call = encode_receive_message(case.id, case.ends, Address32(case.envelope.sender), case.envelope.payload)
    gas = case.envelope.gas_limit + _TRANSACTION_GAS + len(call) * _CALLDATA_GAS
    try:
        answer = await destination.quorum.vote(
            lambda rpc: rpc.eth_call(receiver, call, sender=destination.config.gate_address, gas=gas)
        )
    except Rejected as error:
        if error.reason.startswith(_ONLY_INSIDE):
            return []
        said = f"reverts: {error.reason}" if error.reason else "reverts without a reason"
    except RpcError as error:
        said = f"fails: {error.message}"
    else:
        if answer == _MAGIC:
            return []
        said = "does not answer with ERC-7786's magic value" if answer else "has no code, or answers nothing"
    if case.envelope.flags & Flags.RETRYABLE:
        fate = (
            f"relayers try again by themselves until {format_time(case.envelope.deliver_before)}; repair it, then look"
        )
    else:
        fate = "delivery will record FAILED"
    return [Obstacle(f"the receiver 0x{receiver.hex()} {said}\n{fate}", (case.look_again(),))]


def _name_ends(case: Case) -> str:
    return f"{case.ends.origin.name} {case.ends.destination.name}"


def _mask(policy: int) -> int:
    if policy in (0, TIERED):
        return 0
    named = Policy.from_word(policy)
    return sum(1 << index for index in named.required | named.optional)
