"""What Router, Gate and Attestation understand: calldata, events, storage slots and revert strings.

Trusts nobody: a log is decoded by its exact layout or refused. The emitter is the follower's business, which asks for
one address only. Spec sections 2, 6 and 7; twins: Router.vy, Gate.vy and verifiers/Attestation.vy of contracts/.

Calldata with dynamic parts is written by hand, not by eth-abi: a run of a hundred envelopes is encoded in microseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from eth_abi.abi import encode as _abi_encode

from comity.chain.codec import Log
from comity.core.errors import ComityError, Invalid, NotReady, Rejected
from comity.core.keccak import keccak
from comity.core.lane import MAX_NONCE
from comity.core.types import (
    Accumulator,
    Address,
    Address32,
    ChainId,
    EnvelopeId,
    Hash32,
    Lane,
    Outcome,
    Word,
    to_address32,
)


def compute_selector(signature: str) -> bytes:
    """First four bytes of the keccak-256 of a canonical signature."""
    return keccak(signature.encode())[:4]


def compute_topic(signature: str) -> Hash32:
    """Topic 0 of an event."""
    return Hash32(keccak(signature.encode()))


# ------------------------------------------------------------------------------------------------------------ calldata

_DISPATCH_ARGUMENTS: Final = "(bytes32,bytes32,uint256,uint256,uint256,uint256,bytes)"
DISPATCH: Final = compute_selector("dispatch" + _DISPATCH_ARGUMENTS)
SEND_MESSAGE: Final = compute_selector("sendMessage(bytes,bytes,bytes[])")
DELIVER: Final = compute_selector("deliver(uint256,bytes32,bytes)")
EXPIRE: Final = compute_selector("expire(bytes,bytes32)")
SNAPSHOT: Final = compute_selector("snapshot(bytes32)")
WORDS: Final = compute_selector("words(bytes32)")
SNAPSHOTS: Final = compute_selector("snapshots(bytes32,uint256)")
MARK: Final = compute_selector("mark(bytes32,uint256,uint256)")
STATUS: Final = compute_selector("status(bytes32)")
VERIFIERS: Final = compute_selector("verifiers(uint256)")
POLICY_OF: Final = compute_selector("policy_of(bytes32,address)")
LANE_TO: Final = compute_selector("lane_to(uint256)")
LANE_FROM: Final = compute_selector("lane_from(uint256)")
SET_POLICY: Final = compute_selector("set_policy(bytes32,address,uint256)")
SUPPORTS_ATTRIBUTE: Final = compute_selector("supportsAttribute(bytes4)")


def encode_call(signature: str, *values: object) -> bytes:
    """Encode any call by its canonical signature; for cold paths such as deployment and administration."""
    types = _split_types(signature[signature.index("(") + 1 : -1])
    return compute_selector(signature) + bytes(_abi_encode(types, values))


def encode_dispatch(
    *,
    lane: Lane,
    receiver: Address32,
    policy: int,
    return_policy: int,
    refund_to: Address,
    terms: int,
    settlement: int,
    tail: bytes,
) -> bytes:
    """Encode `dispatch`; a zero `refund_to` means the caller, `settlement` is `core.envelope.compute_settlement`'s."""
    words = (policy, return_policy, terms, settlement << 160 | int.from_bytes(refund_to, "big"), 7 * 32)
    return DISPATCH + lane + receiver + b"".join(_word(value) for value in words) + _tail(tail)


def encode_deliver(before: Accumulator, beneficiary: Address32, body: bytes) -> bytes:
    """Encode `deliver`; a zero beneficiary means the caller."""
    return DELIVER + _word(before) + beneficiary + _word(3 * 32) + _tail(body)


def encode_expire(envelope: bytes, beneficiary: Address32) -> bytes:
    """Encode `expire`; a zero beneficiary means the caller."""
    return EXPIRE + _word(2 * 32) + beneficiary + _tail(envelope)


def encode_snapshot(lane: Lane) -> bytes:
    """Encode `snapshot`, of Router and Gate alike."""
    return SNAPSHOT + lane


def encode_words(lane: Lane) -> bytes:
    """Encode the view `words`, of Router and Gate alike."""
    return WORDS + lane


def encode_snapshots(lane: Lane, nonce: int) -> bytes:
    """Encode the view `snapshots`, of Router and Gate alike."""
    return SNAPSHOTS + lane + _word(nonce)


def encode_mark(lane: Lane, policy: int, nonce: int) -> bytes:
    """Encode the Gate's view `mark`."""
    return MARK + lane + _word(policy) + _word(nonce)


def encode_status(envelope_id: EnvelopeId) -> bytes:
    """Encode the Gate's view `status`."""
    return STATUS + envelope_id


def encode_policy_of(lane: Lane, receiver: Address) -> bytes:
    """Encode the Gate's view `policy_of`."""
    return POLICY_OF + lane + _address(receiver)


