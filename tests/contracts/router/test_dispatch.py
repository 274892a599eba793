"""`dispatch`: the envelope that leaves is the one that was asked for, in its place, or nothing leaves."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.chain.bindings import encode_dispatch
from comity.core.envelope import REFUND_TO_SENDER, Envelope, Flags, compute_settlement, compute_terms, decode
from comity.core.keccak import keccak
from comity.core.lane import compute_seed, extend, pack_word
from comity.core.types import Address, Direction, to_address32
from tests.contracts.chain import DAY, GAS, GENESIS, refused
from tests.contracts.world import (
    ATTESTATION,
    DEADLINE,
    FIRST,
    OUTSIDER,
    POLICY,
    SECOND,
    SENDER,
    THIRD,
    Sent,
    dispatched,
    policy_of,
)

RECEIVER = Address(b"\x4e" * 20)
ETHER = 10**18
DISPATCH = "dispatch(bytes32,bytes32,uint256,uint256,uint256,uint256,bytes)"
HIGH_BITS = {
    "version": 1 << 248,
    "VIEW": 1 << 240,
    "FILLABLE": 2 << 240,
    "CANCEL": 32 << 240,
    "LAST_RESORT": 64 << 240,
    "unknown flag": 128 << 240,
    "nonce": 1 << 200,
    "assets": 1 << 40,
    "conditions": 1 << 32,
    "payload length": 1,
}
TERMS = DEADLINE << 120 | 100_000 << 48


async def dispatch(world, *, sender=SENDER, value=0, **arguments):
    """Dispatch with raw arguments. Raises: Rejected."""
    defaults = {
        "lane": world.lane,
        "receiver": to_address32(RECEIVER),
        "policy": POLICY,
        "return_policy": POLICY,
        "refund_to": Address(bytes(20)),
        "terms": TERMS,
        "settlement": 0,
        "tail": b"",
    }
    calldata = encode_dispatch(**(defaults | arguments))
    return await world.origin.send(world.source.router, calldata, sender=sender, value=value)


async def read_word(world):
    return await world.origin.read(world.source.router, "words(bytes32)", world.lane)


async def test_dispatch_emits_the_canonical_envelope_with_the_senders_own_name(world):
    receipt = await dispatch(world, tail=b"comity", value=ETHER)
    envelope = decode(dispatched(receipt))
    assert envelope == Envelope(
        lane=world.lane,
        nonce=1,
        sender=to_address32(SENDER),
        receiver=to_address32(RECEIVER),
        deliver_before=DEADLINE,
        gas_limit=100_000,
        policy=POLICY,
        return_policy=POLICY,
        fee=ETHER,
        payload=b"comity",
    )
    assert envelope.encode() == dispatched(receipt)


async def test_dispatch_returns_and_indexes_the_id(world):
    calldata = world.encode_dispatch(RECEIVER)
    returned = await world.origin.call(world.source.router, calldata, sender=SENDER)
    receipt = await world.origin.send(world.source.router, calldata, sender=SENDER)
    assert returned == keccak(dispatched(receipt)) == receipt.logs[0].topics[1]


async def test_dispatch_extends_the_lane(world):
    accumulator = compute_seed(world.lane, Direction.DISPATCHES)
    assert await read_word(world) == pack_word(0, accumulator)
    for nonce in (1, 2, 3):
        envelope = dispatched(await dispatch(world, tail=bytes([nonce])))
        accumulator = extend(accumulator, keccak(envelope))
        assert await read_word(world) == pack_word(nonce, accumulator)
        assert decode(envelope).nonce == nonce


async def test_dispatch_keeps_every_64th_word(world):
    for nonce in range(1, 66):
        await dispatch(world)
        if nonce == 64:
            word = await read_word(world)
    kept = [
        await world.origin.read(world.source.router, "snapshots(bytes32,uint256)", world.lane, nonce)
        for nonce in range(1, 66)
    ]
    assert kept == [0] * 63 + [word] + [0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {
            "flags": st.sampled_from([0, 4, 8, 12, 16, 20, 24, 28]),
            "deliver_after": st.integers(0, DEADLINE),
            "deliver_before": st.integers(DEADLINE, GENESIS + 30 * DAY),
            "gas_limit": st.integers(0, (1 << 32) - 1),
            "policy": st.sampled_from([POLICY, policy_of([THIRD], 1, [40, 119]), (1 << 120) - 1]),
            "return_policy": st.sampled_from([POLICY, policy_of([SECOND], 1, [ATTESTATION, FIRST])]),
            "failed_share_bps": st.integers(0, 10_000),
            "callback_gas": st.integers(1, (1 << 32) - 1),
            "refund_to": st.sampled_from([REFUND_TO_SENDER, to_address32(OUTSIDER), to_address32(RECEIVER)]),
            "payload": st.binary(max_size=1024),
        }
    ),
    st.integers(0, 1 << 100),
)
async def test_dispatch_writes_every_field_as_the_python_twin_does(world, fields, fee):
    fields["flags"] = Flags(fields["flags"])
    if Flags.CALLBACK not in fields["flags"]:
        fields["callback_gas"] = 0
    async with world.origin.rolled_back():
        await dispatch(world)
        sent = Sent(world.lane, start=1)
        expected = sent.add(RECEIVER, fee=fee, **fields)
        receipt = await dispatch(
            world,
            policy=expected.policy,
            return_policy=expected.return_policy,
            refund_to=Address(expected.refund_to[12:]),
            terms=compute_terms(expected),
            settlement=compute_settlement(expected),
            tail=expected.payload,
            value=fee,
        )
        assert dispatched(receipt) == expected.encode()


async def test_dispatch_writes_the_senders_own_refund_account_as_zero(world):
    """One meaning, one encoding."""
    for refund_to in (Address(bytes(20)), SENDER):
        assert decode(dispatched(await dispatch(world, refund_to=refund_to))).refund_to == REFUND_TO_SENDER
    other = await dispatch(world, refund_to=OUTSIDER)
    assert decode(dispatched(other)).refund_to == to_address32(OUTSIDER)


@pytest.mark.threat("A1")
async def test_dispatch_refuses_a_lane_that_nobody_opened(world):
    for lane in (bytes(32), b"\1" * 32):
        with refused("router: unknown lane"):
            await dispatch(world, lane=lane)


@pytest.mark.threat("C12")
@pytest.mark.parametrize("receiver", [bytes(32), b"\1" * 32, bytes(11) + b"\1" + bytes(20), bytes(12) + b"\xff" * 20])
async def test_dispatch_refuses_a_receiver_that_the_gate_could_not_call(world, receiver):
    expected = receiver == bytes(12) + b"\xff" * 20
    if expected:
        await dispatch(world, receiver=receiver)
        return
    with refused("router: receiver is not an address"):
        await dispatch(world, receiver=receiver)


@pytest.mark.threat("B4")
@pytest.mark.parametrize(
    "word", [0, 1 << 120, 1 << 240, 1 << 240 | 1, 1 << 240 | 1 << 120 | 1, 2 << 240 | 1 << 120, (1 << 256) - 1], ids=hex
)
async def test_dispatch_refuses_an_ill_formed_policy(world, word):
    with refused("router: policy is not well-formed"):
        await dispatch(world, policy=word)
    with refused("router: return policy is not well-formed"):
        await dispatch(world, return_policy=word)


@pytest.mark.parametrize(
    "word",
    [1 << 4, POLICY | 1 << 119, policy_of([FIRST], 1, [SECOND, 5]), policy_of(threshold=1, optional=[119])],
    ids=hex,
)
async def test_dispatch_refuses_a_return_policy_that_the_own_gate_does_not_know(world, word):
    with refused("router: return policy names an unusable verifier"):
        await dispatch(world, return_policy=word)


@pytest.mark.parametrize("act", ["retire(uint256)", "revoke(uint256)"])
async def test_dispatch_refuses_a_return_policy_that_names_a_verifier_no_longer_usable(world, act):
    await world.origin.act(world.source.authority, act, FIRST)
    for word in (POLICY, policy_of([SECOND], 1, [FIRST, THIRD])):
        with refused("router: return policy names an unusable verifier"):
            await dispatch(world, return_policy=word)
    await dispatch(world, return_policy=1 << SECOND)


async def test_dispatch_refuses_a_return_policy_that_names_a_suspended_verifier(world):
    await world.origin.act(world.source.authority, "set_guardian(address,bool)", OUTSIDER, True)
    await world.origin.act(world.source.authority, "suspend(uint256,uint256)", FIRST, DAY, sender=OUTSIDER)
    with refused("router: return policy names an unusable verifier"):
        await dispatch(world)
    await world.origin.warp(GENESIS + DAY)
    await world.origin.act(world.source.authority, "refresh()", sender=OUTSIDER)
    await dispatch(world)


@pytest.mark.parametrize("bit", HIGH_BITS.values(), ids=HIGH_BITS)
async def test_dispatch_refuses_terms_that_are_the_routers_or_nobodys(world, bit):
    with refused("router: malformed or unsupported terms"):
        await dispatch(world, terms=TERMS | bit)


async def test_dispatch_refuses_each_single_bit_that_the_sender_must_leave_zero(world):
    free = 0b00011100 << 240 | (1 << 160) - 1 << 48 & ~((1 << 40) - 1 << 200)
    refusals = []
    for bit in range(256):
        calldata = world.encode_dispatch(RECEIVER)
        at = 4 + 4 * 32
        terms = int.from_bytes(calldata[at : at + 32], "big") | 1 << bit
        changed = calldata[:at] + terms.to_bytes(32, "big") + calldata[at + 32 :]
        refusals.append(
            ("eth_call", [{"from": SENDER, "to": world.source.router, "data": changed, "gas": hex(GAS)}, "latest"])
        )
    answers = await world.origin.rpc.batch(refusals, return_exceptions=True)
    for bit, answer in enumerate(answers):
        forbidden = getattr(answer, "reason", "") == "router: malformed or unsupported terms"
        assert forbidden == (not free >> bit & 1), bit


async def test_dispatch_demands_a_deadline_ahead_and_within_thirty_days(world):
    for deadline, reason in (
        (0, "router: deadline has passed"),
        (GENESIS - 1, "router: deadline has passed"),
        (GENESIS, "router: deadline has passed"),
        (GENESIS + 30 * DAY + 1, "router: deadline more than 30 days off"),
        ((1 << 40) - 1, "router: deadline more than 30 days off"),
    ):
        with refused(reason):
            await dispatch(world, terms=deadline << 120)
    for deadline in (GENESIS + 1, GENESIS + 30 * DAY):
        await dispatch(world, terms=deadline << 120)


async def test_dispatch_refuses_a_window_that_is_empty(world):
    await dispatch(world, terms=DEADLINE << 160 | DEADLINE << 120)
    with refused("router: delivery after the deadline"):
        await dispatch(world, terms=DEADLINE + 1 << 160 | DEADLINE << 120)


async def test_dispatch_refuses_a_dependency_on_itself_or_on_the_future(world):
    for depends_on in (1, 2, (1 << 40) - 1):
        with refused("router: depends on a later envelope"):
            await dispatch(world, terms=TERMS | depends_on << 80)
    await dispatch(world)
    await dispatch(world, terms=TERMS | 1 << 80)


async def test_dispatch_demands_callback_gas_exactly_with_callback(world):
    callback = 8 << 240
    for terms, settlement in ((TERMS | callback, 0), (TERMS, 1), (TERMS | callback, 1 << 32)):
        with refused("router: callback gas without CALLBACK, or the reverse"):
            await dispatch(world, terms=terms, settlement=settlement)
    await dispatch(world, terms=TERMS | callback, settlement=1)


@pytest.mark.parametrize("share", [10_001, 65_535, 1 << 16, (1 << 64) - 1])
async def test_dispatch_refuses_more_than_the_whole_fee_for_a_failure(world, share):
    with refused("router: failed share above 10000 bps"):
        await dispatch(world, settlement=share << 32)
    assert decode(dispatched(await dispatch(world, settlement=10_000 << 32))).failed_share_bps == 10_000


async def test_dispatch_refuses_a_payload_beyond_1024_bytes(world):
    await dispatch(world, tail=bytes(1024))
    with pytest.raises(Exception, match="revert"):
        await world.origin.act(
            world.source.router, DISPATCH, world.lane, to_address32(RECEIVER), POLICY, POLICY, TERMS, 0, bytes(1025)
        )


async def test_dispatch_refuses_a_full_lane(world):
    """The nonce never overflows into nothing."""
    full = pack_word((1 << 40) - 2, 7)
    slot = keccak(bytes(32) + world.lane)
    await world.origin.rpc.call("anvil_setStorageAt", world.source.router, slot, full.to_bytes(32, "big"))
    await dispatch(world)
    with pytest.raises(Exception, match="revert"):
        await dispatch(world)
    assert await read_word(world) >> 216 == (1 << 40) - 1
