"""The front door of ERC-7786: attributes, profiles, floors, and the same envelope as the native dispatch."""

import pytest
from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode

from comity.chain.bindings import DISPATCHED, MESSAGE_SENT, compute_selector, encode_call
from comity.core.envelope import Flags, decode
from comity.core.interop_address import InteropAddress
from comity.core.keccak import keccak
from comity.core.types import Address, to_address32
from tests.contracts.chain import DAY, GENESIS, refused
from tests.contracts.world import (
    DESTINATION,
    FIRST,
    ORIGIN,
    OUTSIDER,
    POLICY,
    SECOND,
    SENDER,
    Sent,
    dispatched,
    policy_of,
)

RECEIVER = Address(b"\x4e" * 20)
RECIPIENT = InteropAddress.from_evm(DESTINATION, RECEIVER).encode()
BOTH = policy_of([FIRST, SECOND])
LIFETIME = DAY
DEFAULT = (POLICY, POLICY, 100_000, LIFETIME)
SET_PROFILE = "set_profile(bytes32,(uint256,uint256,uint256,uint256))"
SET_DEFAULT = "set_default_profile(bytes32,(uint256,uint256,uint256,uint256))"

# The selectors of ERC-7985 stand in its text; those of ours are those of their signatures.
CANCELLABLE = bytes.fromhex("de986d7f")
DELIVER_BEFORE = bytes.fromhex("3e97d7ee")
DELIVER_AFTER = bytes.fromhex("745910eb")
RETRY_POLICY = bytes.fromhex("f002c055")
REVERT_BEHAVIOR = bytes.fromhex("9e521a77")
DEPENDS_ON = bytes.fromhex("a9fed7b9")
MIN_GAS_LIMIT = bytes.fromhex("39f87ba1")
POLICY_ATTRIBUTE = compute_selector("policy(uint256)")
RETURN_POLICY = compute_selector("returnPolicy(uint256)")
REFUND_TO = compute_selector("refundTo(address)")
FAILED_SHARE = compute_selector("failedShare(uint16)")
CALLBACK_GAS = compute_selector("callbackGas(uint32)")
SUPPORTED = (
    CANCELLABLE,
    DELIVER_BEFORE,
    DELIVER_AFTER,
    RETRY_POLICY,
    REVERT_BEHAVIOR,
    DEPENDS_ON,
    MIN_GAS_LIMIT,
    POLICY_ATTRIBUTE,
    RETURN_POLICY,
    REFUND_TO,
    FAILED_SHARE,
    CALLBACK_GAS,
)
WORDS = (*SUPPORTED[:3], REVERT_BEHAVIOR, *SUPPORTED[6:])


def attribute(selector, value):
    return selector + value.to_bytes(32, "big")


def dynamic(selector, content):
    return selector + abi_encode(["bytes"], [content])


def depends(*ids):
    return DEPENDS_ON + abi_encode(["bytes32[]"], [ids])


@pytest.fixture
async def router(world):
    """The origin's Router with a default profile towards the destination."""
    await world.origin.act(world.source.authority, SET_DEFAULT, world.lane, DEFAULT)
    return world.source.router


async def send_message(world, *attributes, recipient=RECIPIENT, payload=b"comity", value=0, sender=SENDER):
    calldata = encode_call("sendMessage(bytes,bytes,bytes[])", recipient, payload, list(attributes))
    return await world.origin.send(world.source.router, calldata, value=value, sender=sender)


async def test_send_message_with_no_attributes_uses_the_default_profile(world, router):
    expected = Sent(world.lane).add(
        RECEIVER, flags=Flags.RETRYABLE, gas_limit=100_000, deliver_before=GENESIS + LIFETIME, fee=9
    )
    receipt = await send_message(world, value=9)
    assert dispatched(receipt) == expected.encode()


async def test_send_message_uses_the_senders_own_profile_where_there_is_one(world, router):
    await world.origin.act(router, SET_PROFILE, world.lane, (BOTH, BOTH, 7, 2 * DAY), sender=SENDER)
    own = decode(dispatched(await send_message(world)))
    assert (own.policy, own.return_policy, own.gas_limit) == (BOTH, BOTH, 7)
    assert own.deliver_before == GENESIS + 2 * DAY
    other = decode(dispatched(await send_message(world, sender=OUTSIDER)))
    assert other.policy == POLICY


@pytest.mark.threat("E14")
async def test_send_message_has_no_policy_that_nobody_chose(world):
    with refused("router: no profile for this destination"):
        await send_message(world)


