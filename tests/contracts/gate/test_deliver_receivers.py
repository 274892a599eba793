"""`deliver`: hostile receivers harm nobody but those who write to them."""

import pytest

from comity.chain.bindings import FAILED, REPLIED, encode_call, encode_deliver, encode_expire, encode_set_policy
from comity.chain.revert import encode_revert
from comity.core.delivery import encode_body
from comity.core.envelope import Flags
from comity.core.types import Address
from tests.contracts.chain import DAY, GENESIS, refused
from tests.contracts.world import (
    ACCEPT,
    BURN,
    OUTSIDER,
    POLICY,
    REPLY_WRONG_MAGIC,
    REVERT,
    SHORT,
    SILENT,
    WRONG_MAGIC,
    Sent,
    decided,
    read_bytes,
)

HOSTILE = {
    "reverts": REVERT,
    "burns": BURN,
    "answers wrongly": WRONG_MAGIC,
    "answers nothing": SILENT,
    "answers four bytes": SHORT,
    "replies and answers wrongly": REPLY_WRONG_MAGIC,
}
MEGABYTE = {"returns a megabyte": "621000005ff3", "reverts with a megabyte": "621000005ffd"}
ZERO = bytes(32)


async def let_anyone_in(world, receiver: Address) -> None:
    """A policy set by the receiver itself, whatever it is."""
    await world.destination.send(world.target.gate, encode_set_policy(world.lane, receiver, POLICY), sender=receiver)


@pytest.fixture
async def bomb(world, request):
    receiver = Address(b"\xb0" * 20)
    await world.destination.rpc.call("anvil_setCode", receiver, "0x" + request.param)
    await let_anyone_in(world, receiver)
    return receiver


@pytest.mark.threat("C15")
@pytest.mark.parametrize("mode", HOSTILE.values(), ids=HOSTILE)
async def test_deliver_records_a_failure_and_serves_the_others(world, sent, mode):
    hostile, receiver = await world.deploy_receiver(mode=mode), await world.deploy_receiver()
    sent.add(receiver)
    sent.add(hostile, payload=bytes(1024))
    sent.add(receiver)
    await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in (1, 2, 3)] == [1, 2, 1]
    assert await world.count(receiver) == 2
    assert await world.count(hostile) == 0


@pytest.mark.threat("C15")
@pytest.mark.parametrize("mode", HOSTILE.values(), ids=HOSTILE)
async def test_deliver_leaves_a_retryable_failure_untouched_and_serves_the_others(world, sent, mode):
    hostile, receiver = await world.deploy_receiver(mode=mode), await world.deploy_receiver()
    sent.add(hostile, flags=Flags.RETRYABLE, payload=bytes(1024))
    sent.add(receiver)
    receipt = await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in (1, 2)] == [0, 1]
    assert len(decided(receipt)) == 1
    with refused("gate: receiver failed"):
        await world.deliver(sent.run(1, 1))
    await world.destination.act(hostile, "set_mode(uint256)", ACCEPT)
    await world.deliver(sent.run())
    assert await world.count(hostile) == 1


@pytest.mark.threat("C17")
@pytest.mark.parametrize("bomb", MEGABYTE.values(), ids=MEGABYTE, indirect=True)
async def test_deliver_copies_no_megabyte(world, sent, bomb):
    receiver = await world.deploy_receiver()
    sent.add(bomb, gas_limit=4_000_000)
    sent.add(receiver)
    receipt = await world.deliver(sent.run())
    assert [await world.mark(nonce) for nonce in (1, 2)] == [2, 1]
    assert max(len(log.data) for log in receipt.logs) <= 64 + 256


@pytest.mark.threat("C17")
async def test_deliver_copies_a_long_reason_up_to_its_bound(world, sent):
    """A reason of 4 kB is kept as its first 256 bytes."""
    receiver = Address(b"\xb1" * 20)
    await world.destination.rpc.call("anvil_setCode", receiver, "0x6110005ffd")
    await let_anyone_in(world, receiver)
    sent.add(receiver)
    receipt = await world.deliver(sent.run())
    [log] = [log for log in receipt.logs if log.topics[0] == FAILED]
    assert log.data == (32).to_bytes(32, "big") + (256).to_bytes(32, "big") + bytes(256)


