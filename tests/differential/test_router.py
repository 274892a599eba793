"""The Router's `dispatch`: an envelope gets the id that Python gives it, and none is taken that Python would refuse."""

from dataclasses import replace

import pytest

from comity.chain.bindings import (
    DISPATCHED,
    compute_snapshot_slot,
    compute_word_slot,
    decode_dispatched,
    encode_call,
    encode_dispatch,
)
from comity.core.envelope import EnvelopeError, Flags, compute_id, compute_settlement, compute_terms, decode
from comity.core.errors import Rejected
from comity.core.lane import SNAPSHOT_INTERVAL, compute_lane, compute_seed, extend_word, pack_word
from comity.core.types import Address, ChainId, Direction, Gas, Seconds, Wei, to_address32
from comity.devnet import deploy
from tests.contracts.chain import DAY, GENESIS
from tests.differential.harness import split
from tests.differential.samples import MASK, U32, U40, U128, Samples, unhex

DESTINATION = ChainId(31337)
SENDER = Address(b"\x5e" * 20)
SENT = 1_000
POSITION = 0x0102030405
"""Of the envelopes that are only tried out, so that they can depend on earlier ones."""

MAX_PAYLOAD = 1024
LATEST = GENESIS + 30 * DAY
TAKEN_FLAGS = Flags.RETRYABLE | Flags.CALLBACK | Flags.CANCELLABLE
ACCOUNT = (1 << 160) - 1


class Sender:
    """A Router with one lane, and the envelopes that a sender would hand to it."""

    def __init__(self, chain, router, lane):
        self.chain, self.router, self.lane = chain, router, lane

    def build(self, samples):
        """An envelope that a Router takes at POSITION."""
        envelope = samples.envelope()
        flags = envelope.flags & TAKEN_FLAGS
        deliver_before = samples.between(GENESIS + 1, LATEST)
        return replace(
            envelope,
            lane=self.lane,
            nonce=POSITION,
            flags=flags,
            sender=to_address32(SENDER),
            receiver=to_address32(samples.between(1, ACCOUNT).to_bytes(20, "big")),
            deliver_before=Seconds(deliver_before),
            deliver_after=Seconds(samples.between(0, deliver_before)),
            depends_on=samples.between(0, POSITION - 1),
            callback_gas=Gas(samples.between(1, U32) if flags & Flags.CALLBACK else 0),
            refund_to=to_address32(samples.choice((bytes(20), samples.randbytes(20)))),
            assets=(),
            conditions=(),
            payload=samples.randbytes(samples.between(0, MAX_PAYLOAD)),
        )

    async def place_before(self, nonce):
        """Let the lane stand right before a nonce."""
        word = pack_word(nonce - 1, compute_seed(self.lane, Direction.DISPATCHES))
        slot, value = compute_word_slot(self.lane), word.to_bytes(32, "big")
        await self.chain.rpc.call("anvil_setStorageAt", self.router, slot, value)
        return word

    async def try_all(self, calls):
        """The ids that dispatches, each a fee and calldata, would be given; None where the Router refuses."""
        ids = []
        for batch in split(calls, 250):
            tries = [
                ("eth_call", [{"from": SENDER, "to": self.router, "value": hex(fee), "data": data}, "latest"])
                for fee, data in batch
            ]
            answers = await self.chain.rpc.batch(tries, return_exceptions=True)
            assert all(isinstance(answer, str | Rejected) for answer in answers)
            ids += [None if isinstance(answer, Rejected) else unhex(answer) for answer in answers]
        return ids


@pytest.fixture
async def sender(chain):
    async with chain.rolled_back():
        terms = deploy.Terms(owner=chain.account, delay=Seconds(0), development=True)
        endpoint = await deploy.deploy_endpoint(chain, chain.chain, terms)
        gate = to_address32(b"\x9a" * 20)
        await chain.act(endpoint.authority, "open_outgoing(uint256,bytes32)", DESTINATION, gate)
        await chain.act(endpoint.router, "set_usable(uint256)", MASK, sender=endpoint.authority)
        await chain.rpc.call("anvil_setBalance", SENDER, hex(1 << 200))
        yield Sender(
            chain, endpoint.router, compute_lane(chain.chain, to_address32(endpoint.router), DESTINATION, gate)
        )


