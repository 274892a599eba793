"""Where an envelope is on its way: every stage with its block, time, finality, proof and gas.

Reads the chains by quorum and recovers every signature. Why it is not further: `comity.sdk.obstacles`.
Spec: spec/outcomes.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from comity.chain.bindings import DELIVER, decode_dispatched
from comity.chain.codec import Log, from_hex
from comity.chain.quorum import fetch_final_number
from comity.chain.revert import decode_revert
from comity.core.attestation import decode_proof
from comity.core.delivery import Delivery, decode_body
from comity.core.envelope import Envelope, compute_id, decode
from comity.core.errors import ComityError, Invalid, NotReady
from comity.core.finality import FINALIZED, FinalityRule
from comity.core.policy import Policy, is_satisfied
from comity.core.types import Accumulator, Address, Address32, EnvelopeId, Hash32, Outcome
from comity.sdk.client import Chain, Client, Decision, LaneEnds
from comity.sdk.obstacles import Case, Obstacle, SetProgress, fetch_progress, find_obstacles


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
class Trace:
    """The whole story so far."""

    id: EnvelopeId
    lane: str
    envelope: Envelope
    stages: tuple[Stage, ...]
    outcome: Outcome | None
    obstacles: tuple[Obstacle, ...]


def advise_attestor(member: Address) -> str:
    """What an operator types to start a member's attestor."""
    return f"comity attest run --key <the key file of 0x{member.hex()}>"


async def trace(
    client: Client, identifier: bytes, *, start_attestor: Callable[[Address], str] = advise_attestor
) -> Trace:
    """Tell the story of an envelope, named by its id or by the transaction that dispatched it.

    `start_attestor` says which command starts the attestor of a member. Raises: NotReady when no configured Router
    dispatched it; Unavailable.
    """
    found = await client.find_dispatch(Hash32(identifier))
    if found is None:
        raise await _explain_absence(client, Hash32(identifier))
    ends, log = found
    return await _Tracer(client, ends, log).build(start_attestor)


async def _explain_absence(client: Client, identifier: Hash32) -> NotReady:
    shown = f"0x{identifier.hex()}"
    for chain in client.chains.values():
        transaction = await chain.quorum.agree("eth_getTransactionByHash", identifier)
        if transaction is None:
            continue
        if transaction.get("blockNumber") is None:
            wait = f"sleep {chain.config.block_seconds:.0f}; comity trace {shown}"
            return NotReady("the transaction is in no block yet", next_step=wait, chain=chain.config.chain)
        return NotReady("the transaction dispatched no envelope", chain=chain.config.chain, transaction=identifier)
    names = ", ".join(f"{name} ({chain.config.chain})" for name, chain in client.chains.items())
    return NotReady(f"no Router on {names} dispatched this", next_step="comity doctor", id=identifier)


class _Tracer:
    """One trace in the making."""

    def __init__(self, client: Client, ends: LaneEnds, log: Log) -> None:
        self.client = client
        self.ends = ends
        self.log = log
        encoding = decode_dispatched(log).envelope
        self.id = compute_id(encoding)
        self.envelope = decode(encoding)

    async def build(self, start_attestor: Callable[[Address], str]) -> Trace:
        decision = await self.client.find_decision(self.ends, self.id)
        final, to_go = await self._build_final()
        stages = [await self._build_dispatched(), final]
        obstacles: tuple[Obstacle, ...] = ()
        if decision is None:
            case = Case(self.client, self.ends, self.id, self.envelope, self.log.block_number, to_go)
            progress = await fetch_progress(case)
            stages.append(self._build_attested(progress))
            obstacles = await find_obstacles(case, progress, start_attestor)
        else:
            stages += await self._build_decided(decision)
        outcome = decision.outcome if decision else None
        return Trace(self.id, self.ends.name, self.envelope, tuple(stages), outcome, obstacles)

    async def _build_dispatched(self) -> Stage:
        origin = self.ends.origin
        receipt = await origin.quorum.vote(lambda rpc: rpc.fetch_receipt(self.log.transaction_hash))
        details = {"transaction": self.log.transaction_hash, "gas": receipt.gas_used if receipt else None}
        block = self.log.block_number
        return Stage("dispatched", origin.config.chain, True, block, await _fetch_time(origin, block), details)

    async def _build_final(self) -> tuple[Stage, int]:
        """The strictest rule of the sets that the policy names decides when the origin's block counts."""
        origin = self.ends.origin
        rules = {attestation_set.rule for attestation_set in self._list_sets()} or {FINALIZED}
        numbers = {rule: await _fetch_final(origin, rule) for rule in rules}
        rule, final = min(numbers.items(), key=lambda entry: entry[1])
        to_go = max(0, self.log.block_number - final)
        details = {"rule": str(rule), "blocks_to_go": to_go}
        return Stage("final", origin.config.chain, to_go == 0, final, None, details), to_go

    def _list_sets(self) -> list[Any]:
        named = Policy.from_word(self.envelope.policy)
        sets = self.client.config.list_sets(self.ends.destination.config)
        return [sets[index] for index in sorted(named.required | named.optional) if index < len(sets)]

    def _build_attested(self, progress: Sequence[SetProgress]) -> Stage:
        verified = sum(1 << entry.index for entry in progress if entry.is_complete)
        verifiers = [
            {
                "index": entry.index,
                "set": entry.name,
                "signed": len(entry.signers),
                "threshold": entry.set.threshold,
                "members": len(entry.set.members),
                "signers": list(entry.signers),
                "missing": list(entry.missing),
            }
            for entry in progress
        ]
        is_done = is_satisfied(self.envelope.policy, verified)
        chain = self.ends.destination.config.chain
        return Stage("attested", chain, is_done, None, None, {"verifiers": verifiers})

    async def _build_decided(self, decision: Decision) -> list[Stage]:
        destination = self.ends.destination
        chain = destination.config.chain
        time = await _fetch_time(destination, decision.block)
        stages: list[Stage] = []
        transaction = await destination.quorum.agree("eth_getTransactionByHash", decision.transaction)
        delivery = _decode_delivery(from_hex(transaction["input"]))
        if delivery is not None:
            receipt = await destination.quorum.vote(lambda rpc: rpc.fetch_receipt(decision.transaction))
            gas, run = receipt.gas_used if receipt else 0, len(delivery.entries)
            stages.append(Stage("attested", chain, True, None, None, self._describe_proofs(delivery)))
            details = {"transaction": decision.transaction, "run": run, "gas": gas, "gas_per_entry": gas // run}
            stages.append(Stage("delivered", chain, True, decision.block, time, details))
        failed = decision.outcome is Outcome.FAILED
        details = {
            "outcome": decision.outcome.name.lower(),
            "receipt": decision.position,
            "beneficiary": decision.beneficiary[12:],
            "result": decision.result,
            "reason": (decode_revert(decision.result) or "without a reason") if failed else None,
            "transaction": decision.transaction,
        }
        return [*stages, Stage("decided", chain, True, decision.block, time, details)]

    def _describe_proofs(self, delivery: Delivery) -> dict[str, Any]:
        sets = [verifier.set for verifier in self.ends.destination.config.verifiers]
        return {
            "verifiers": [
                {
                    "index": index,
                    "set": sets[index] if index < len(sets) else None,
                    "proof_bytes": len(proof),
                    **_describe_proof(proof),
                }
                for index, proof in sorted(delivery.proofs.items())
            ]
        }


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
    if calldata[:4] != DELIVER:
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