def encode_verifiers(index: int) -> bytes:
    """Encode the Gate's view `verifiers`."""
    return VERIFIERS + _word(index)


def encode_set_policy(lane: Lane, receiver: Address, policy: int) -> bytes:
    """Encode the Gate's `set_policy`."""
    return SET_POLICY + lane + _address(receiver) + _word(policy)


# ------------------------------------------------------------------------------------------------------- storage slots

WORDS_SLOT: Final = 0
SNAPSHOTS_SLOT: Final = 1


def compute_word_slot(lane: Lane) -> Hash32:
    """Storage slot of `words[lane]`: Vyper hashes the slot before the key."""
    return Hash32(keccak(_word(WORDS_SLOT) + lane))


def compute_snapshot_slot(lane: Lane, nonce: int) -> Hash32:
    """Storage slot of `snapshots[lane][nonce]`."""
    return Hash32(keccak(keccak(_word(SNAPSHOTS_SLOT) + lane) + _word(nonce)))


# -------------------------------------------------------------------------------------------------------------- events

DISPATCHED: Final = compute_topic("Dispatched(bytes32,uint256,bytes32,bytes32,bytes32,uint256,uint256,bytes32)")
MESSAGE_SENT: Final = compute_topic("MessageSent(bytes32,bytes,bytes,bytes,uint256,bytes[])")
LANE_OPENED: Final = compute_topic("LaneOpened(bytes32,uint256,bytes32)")
SNAPSHOTTED: Final = compute_topic("Snapshotted(bytes32,uint256)")
DECIDED: Final = compute_topic("Decided(bytes32,uint256)")
REPLIED: Final = compute_topic("Replied(bytes32,bytes)")
FAILED: Final = compute_topic("Failed(bytes32,bytes)")


@dataclass(frozen=True, slots=True)
class Dispatched:
    """An envelope left the Router; `envelope` is its encoding (not yet checked against the id)."""

    id: EnvelopeId
    lane: Lane
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Decided:
    """The Gate recorded an outcome; `position` is the receipt's place in the lane's receipts."""

    origin: ChainId
    """Names the lane: a Gate has one from each origin."""
    id: EnvelopeId
    outcome: Outcome
    position: int
    beneficiary: Address32


@dataclass(frozen=True, slots=True)
class Result:
    """Return bytes of an envelope: `Replied` when the receiver answered, `Failed` with the reason of its failure."""

    id: EnvelopeId
    content: bytes


@dataclass(frozen=True, slots=True)
class Snapshotted:
    """A word was kept."""

    lane: Lane
    word: Word


def decode_dispatched(log: Log) -> Dispatched:
    """Decode a Router's `Dispatched`.

    Raises:
        Invalid: the log has another layout.
    """
    _expect(log, DISPATCHED, 2)
    envelope = log.data
    return Dispatched(EnvelopeId(log.topics[1]), Lane(envelope[32:64]), envelope)


def decode_decided(log: Log) -> Decided:
    """Decode a Gate's `Decided`.

    Raises:
        Invalid: the log has another layout, or an unknown outcome.
    """
    _expect(log, DECIDED, 2)
    if len(log.data) != 32:
        raise Invalid("Decided carries one word", length=len(log.data))
    receipt = int.from_bytes(log.data, "big")
    try:
        outcome = Outcome(receipt & 0xFF)
    except ValueError as error:
        raise Invalid("unknown outcome", outcome=receipt & 0xFF) from error
    beneficiary = to_address32((receipt >> 48 & (1 << 160) - 1).to_bytes(20, "big"))
    position = receipt >> 8 & MAX_NONCE
    return Decided(ChainId(receipt >> 208), EnvelopeId(log.topics[1]), outcome, position, beneficiary)


def decode_result(log: Log) -> Result:
    """Decode a Gate's `Replied` or `Failed`.

    Raises:
        Invalid: the log has another layout.
    """
    if len(log.topics) != 2 or log.topics[0] not in (REPLIED, FAILED):
        raise Invalid("neither Replied nor Failed", topics=len(log.topics))
    return Result(EnvelopeId(log.topics[1]), _read_bytes(log.data))


def decode_snapshotted(log: Log) -> Snapshotted:
    """Decode the `Snapshotted` of Router and Gate alike.

    Raises:
        Invalid: the log has another layout.
    """
    _expect(log, SNAPSHOTTED, 2)
    if len(log.data) != 32:
        raise Invalid("Snapshotted carries one word", length=len(log.data))
    return Snapshotted(Lane(log.topics[1]), Word(int.from_bytes(log.data, "big")))


# ------------------------------------------------------------------------------------------------------------- reverts