@pytest.mark.threat("E14")
async def test_a_new_default_changes_nothing_for_a_sender_with_a_profile(world, router):
    await world.origin.act(router, SET_PROFILE, world.lane, (BOTH, BOTH, 7, DAY), sender=SENDER)
    await world.origin.act(world.source.authority, SET_DEFAULT, world.lane, (POLICY, POLICY, 1, DAY))
    assert decode(dispatched(await send_message(world))).policy == BOTH


async def test_a_profile_that_is_removed_gives_way_to_the_default(world, router):
    for profile in ((BOTH, BOTH, 7, DAY), (0, 0, 0, 0)):
        await world.origin.act(router, SET_PROFILE, world.lane, profile, sender=SENDER)
    assert decode(dispatched(await send_message(world))).policy == POLICY


async def test_send_message_dispatches_what_the_native_dispatch_does(world, router):
    """The same fields give the same bytes, and so the same id, at the same nonce."""
    deadline = GENESIS + 3 * DAY
    attributes = [
        attribute(CANCELLABLE, 1),
        attribute(DELIVER_BEFORE, deadline),
        attribute(DELIVER_AFTER, GENESIS + 5),
        attribute(REVERT_BEHAVIOR, 1),
        attribute(MIN_GAS_LIMIT, 300_000),
        attribute(POLICY_ATTRIBUTE, BOTH),
        attribute(RETURN_POLICY, 1 << SECOND),
        attribute(REFUND_TO, int.from_bytes(OUTSIDER, "big")),
        attribute(FAILED_SHARE, 250),
        attribute(CALLBACK_GAS, 60_000),
        depends((1).to_bytes(32, "big")),
    ]
    fields = {
        "flags": Flags.CANCELLABLE | Flags.CALLBACK,
        "deliver_before": deadline,
        "deliver_after": GENESIS + 5,
        "gas_limit": 300_000,
        "policy": BOTH,
        "return_policy": 1 << SECOND,
        "refund_to": to_address32(OUTSIDER),
        "failed_share_bps": 250,
        "callback_gas": 60_000,
    }
    native = world.encode_dispatch(RECEIVER, **fields)
    at = 4 + 4 * 32
    terms = int.from_bytes(native[at : at + 32], "big") | 1 << 80
    native = native[:at] + terms.to_bytes(32, "big") + native[at + 32 :]
    await send_message(world)
    async with world.origin.rolled_back():
        front = await send_message(world, *attributes, value=5)
    direct = await world.origin.send(router, native, sender=SENDER, value=5)
    assert dispatched(front) == dispatched(direct)
    assert front.logs[0].topics == direct.logs[0].topics


async def test_send_message_emits_the_standards_event_under_the_envelopes_id(world, router):
    attributes = [attribute(MIN_GAS_LIMIT, 5), attribute(CANCELLABLE, 1)]
    receipt = await send_message(world, *attributes, payload=b"\1" * 1000, value=3)
    [sent] = [log for log in receipt.logs if log.topics[0] == MESSAGE_SENT]
    [envelope] = [log for log in receipt.logs if log.topics[0] == DISPATCHED]
    assert sent.topics == (keccak(b"MessageSent(bytes32,bytes,bytes,bytes,uint256,bytes[])"), keccak(envelope.data))
    sender, recipient, payload, value, listed = abi_decode(["bytes", "bytes", "bytes", "uint256", "bytes[]"], sent.data)
    assert sender == InteropAddress.from_evm(ORIGIN, SENDER).encode()
    assert (recipient, payload, value, list(listed)) == (RECIPIENT, b"\1" * 1000, 0, attributes)
    assert await world.origin.rpc.balance(world.source.router) == 3


async def test_send_message_returns_the_id(world, router):
    calldata = encode_call("sendMessage(bytes,bytes,bytes[])", RECIPIENT, b"", [])
    returned = await world.origin.call(router, calldata, sender=SENDER)
    assert returned == keccak(dispatched(await world.origin.send(router, calldata, sender=SENDER)))


