"""The bindings against the contracts: selectors, topics, slots, and every revert string that an agent can meet."""

import re
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode

from comity.chain import bindings
from comity.chain.bindings import (
    REVERTS,
    Branch,
    classify_revert,
    compute_selector,
    compute_snapshot_slot,
    compute_topic,
    compute_word_slot,
    decode_decided,
    decode_dispatched,
    decode_result,
    decode_snapshotted,
    decode_uint,
    encode_call,
    encode_deliver,
    encode_dispatch,
    encode_expire,
    encode_mark,
    encode_set_policy,
)
from comity.chain.codec import Log
from comity.compiler import CONTRACTS, load_artifact
from comity.core.envelope import Envelope, Flags
from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.types import (
    Accumulator,
    Address,
    Address32,
    EnvelopeId,
    Gas,
    Hash32,
    Lane,
    Outcome,
    Seconds,
    to_address32,
)

LANE = Lane(b"\x01" * 32)
RECEIVER = Address(b"\x33" * 20)
BENEFICIARY = to_address32(b"\x44" * 20)
ID = EnvelopeId(b"\x07" * 32)

# What only owners, guardians, receivers inside a hook, or the deployer can meet: no agent acts on these.
NOT_FOR_AGENTS = {
    "gate: zero address",
    "gate: zero receiver",
    "gate: only the gate",
    "gate: not the authority",
    "gate: not the next index",
    "gate: an index never changes its meaning",
    "gate: zero verifier",
    "gate: a pause ends within 7 days",
    "gate: no hook is running",
    "gate: no hook of this receiver is running",
    "gate: empty reply",
    "gate: receiver did not acknowledge",
    "gate: nothing to keep",
    "gate: no such origin",
    "gate: lane is open",
    "gate: malformed beneficiary",
    "gate: policy is not well-formed",
    "gate: tiers start at 0",
    "gate: tiers not ascending",
    "gate: not the receiver or its owner",
}


def list_signatures(kind: str) -> set[str]:
    """Canonical signatures of all functions or events of the contracts."""
    entries = [entry for name in ("Router", "Gate", "Authority", "Attestation") for entry in load_artifact(name).abi]
    return {
        f"{entry['name']}({','.join(format_type(item) for item in entry['inputs'])})"
        for entry in entries
        if entry["type"] == kind
    }


def format_type(parameter: dict[str, Any]) -> str:
    if not parameter["type"].startswith("tuple"):
        return str(parameter["type"])
    inner = ",".join(format_type(item) for item in parameter["components"])
    return f"({inner}){parameter['type'].removeprefix('tuple')}"


def build_log(topics: list[bytes], data: bytes) -> Log:
    return Log(
        address=RECEIVER,
        topics=tuple(Hash32(topic) for topic in topics),
        data=data,
        block_number=1,
        block_hash=Hash32(bytes(32)),
        transaction_hash=Hash32(bytes(32)),
        transaction_index=0,
        log_index=0,
    )


def list_constants(kind: int) -> dict[str, bytes]:
    return {
        name: value
        for name, value in vars(bindings).items()
        if name.isupper() and isinstance(value, bytes) and len(value) == kind
    }


def test_every_selector_is_a_function_of_the_contracts() -> None:
    known = {compute_selector(signature) for signature in list_signatures("function")}
    strangers = {name for name, selector in list_constants(4).items() if selector not in known}
    assert strangers == set()


def test_every_topic_is_an_event_of_the_contracts() -> None:
    known = {compute_topic(signature) for signature in list_signatures("event")}
    strangers = {name for name, topic in list_constants(32).items() if topic not in known}
    assert strangers == set()


def test_every_revert_string_that_an_agent_can_meet_is_registered() -> None:
    sources = [CONTRACTS / "Gate.vy", *(CONTRACTS / "parts").glob("receiver_policies.vy")]
    found = {text for source in sources for text in re.findall(r'"(gate: [^"]+)"', source.read_text())}
    assert found - NOT_FOR_AGENTS - REVERTS.keys() == set(), "decide what agents do about these"
    assert REVERTS.keys() - found == set(), "no contract says these"
    assert NOT_FOR_AGENTS - found == set(), "no contract says these"


def test_a_verifiers_own_refusal_asks_for_another_proof() -> None:
    assert classify_revert("attestation: set expired").branch is Branch.REPROVE


def test_an_unknown_reason_is_retried_and_never_dropped() -> None:
    assert classify_revert("something new").branch is Branch.RETRY
    assert classify_revert("").branch is Branch.RETRY


def test_deliver_is_encoded_as_the_abi_says() -> None:
    body = bytes(range(45))
    expected = abi_encode(["uint256", "bytes32", "bytes"], [5, BENEFICIARY, body])
    assert encode_deliver(Accumulator(5), BENEFICIARY, body)[4:] == expected


def test_expire_is_encoded_as_the_abi_says() -> None:
    expected = abi_encode(["bytes", "bytes32"], [b"\x01" * 250, BENEFICIARY])
    assert encode_expire(b"\x01" * 250, BENEFICIARY)[4:] == expected