@pytest.mark.threat("C12")
async def test_deliver_fails_at_an_account_without_code(world, sent):
    """A call to nothing succeeds for the EVM; it is no acknowledgement."""
    await let_anyone_in(world, OUTSIDER)
    sent.add(OUTSIDER)
    receipt = await world.deliver(sent.run())
    assert await world.mark(1) == 2
    [log] = [log for log in receipt.logs if log.topics[0] == FAILED]
    assert encode_revert("gate: receiver did not acknowledge") in log.data


@pytest.mark.threat("C1")
@pytest.mark.parametrize("name", ["gate", "router", "authority", "attestation", *range(1, 18)], ids=str)
async def test_deliver_never_calls_a_privileged_contract_or_a_precompile(world, sent, name):
    """None of them can be given a policy by an outsider; given one even so, none of them takes the hook."""
    contracts = {name: getattr(world.target, name) for name in ("gate", "router", "authority")}
    contracts["attestation"] = world.attestation
    receiver = contracts[name] if isinstance(name, str) else Address(name.to_bytes(20, "big"))
    policy = encode_set_policy(world.lane, receiver, POLICY)
    with refused("gate: not the receiver or its owner"):
        await world.destination.send(world.target.gate, policy, sender=OUTSIDER)
    sent.add(receiver)
    with refused("gate: receiver has no policy"):
        await world.deliver(sent.run())
    await let_anyone_in(world, receiver)
    before = await fetch_storage_roots(world)
    await world.deliver(sent.run())
    assert await world.mark(1) == 2
    after = await fetch_storage_roots(world)
    assert {name for name in before if before[name] != after[name]} <= {"gate"}


async def fetch_storage_roots(world):
    """What stands for all of the storage of each contract at the destination."""
    contracts = {name: getattr(world.target, name) for name in ("gate", "router", "authority")}
    contracts["attestation"] = world.attestation
    return {name: (await world.destination.rpc.fetch_proof(to)).storage_root for name, to in contracts.items()}


# ------------------------------------------------------------------------------------------------ re-entrancy


async def call_from_hook(world, target: Address, calldata: bytes) -> Address:
    """A receiver whose hook makes this call, and takes its message whatever comes of it."""
    receiver = await world.deploy_receiver()
    await world.destination.act(receiver, "set_call(address,bytes)", target, calldata)
    return receiver


async def deliver_from_hook(world, sent):
    """A hook with gas in plenty that delivers the envelope after its own; and the receiver of that."""
    receiver, other = await world.deploy_receiver(), await world.deploy_receiver()
    sent.add(receiver, gas_limit=5_000_000)
    sent.add(other, gas_limit=300_000)
    inner = sent.run(2, 2)
    calldata = encode_deliver(inner.before, ZERO, encode_body(inner))
    await world.destination.act(receiver, "set_call(address,bytes)", world.target.gate, calldata)
    return receiver, other


@pytest.mark.threat("C7")
async def test_deliver_cannot_be_entered_from_a_hook(world, sent):
    receiver, _ = await deliver_from_hook(world, sent)
    await world.deliver(sent.run(1, 1))
    assert await world.destination.read(receiver, "called()") == 0
    assert [await world.mark(nonce) for nonce in (1, 2)] == [1, 0]


@pytest.mark.threat("C7")
async def test_deliver_executes_nothing_twice_that_a_hook_delivers_meanwhile(world, sent):
    """The outer run has read its marks before: the lock alone keeps it from executing the second once more."""
    _, other = await deliver_from_hook(world, sent)
    await world.deliver(sent.run())
    assert await world.count(other) == 1


@pytest.mark.threat("C7")
@pytest.mark.parametrize("name", ["expire", "snapshot"])
async def test_the_word_of_the_receipts_is_locked_inside_a_hook(world, sent, name):
    """It is stored at the end of the run: a receipt or snapshot from inside would be lost, or false."""
    old = Sent(world.lane, start=500)
    expired = old.add(OUTSIDER, deliver_before=GENESIS - DAY)
    await world.expire(expired.encode())
    calldata = {
        "expire": encode_expire(old.add(OUTSIDER, deliver_before=GENESIS - DAY).encode(), ZERO),
        "snapshot": encode_call("snapshot(bytes32)", world.lane),
    }[name]
    # It would be allowed from outside.
    await world.destination.call(world.target.gate, calldata)
    receiver = await call_from_hook(world, world.target.gate, calldata)
    sent.add(receiver)
    await world.deliver(sent.run())
    assert await world.mark(1) == 1
    assert await world.destination.read(receiver, "called()") == 0