async def test_supports_attribute_names_exactly_what_is_understood(world, router):
    for selector in SUPPORTED:
        assert await world.origin.read(router, "supportsAttribute(bytes4)", selector) == 1
    for selector in (
        bytes(4),
        b"\xff" * 4,
        compute_selector("requestValue(uint256)"),
        compute_selector("fee(uint256)"),
    ):
        assert await world.origin.read(router, "supportsAttribute(bytes4)", selector) == 0
        with refused("router: unsupported attribute"):
            await send_message(world, attribute(selector, 1))


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        (attribute(CANCELLABLE, 1), "flags", Flags.RETRYABLE | Flags.CANCELLABLE),
        (attribute(CANCELLABLE, 0), "flags", Flags.RETRYABLE),
        (attribute(DELIVER_BEFORE, GENESIS + 77), "deliver_before", GENESIS + 77),
        (attribute(DELIVER_AFTER, GENESIS + 77), "deliver_after", GENESIS + 77),
        (attribute(REVERT_BEHAVIOR, 0), "flags", Flags.RETRYABLE),
        (attribute(REVERT_BEHAVIOR, 1), "flags", Flags(0)),
        (dynamic(RETRY_POLICY, b""), "flags", Flags.RETRYABLE),
        (dynamic(RETRY_POLICY, bytes(10)), "flags", Flags(0)),
        (dynamic(RETRY_POLICY, bytes(2) + b"\1" * 8), "flags", Flags(0)),
        (attribute(MIN_GAS_LIMIT, (1 << 32) - 1), "gas_limit", (1 << 32) - 1),
        (attribute(POLICY_ATTRIBUTE, BOTH), "policy", BOTH),
        (attribute(RETURN_POLICY, BOTH), "return_policy", BOTH),
        (attribute(REFUND_TO, 1), "refund_to", to_address32(b"\1")),
        (attribute(REFUND_TO, int.from_bytes(SENDER, "big")), "refund_to", bytes(32)),
        (attribute(FAILED_SHARE, 10_000), "failed_share_bps", 10_000),
        (attribute(CALLBACK_GAS, 5), "callback_gas", 5),
        (attribute(CALLBACK_GAS, 0), "callback_gas", 0),
        (depends(), "depends_on", 0),
        (depends((1).to_bytes(32, "big")), "depends_on", 1),
    ],
    ids=lambda value: value[:4].hex() if isinstance(value, bytes) else str(value),
)
async def test_send_message_applies_each_attribute(world, router, given, field, expected):
    await send_message(world)
    envelope = decode(dispatched(await send_message(world, given)))
    assert getattr(envelope, field) == expected


async def test_send_message_lets_the_last_of_two_attributes_count(world, router):
    twice = [attribute(CALLBACK_GAS, 5), attribute(CALLBACK_GAS, 0)]
    envelope = decode(dispatched(await send_message(world, *twice)))
    assert (envelope.callback_gas, envelope.flags) == (0, Flags.RETRYABLE)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (attribute(CANCELLABLE, 2), "router: unsupported value"),
        (attribute(DELIVER_BEFORE, 0), "router: a deadline is mandatory"),
        (attribute(DELIVER_BEFORE, 1 << 40), "router: a deadline is mandatory"),
        (attribute(DELIVER_BEFORE, GENESIS), "router: deadline has passed"),
        (attribute(DELIVER_BEFORE, GENESIS + 31 * DAY), "router: deadline more than 30 days off"),
        (attribute(DELIVER_AFTER, 1 << 40), "router: unsupported value"),
        (attribute(DELIVER_AFTER, GENESIS + 2 * DAY), "router: delivery after the deadline"),
        (attribute(REVERT_BEHAVIOR, 2), "router: unsupported revertBehavior"),
        (attribute(REVERT_BEHAVIOR, 1 << 255), "router: unsupported revertBehavior"),
        (dynamic(RETRY_POLICY, b"\1" * 9), "router: unsupported retryPolicy"),
        (dynamic(RETRY_POLICY, b"\0\1" + bytes(8)), "router: unsupported retryPolicy"),
        (dynamic(RETRY_POLICY, bytes(40)), "router: unsupported retryPolicy"),
        (attribute(MIN_GAS_LIMIT, 1 << 32), "router: unsupported value"),
        (attribute(POLICY_ATTRIBUTE, 0), "router: policy is not well-formed"),
        (attribute(POLICY_ATTRIBUTE, 1 << 240), "router: policy is not well-formed"),
        (attribute(RETURN_POLICY, 0), "router: return policy is not well-formed"),
        (attribute(RETURN_POLICY, 1 << 7), "router: return policy names an unusable verifier"),
        (attribute(REFUND_TO, 0), "router: unsupported value"),
        (attribute(REFUND_TO, 1 << 160), "router: unsupported value"),
        (attribute(FAILED_SHARE, 10_001), "router: unsupported value"),
        (attribute(CALLBACK_GAS, 1 << 32), "router: unsupported value"),
        (depends((2).to_bytes(32, "big")), "router: depends on a later envelope"),
        (depends((1 << 40).to_bytes(32, "big")), "router: dependsOn takes a nonce of the lane"),
        (depends(bytes(32), bytes(32)), "router: unsupported dependsOn"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:4].hex(),
)
async def test_send_message_refuses_each_unsupported_value(world, router, given, reason):
    with refused(reason):
        await send_message(world, given)