def encode(envelope):
    """Calldata of a dispatch."""
    return encode_dispatch(
        lane=envelope.lane,
        receiver=envelope.receiver,
        policy=envelope.policy,
        return_policy=envelope.return_policy,
        refund_to=Address(envelope.refund_to[12:]),
        terms=compute_terms(envelope),
        settlement=compute_settlement(envelope),
        tail=envelope.payload,
    )


def is_taken(encoding):
    """Whether a Router should send these bytes: canonical, and nothing in them that it does not take."""
    try:
        envelope = decode(encoding)
    except EnvelopeError:
        return False
    return (
        not envelope.flags & ~TAKEN_FLAGS
        and not envelope.assets
        and not envelope.conditions
        and not any(envelope.receiver[:12])
        and GENESIS < envelope.deliver_before <= LATEST
    )


async def test_dispatch_gives_the_id_of_the_python_encoding(sender):
    samples = Samples(13)
    await sender.place_before(POSITION)
    envelopes = [sender.build(samples) for _ in range(SENT)]
    ids = await sender.try_all([(envelope.fee, encode(envelope)) for envelope in envelopes])
    assert ids == [envelope.id for envelope in envelopes]


async def test_dispatch_writes_a_senders_own_refund_as_zero(sender):
    samples = Samples(14)
    await sender.place_before(POSITION)
    envelope = replace(sender.build(samples), refund_to=bytes(32))
    own = replace(envelope, refund_to=to_address32(SENDER))
    assert await sender.try_all([(envelope.fee, encode(own))]) == [envelope.id]


async def test_dispatched_bytes_and_words_are_those_of_python(sender):
    samples = Samples(15)
    chain = sender.chain
    start = SNAPSHOT_INTERVAL - 3
    word = await sender.place_before(start)
    for nonce in range(start, start + 6):
        envelope = replace(sender.build(samples), nonce=nonce, depends_on=samples.between(0, nonce - 1))
        receipt = await chain.send(sender.router, encode(envelope), sender=SENDER, value=envelope.fee)
        [log] = [log for log in receipt.logs if log.topics[0] == DISPATCHED]
        sent = decode_dispatched(log)
        assert (sent.id, sent.lane, sent.envelope) == (envelope.id, sender.lane, envelope.encode())
        word = extend_word(word, envelope.id)
        assert await read_slot(chain, sender.router, compute_word_slot(sender.lane)) == word
        kept = await read_slot(chain, sender.router, compute_snapshot_slot(sender.lane, nonce))
        assert kept == (word if nonce % SNAPSHOT_INTERVAL == 0 else 0)


async def test_dispatch_takes_changed_terms_exactly_when_python_does(sender):
    samples = Samples(16)
    await sender.place_before(POSITION)
    plain = replace(sender.build(samples), flags=Flags.RETRYABLE, callback_gas=Gas(0), payload=b"comity")
    called = replace(plain, flags=Flags.CALLBACK, callback_gas=Gas(1 << 20), deliver_after=Seconds(0), depends_on=0)
    cases = []
    for envelope in (plain, called):
        terms, settlement = compute_terms(envelope), settlement_of(envelope)
        for bit in range(256):
            cases.append((envelope, terms ^ 1 << bit, settlement))
            cases.append((envelope, terms, settlement ^ 1 << bit))
        for shift, width in ((240, 8), (160, 40), (120, 40), (80, 40), (48, 32)):
            kept = terms & ~((1 << width) - 1 << shift)
            for value in bounds_of(shift, width):
                cases.append((envelope, kept | value << shift, settlement))
        for share in (0, 9_999, 10_000, 10_001, 65_535, 65_536):
            cases.append((envelope, terms, settlement & (1 << 192) - 1 | share << 192))
    await check(sender, [(*case, case[0].policy, case[0].return_policy, case[0].receiver) for case in cases])