@pytest.mark.threat("C7")
async def test_the_policy_of_a_receiver_stays_open_to_it_inside_a_hook(world, sent):
    receiver = await world.deploy_receiver()
    calldata = encode_set_policy(world.lane, receiver, 0)
    await world.destination.act(receiver, "set_call(address,bytes)", world.target.gate, calldata)
    sent.add(receiver)
    await world.deliver(sent.run())
    assert await world.destination.read(receiver, "called()") == 1


@pytest.mark.threat("C7")
async def test_the_router_stays_open_inside_a_hook(world, sent):
    """An answer may be dispatched from inside, if there is a lane; here is none, and the Router says so itself."""
    receiver = await call_from_hook(world, world.target.router, world.encode_dispatch(OUTSIDER))
    sent.add(receiver)
    await world.deliver(sent.run())
    assert await read_bytes(world.destination, receiver, "answer()") == encode_revert("router: unknown lane")


def ask_to_reply(content: bytes) -> bytes:
    """Calldata that makes a Receiver reply, whoever asks it."""
    reply = encode_call("reply(bytes)", content)
    return encode_call("relay(bytes,bytes)", reply, reply)


async def test_reply_is_refused_to_everybody_but_the_receiver_whose_hook_runs(world, sent):
    accomplice = await world.deploy_receiver()
    receiver = await call_from_hook(world, accomplice, ask_to_reply(b"forged"))
    sent.add(receiver)
    receipt = await world.deliver(sent.run())
    assert not [log for log in receipt.logs if log.topics[0] == REPLIED]
    assert await world.mark(1) == 1
    refusal = encode_revert("gate: no hook of this receiver is running")
    assert await read_bytes(world.destination, receiver, "answer()") == refusal


async def test_reply_of_one_receiver_is_refused_in_the_hook_of_the_next(world, sent):
    """A receiver that was served before in the same run is an outsider again."""
    first = await call_from_hook(world, world.target.gate, encode_call("reply(bytes)", b"its own"))
    second = await call_from_hook(world, first, ask_to_reply(b"late"))
    sent.add(first)
    sent.add(second)
    receipt = await world.deliver(sent.run())
    assert [log.topics[1] for log in receipt.logs if log.topics[0] == REPLIED] == [decided(receipt)[0].id]


@pytest.mark.parametrize("signature", ["reply(bytes)", "context()"])
async def test_reply_and_context_are_closed_when_the_run_has_ended(world, sent, signature):
    """To a receiver that is its own relayer, too, in the same transaction."""
    receiver = await world.deploy_receiver()
    sent.add(receiver)
    delivery = sent.run()
    calldata = encode_deliver(delivery.before, ZERO, encode_body(delivery))
    then = encode_call(signature, *([b"late"] if "bytes" in signature else []))
    await world.destination.act(receiver, "relay(bytes,bytes)", calldata, then)
    assert await world.mark(1) == 1
    assert await world.destination.read(receiver, "called()") == 0


async def test_reply_and_context_are_closed_outside_a_hook(world, sent):
    sent.add(await world.deploy_receiver())
    await world.deliver(sent.run())
    with refused("gate: no hook of this receiver is running"):
        await world.destination.act(world.target.gate, "reply(bytes)", b"x")
    with refused("gate: no hook is running"):
        await world.destination.act(world.target.gate, "context()")


async def test_reply_must_not_be_empty(world, sent):
    receiver = await call_from_hook(world, world.target.gate, encode_call("reply(bytes)", b""))
    sent.add(receiver)
    await world.deliver(sent.run())
    assert await read_bytes(world.destination, receiver, "answer()") == encode_revert("gate: empty reply")


@pytest.mark.threat("C5")
async def test_frame_is_refused_to_everybody_but_the_gate(world, sent):
    hook = encode_call("frame(address,uint256,bytes)", world.attestation, 100_000, b"")
    with refused("gate: only the gate"):
        await world.destination.send(world.target.gate, hook)
    receiver = await call_from_hook(world, world.target.gate, hook)
    sent.add(receiver)
    await world.deliver(sent.run())
    assert await read_bytes(world.destination, receiver, "answer()") == encode_revert("gate: only the gate")