@pytest.mark.threat("C3")
async def test_send_message_refuses_malformed_attributes(world, router):
    for malformed in (b"", b"\xde", CANCELLABLE, *(selector + bytes(31) for selector in WORDS)):
        with refused("router: malformed attribute"):
            await send_message(world, malformed)
    for selector in WORDS:
        with refused("router: malformed attribute"):
            await send_message(world, selector + bytes(33))
    huge, one = b"\xff" * 32, (1).to_bytes(32, "big")
    for selector in (RETRY_POLICY, DEPENDS_ON):
        for content in (b"", bytes(32), one + bytes(32), huge + bytes(32), (32).to_bytes(32, "big")):
            with refused("router: malformed attribute"):
                await send_message(world, selector + content)
    trailing = RETRY_POLICY + (32).to_bytes(32, "big") + bytes(64)
    with refused("router: malformed attribute"):
        await send_message(world, trailing)
    for selector in (RETRY_POLICY, DEPENDS_ON):
        with pytest.raises(Exception, match="unsupported"):
            await send_message(world, selector + (32).to_bytes(32, "big") + huge)


@pytest.mark.parametrize(
    "recipient",
    [
        InteropAddress.from_evm(ORIGIN, RECEIVER).encode(),
        InteropAddress.from_evm(1, RECEIVER).encode(),
    ],
    ids=["own chain", "unknown chain"],
)
async def test_send_message_refuses_a_destination_without_a_lane(world, router, recipient):
    with refused("router: unknown destination"):
        await send_message(world, recipient=recipient)


async def test_send_message_refuses_a_recipient_that_is_no_account(world, router):
    with pytest.raises(Exception, match="address:"):
        await send_message(world, recipient=InteropAddress.from_evm(DESTINATION).encode())


async def test_send_message_holds_the_floor_against_profile_and_attribute(world, router):
    floor = policy_of(threshold=2, optional=[FIRST, SECOND, 3])
    await world.origin.act(world.source.authority, "set_front_floor(bytes32,uint256)", world.lane, floor)
    for attributes in ([], [attribute(POLICY_ATTRIBUTE, policy_of(threshold=1, optional=[FIRST, SECOND]))]):
        with refused("router: policy below the floor"):
            await send_message(world, *attributes)
    envelope = decode(dispatched(await send_message(world, attribute(POLICY_ATTRIBUTE, BOTH))))
    assert envelope.policy == BOTH
    await world.origin.act(world.source.authority, "set_front_floor(bytes32,uint256)", world.lane, 0)
    await send_message(world)


# ------------------------------------------------------------------------------------------------ profiles


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        ((1 << 240, POLICY, 1, DAY), "router: policy is not well-formed"),
        ((POLICY, 0, 1, DAY), "router: return policy is not well-formed"),
        ((POLICY, 1 << 120, 1, DAY), "router: return policy is not well-formed"),
        ((POLICY, POLICY, 1, 0), "router: lifetime beyond 30 days"),
        ((POLICY, POLICY, 1, 30 * DAY + 1), "router: lifetime beyond 30 days"),
        ((POLICY, POLICY, 1 << 32, DAY), "router: unsupported value"),
    ],
    ids=str,
)
async def test_a_profile_that_could_not_send_is_refused(world, profile, reason):
    with refused(reason):
        await world.origin.act(world.source.router, SET_PROFILE, world.lane, profile)
    with refused(reason):
        await world.origin.act(world.source.authority, SET_DEFAULT, world.lane, profile)


async def test_a_profile_needs_an_open_lane(world):
    with refused("router: unknown lane"):
        await world.origin.act(world.source.router, SET_PROFILE, b"\1" * 32, DEFAULT)


@pytest.mark.threat("B13")
async def test_a_profile_is_the_callers_own(world, router):
    await world.origin.act(router, SET_PROFILE, world.lane, (BOTH, BOTH, 7, DAY), sender=OUTSIDER)
    assert decode(dispatched(await send_message(world))).policy == POLICY