def test_dispatch_is_encoded_as_the_abi_says() -> None:
    encoded = encode_dispatch(
        lane=LANE,
        receiver=to_address32(RECEIVER),
        policy=1,
        return_policy=2,
        refund_to=RECEIVER,
        terms=3,
        settlement=7 << 32 | 9,
        tail=b"payload",
    )
    kinds = ["bytes32", "bytes32", "uint256", "uint256", "uint256", "uint256", "bytes"]
    settlement = 7 << 192 | 9 << 160 | int.from_bytes(RECEIVER, "big")
    values = [LANE, to_address32(RECEIVER), 1, 2, 3, settlement, b"payload"]
    assert encoded[4:] == abi_encode(kinds, values)


@pytest.mark.parametrize(
    ("encoded", "signature", "values"),
    [
        (encode_mark(LANE, 3, 4), "mark(bytes32,uint256,uint256)", [LANE, 3, 4]),
        (encode_set_policy(LANE, RECEIVER, 3), "set_policy(bytes32,address,uint256)", [LANE, RECEIVER, 3]),
    ],
)
def test_views_are_encoded_as_the_abi_says(encoded: bytes, signature: str, values: list[Any]) -> None:
    assert encoded == encode_call(signature, *values)


def test_a_call_with_tuples_and_arrays_is_split_at_the_right_commas() -> None:
    signature = "f(uint256,(address,uint256)[],bytes)"
    values = [1, [(RECEIVER, 2)], b"x"]
    assert encode_call(signature, *values)[4:] == abi_encode(["uint256", "(address,uint256)[]", "bytes"], values)


def test_slots_are_vypers() -> None:
    assert compute_word_slot(LANE) == keccak(bytes(32) + LANE)
    inner = keccak((1).to_bytes(32, "big") + LANE)
    assert compute_snapshot_slot(LANE, 64) == keccak(inner + (64).to_bytes(32, "big"))


def test_a_dispatched_log_gives_the_envelope() -> None:
    envelope = Envelope(
        lane=LANE,
        nonce=1,
        flags=Flags.RETRYABLE,
        sender=BENEFICIARY,
        receiver=to_address32(RECEIVER),
        deliver_before=Seconds(9),
        gas_limit=Gas(1),
        policy=1,
        return_policy=1,
        refund_to=Address32(bytes(32)),
        payload=b"hello",
    )
    found = decode_dispatched(build_log([bindings.DISPATCHED, envelope.id], envelope.encode()))
    assert (found.id, found.lane, found.envelope) == (envelope.id, LANE, envelope.encode())


def test_a_decided_log_gives_all_its_fields() -> None:
    receipt = 31337 << 208 | int.from_bytes(BENEFICIARY, "big") << 48 | 77 << 8 | Outcome.FAILED
    found = decode_decided(build_log([bindings.DECIDED, ID], receipt.to_bytes(32, "big")))
    assert (found.origin, found.id, found.outcome, found.position) == (31337, ID, Outcome.FAILED, 77)
    assert found.beneficiary == BENEFICIARY


@pytest.mark.parametrize("outcome", [0, 6, 255])
def test_an_unknown_outcome_is_refused(outcome: int) -> None:
    with pytest.raises(Invalid, match="outcome"):
        decode_decided(build_log([bindings.DECIDED, ID], outcome.to_bytes(32, "big")))


@pytest.mark.parametrize(
    ("topics", "data"),
    [
        ([bindings.DECIDED], bytes(32)),
        ([bindings.DECIDED, ID, ID], bytes(32)),
        ([bindings.REPLIED, ID], bytes(32)),
        ([bindings.DECIDED, ID], bytes(31)),
        ([bindings.DECIDED, ID], bytes(33)),
    ],
)
def test_a_decided_log_of_another_layout_is_refused(topics: list[bytes], data: bytes) -> None:
    with pytest.raises(Invalid):
        decode_decided(build_log(topics, data))


@pytest.mark.parametrize("topic", [bindings.REPLIED, bindings.FAILED])
@pytest.mark.parametrize("content", [b"", b"x", bytes(32), bytes(100)])
def test_a_result_is_read_back(topic: bytes, content: bytes) -> None:
    found = decode_result(build_log([topic, ID], abi_encode(["bytes"], [content])))
    assert (found.id, found.content) == (ID, content)


@pytest.mark.parametrize(
    "data", [b"", bytes(64)[:63], (32).to_bytes(32, "big") + (5).to_bytes(32, "big"), bytes(31) + b"\x40" + bytes(64)]
)
def test_a_result_of_another_layout_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        decode_result(build_log([bindings.REPLIED, ID], data))


def test_a_snapshot_gives_lane_and_word() -> None:
    found = decode_snapshotted(build_log([bindings.SNAPSHOTTED, LANE], (5).to_bytes(32, "big")))
    assert (found.lane, found.word) == (LANE, 5)


def test_no_answer_is_not_zero() -> None:
    with pytest.raises(Invalid):
        decode_uint(b"")