class Branch(StrEnum):
    """What an agent does about a revert."""

    RACE = "race"  # somebody was first: learn the outcome, count a success
    WAIT = "wait"  # comes right by itself: ask again later, no attempt spent
    RETRY = "retry"  # the receiver fails: back off exponentially
    REPROVE = "reprove"  # a verifier refuses the proof: fetch another
    REGAS = "regas"  # give more gas, or a shorter run
    DROP = "drop"  # wrong for ever: isolate the envelope and alert
    PAUSE = "pause"  # the lane or a verifier is stopped for a while: ask again later
    HALT = "halt"  # deployment and configuration disagree: stop the lane and alert


@dataclass(frozen=True, slots=True)
class Revert:
    """How a revert string is understood: the error class it becomes, and the branch to take."""

    error: type[ComityError]
    branch: Branch


REVERTS: Final[Mapping[str, Revert]] = {
    "gate: already delivered": Revert(Rejected, Branch.RACE),
    "gate: too early": Revert(NotReady, Branch.WAIT),
    "gate: deadline passed": Revert(NotReady, Branch.WAIT),
    "gate: deadline not passed": Revert(NotReady, Branch.WAIT),
    "gate: policy not satisfied": Revert(NotReady, Branch.WAIT),
    "gate: receiver has no policy": Revert(NotReady, Branch.WAIT),
    "gate: dependency undecided": Revert(NotReady, Branch.WAIT),
    "gate: not supported yet": Revert(NotReady, Branch.WAIT),
    "gate: valuation failed": Revert(NotReady, Branch.RETRY),
    "gate: receiver failed": Revert(NotReady, Branch.RETRY),
    "gate: more gas needed": Revert(NotReady, Branch.REGAS),
    "gate: lane paused": Revert(NotReady, Branch.PAUSE),
    "gate: verifier suspended": Revert(NotReady, Branch.PAUSE),
    "gate: verifier revoked": Revert(Rejected, Branch.PAUSE),
    "gate: verifier retired": Revert(Rejected, Branch.PAUSE),
    "gate: unknown verifier": Revert(Rejected, Branch.PAUSE),
    "gate: verifier refused": Revert(Rejected, Branch.REPROVE),
    "gate: malformed envelope": Revert(Invalid, Branch.DROP),
    "gate: envelope or proof too long": Revert(Invalid, Branch.DROP),
    "gate: malformed run": Revert(Invalid, Branch.HALT),
    "gate: malformed body": Revert(Invalid, Branch.HALT),
    "gate: proofs not ascending": Revert(Invalid, Branch.HALT),
    "gate: malformed beneficiary": Revert(Invalid, Branch.HALT),
    "gate: unknown lane": Revert(Invalid, Branch.HALT),
    "gate: wrong chain": Revert(Invalid, Branch.HALT),
}
"""Every revert string on which an agent acts."""

_REPROVE: Final = Revert(Rejected, Branch.REPROVE)
_UNKNOWN: Final = Revert(Rejected, Branch.RETRY)


def classify_revert(reason: str) -> Revert:
    """Find what to do about a revert reason; an unknown one is retried with backoff, never dropped.

    A verifier's own strings start with its name; whatever it dislikes, another proof is the remedy.
    """
    known = REVERTS.get(reason)
    if known is not None:
        return known
    return _REPROVE if reason.startswith("attestation: ") else _UNKNOWN


# ------------------------------------------------------------------------------------------------------------ encoding


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _address(address: Address) -> bytes:
    return address.rjust(32, b"\0")


def _tail(content: bytes) -> bytes:
    return _word(len(content)) + content + bytes(-len(content) % 32)


def _expect(log: Log, topic: Hash32, count: int) -> None:
    if len(log.topics) != count or log.topics[0] != topic:
        raise Invalid("another event", expected=topic, topics=len(log.topics))


def _read_bytes(data: bytes) -> bytes:
    """Read the only argument of a log or error, `bytes` or `string`, refusing any but the canonical encoding."""
    if len(data) < 64 or int.from_bytes(data[:32], "big") != 32:
        raise Invalid("not the encoding of one dynamic value", length=len(data))
    length = int.from_bytes(data[32:64], "big")
    if len(data) != 64 + length + -length % 32:
        raise Invalid("dynamic value of another length", declared=length, length=len(data))
    return data[64 : 64 + length]


def _split_types(types: str) -> list[str]:
    """Split `uint256,(bytes32,bytes)[],bytes` at the commas outside parentheses."""
    parts: list[str] = []
    depth = start = 0
    for position, character in enumerate(types):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(types[start:position])
            start = position + 1
    return [*parts, types[start:]] if types else []


def decode_uint(data: bytes) -> int:
    """Read the answer of a view that returns one word.

    Raises:
        Invalid: the answer has another length (no contract lives there).
    """
    if len(data) != 32:
        raise Invalid("the view did not answer with one word", length=len(data))
    return int.from_bytes(data, "big")