async def test_dispatch_takes_changed_policies_and_receivers_exactly_when_python_does(sender):
    samples = Samples(17)
    await sender.place_before(POSITION)
    envelope = sender.build(samples)
    terms, settlement = compute_terms(envelope), settlement_of(envelope)
    words = [0, 1, MASK, MASK + 1, 1 << 240, MASK << 120, 1 << 240 | 1 << 120, (1 << 256) - 1]
    for _ in range(30):
        word = samples.policy()
        words += [word, *(word ^ 1 << samples.randrange(256) for _ in range(12))]
    cases = [(envelope, terms, settlement, word, envelope.return_policy, envelope.receiver) for word in words]
    cases += [(envelope, terms, settlement, envelope.policy, word, envelope.receiver) for word in words]
    receivers = (0, 1, ACCOUNT - 1, ACCOUNT, ACCOUNT + 1, 1 << 255, (1 << 256) - 1)
    for receiver in receivers:
        account = receiver.to_bytes(32, "big")
        cases.append((envelope, terms, settlement, envelope.policy, envelope.return_policy, account))
    await check(sender, cases)


def bounds_of(shift, width):
    """Values of a field of the terms at and beyond its bounds."""
    if shift == 240:
        return range(256)
    if shift == 48:
        return (0, 1, U32)
    return (0, 1, GENESIS - 1, GENESIS, GENESIS + 1, LATEST, LATEST + 1, POSITION - 1, POSITION, POSITION + 1, U40)


def settlement_of(envelope):
    """The Router's settlement argument, with the refund's account."""
    return compute_settlement(envelope) << 160 | int.from_bytes(envelope.refund_to, "big")


async def check(sender, cases):
    """Each case is taken exactly when its bytes are canonical and supported, and then it has the id of those bytes."""
    calls, expected = [], []
    for envelope, terms, settlement, policy, return_policy, receiver in cases:
        kinds = "dispatch(bytes32,bytes32,uint256,uint256,uint256,uint256,bytes)"
        values = (sender.lane, receiver, policy, return_policy, terms, settlement, envelope.payload)
        calls.append((envelope.fee, encode_call(kinds, *values)))
        encoding = build(values, envelope.fee)
        expected.append(compute_id(encoding) if encoding is not None and is_taken(encoding) else None)
    assert 20 < len([one for one in expected if one]) < len(expected) - 20
    found = await sender.try_all(calls)
    different = [case[1:] for case, one, other in zip(cases, found, expected, strict=True) if one != other]
    assert different == []


def build(arguments, fee):
    """The bytes that a Router would send, as the specification has them; None where they have no place for a value."""
    lane, receiver, policy, return_policy, terms, settlement, payload = arguments
    router_writes = 255 << 248 | U40 << 200 | U32
    if terms & router_writes or settlement >> 208:
        return None
    refund_to = (settlement & ACCOUNT).to_bytes(32, "big")
    if refund_to == to_address32(SENDER):
        refund_to = bytes(32)
    return b"".join(
        (
            (terms | 1 << 248 | POSITION << 200 | len(payload)).to_bytes(32, "big"),
            lane,
            to_address32(SENDER),
            receiver,
            policy.to_bytes(32, "big"),
            return_policy.to_bytes(32, "big"),
            refund_to,
            (fee << 48 | settlement >> 160).to_bytes(22, "big"),
            payload,
        )
    )


async def read_slot(chain, address, slot):
    return int(await chain.rpc.call("eth_getStorageAt", address, slot, "latest"), 16)


async def test_dispatch_refuses_a_fee_beyond_its_field(sender):
    samples = Samples(18)
    await sender.place_before(POSITION)
    envelope = replace(sender.build(samples), fee=Wei(U128))
    assert await sender.try_all([(U128, encode(envelope)), (U128 + 1, encode(envelope))]) == [envelope.id, None]
