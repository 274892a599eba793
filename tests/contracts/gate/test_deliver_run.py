"""`deliver`: the run must be the lane's own, whole, in place, and under the word that was proved."""

import pytest

from comity.chain.bindings import DELIVER, encode_deliver
from comity.core.checkpoint import Checkpoint
from comity.core.delivery import Delivery, encode_body
from comity.core.errors import Rejected
from comity.core.keccak import keccak
from comity.core.types import Direction
from tests.contracts.chain import refused
from tests.contracts.world import ATTESTATION, FIRST, RELAYER, YES, Sent, attest

NOTHING = bytes(32)
HEADER = 10
PAD = 288
"""Zeros before the proofs, so that the smallest window in which the Gate reads does not begin before the calldata."""


def build_body(entries, suffix=(), proofs=((FIRST, YES),), pad=PAD, counts=None):
    """A body as bytes, whatever stands in it; `counts` are those of proofs, suffix and entries."""
    packed = b"".join(index.to_bytes(1, "big") + len(proof).to_bytes(2, "big") + proof for index, proof in proofs)
    proof_count, suffix_count, entry_count = counts or (len(proofs), len(suffix), len(entries))
    header = b"".join(
        (
            pad.to_bytes(2, "big"),
            len(packed).to_bytes(3, "big"),
            proof_count.to_bytes(1, "big"),
            suffix_count.to_bytes(2, "big"),
            entry_count.to_bytes(2, "big"),
        )
    )
    run = b"".join((bytes(2) if len(entry) == 32 else len(entry).to_bytes(2, "big")) + entry for entry in entries)
    return header + bytes(pad) + packed + b"".join(suffix) + run


@pytest.fixture
async def receiver(world):
    return await world.deploy_receiver()


@pytest.mark.threat("A1")
async def test_deliver_refuses_a_run_without_proof(world, sent, receiver):
    sent.add(receiver)
    with refused("gate: policy not satisfied"):
        await world.deliver(sent.run(proofs={}))


@pytest.mark.threat("A1")
async def test_deliver_refuses_a_lane_that_nobody_opened(world, receiver):
    for lane in (keccak(b"another lane"), b"\xff" * 32):
        unopened = Sent(lane)
        unopened.add(receiver)
        with refused("gate: unknown lane"):
            await world.deliver(unopened.run())


@pytest.mark.threat("A1")
async def test_deliver_refuses_the_lane_zero(world, sent, receiver):
    sent.add(receiver)
    encoding = sent.envelopes[0]
    with refused("gate: unknown lane"):
        await world.deliver_body(1, build_body([encoding[:32] + NOTHING + encoding[64:]]))


@pytest.mark.threat("A4")
async def test_deliver_refuses_a_run_without_envelopes(world, sent, receiver):
    sent.add(receiver)
    for entries in ([], [keccak(b"1")], [keccak(b"1"), keccak(b"2")]):
        with refused("gate: malformed run"):
            await world.deliver_body(1, build_body(entries))


@pytest.mark.threat("A4")
async def test_deliver_refuses_a_run_that_starts_before_the_first_nonce(world, sent, receiver):
    sent.add(receiver)
    for too_many in (1, 2, 3):
        with refused("gate: malformed run"):
            await world.deliver_body(1, build_body([*[keccak(b"0")] * too_many, sent.envelopes[0]]))


@pytest.mark.threat("A4")
async def test_deliver_refuses_nonces_that_are_not_positions(world, sent, receiver):
    for _ in range(3):
        sent.add(receiver)
    one, two, three = sent.envelopes
    for entries in ([one, three], [two, one], [one, one], [one, keccak(b"2"), two]):
        with refused("gate: malformed run"):
            await world.deliver_body(1, build_body(entries))


@pytest.mark.threat("A4")
async def test_deliver_refuses_a_run_over_two_lanes(world, sent, receiver):
    await world.destination.act(
        world.target.authority, "open_incoming(uint256,bytes32)", 77, b"\x01" * 32, sender=world.destination.account
    )
    other = Sent((await world.destination.read(world.target.gate, "lane_from(uint256)", 77)).to_bytes(32, "big"), 1)
    sent.add(receiver)
    other.add(receiver)
    with refused("gate: malformed run"):
        await world.deliver_body(1, build_body([sent.envelopes[0], other.envelopes[0]]))


@pytest.mark.threat("A4")
async def test_deliver_refuses_a_run_past_the_last_nonce(world, receiver):
    full = Sent(world.lane, (1 << 40) - 2)
    full.add(receiver)
    encoding = full.envelopes[0]
    with refused("gate: malformed run"):
        await world.deliver_body(1, build_body([encoding], [keccak(b"one too many")]))
    await world.deliver_body(1, build_body([encoding]))


@pytest.mark.parametrize(
    ("counts", "name"),
    [((1, 0, 129), "entries"), ((1, 257, 1), "suffix"), ((9, 0, 1), "proofs")],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_deliver_refuses_more_than_it_can_hold(world, sent, receiver, counts, name):
    proof_count, suffix_count, entry_count = counts
    sent.add(receiver)
    for _ in range(entry_count - 1):
        sent.add_encoded(sent.envelopes[0])
    entries = [sent.envelopes[0], *(keccak(b"bare") for _ in range(entry_count - 1))]
    proofs = [(index, YES) for index in range(proof_count)]
    with pytest.raises(Rejected):
        await world.deliver_body(1, build_body(entries, [NOTHING] * suffix_count, proofs))


@pytest.mark.threat("A4")
async def test_deliver_refuses_bytes_that_belong_to_nothing(world, sent, receiver):
    sent.add(receiver)
    entries = [sent.envelopes[0]]
    body = build_body(entries)
    proofs = build_body(entries, proofs=[(FIRST, YES + b"!")])
    length_at = HEADER + PAD + 2
    shortened = proofs[:length_at] + len(YES).to_bytes(1, "big") + proofs[length_at + 1 :]
    for malformed in (body + b"\0", body + bytes(32), shortened, build_body(entries, counts=(0, 0, 1))):
        with refused("gate: malformed body"):
            await world.deliver_body(1, malformed)


async def test_deliver_refuses_a_body_that_is_cut_off(world, sent, receiver):
    sent.add(receiver)
    body = build_body([sent.envelopes[0]])
    for length in range(0, len(body), 7):
        with pytest.raises(Rejected):
            await world.deliver_body(1, body[:length])


async def test_deliver_refuses_a_body_that_stands_elsewhere_in_the_calldata(world, sent, receiver):
    sent.add(receiver)
    calldata = encode_deliver(1, NOTHING, build_body([sent.envelopes[0]]))
    moved = DELIVER + calldata[4:68] + (128).to_bytes(32, "big") + bytes(32) + calldata[100:]
    with refused("gate: malformed body"):
        await world.destination.send(world.target.gate, moved)


async def test_deliver_refuses_an_envelope_whose_lengths_disagree(world, sent, receiver):
    sent.add(receiver)
    encoding = sent.envelopes[0]
    longer, shorter = encoding + b"\0", encoding[:-1]
    another_version = b"\x02" + encoding[1:]
    with_an_asset = encoding[:26] + b"\1" + encoding[27:]
    for malformed in (longer, shorter, another_version, with_an_asset):
        with refused("gate: malformed envelope"):
            await world.deliver_body(1, build_body([malformed]))


async def test_deliver_refuses_an_accumulator_beyond_its_bits(world, sent, receiver):
    sent.add(receiver)
    for before in (1 << 216, (1 << 256) - 1):
        with refused("gate: malformed run"):
            await world.deliver_body(before, build_body(sent.envelopes))
    await world.deliver_body((1 << 216) - 1, build_body(sent.envelopes))


@pytest.mark.threat("C4")
async def test_deliver_refuses_a_sender_that_is_no_address(world, sent, receiver):
    """What stands above its 20 bytes would be told to the receiver as another chain."""
    sent.add(receiver, sender=bytes(11) + b"\1" + bytes(20))
    with refused("gate: malformed envelope"):
        await world.deliver(sent.run())


async def test_deliver_refuses_an_envelope_longer_than_it_reads(world, sent, receiver):
    sent.add(receiver, payload=bytes(1100))
    sent.add(receiver, payload=bytes(1024))
    with refused("gate: envelope or proof too long"):
        await world.deliver_body(1, build_body([sent.envelopes[0]], pad=1312))
    with refused("gate: envelope or proof too long"):
        await world.deliver_body(1, build_body([sent.envelopes[1]], proofs=[(FIRST, bytes(1313))], pad=1312))


@pytest.mark.parametrize("flags", [1, 2, 32, 128], ids=["VIEW", "FILLABLE", "CANCEL", "unknown"])
async def test_deliver_leaves_flags_that_it_does_not_execute(world, sent, receiver, flags):
    sent.add(receiver)
    encoding = sent.envelopes[0]
    with refused("gate: not supported yet"):
        await world.deliver_body(1, build_body([encoding[:1] + bytes([flags]) + encoding[2:]]))


async def test_deliver_leaves_assets_and_conditions_that_it_does_not_execute(world, sent, receiver):
    sent.add(receiver)
    encoding = sent.envelopes[0]
    fixed = encoding[:246]
    with_an_asset = fixed[:26] + b"\1" + fixed[27:] + bytes(128) + b"comity"
    with_a_condition = fixed[:27] + b"\1" + fixed[28:] + b"comity"
    for unsupported in (with_an_asset, with_a_condition):
        with refused("gate: not supported yet"):
            await world.deliver_body(1, build_body([unsupported]))


# ------------------------------------------------------------------------------------------------ bound to the word


@pytest.fixture
async def attested(world, sent):
    """Three envelopes under a real verifier, and the delivery of the first two of them."""
    receiver = await world.deploy_receiver(policy=1 << ATTESTATION)
    for _ in range(3):
        sent.add(receiver, policy=1 << ATTESTATION)
    bare = sent.run(1, 2, proofs={})
    proof = attest(Checkpoint(world.lane, Direction.DISPATCHES, bare.word), world.attestation)
    return Delivery(bare.before, proofs={ATTESTATION: proof}, entries=bare.entries, suffix=bare.suffix)


async def test_deliver_accepts_what_the_attestors_signed(world, attested):
    await world.deliver(attested)
    assert [await world.mark(nonce, 1 << ATTESTATION) for nonce in (1, 2, 3)] == [1, 1, 0]


async def test_deliver_accepts_a_bare_entry_in_its_place(world, sent, attested):
    run = sent.run(1, 2, bare=[1], proofs=attested.proofs)
    await world.deliver(run)
    assert [await world.mark(nonce, 1 << ATTESTATION) for nonce in (1, 2, 3)] == [0, 1, 0]


@pytest.mark.threat("A2")
async def test_deliver_depends_on_every_byte_of_proof_run_and_suffix(world, attested):
    body = encode_body(attested)
    pad = int.from_bytes(body[:2], "big")
    calldata = encode_deliver(attested.before, NOTHING, body)
    at = len(encode_deliver(attested.before, NOTHING, b""))
    places = [*range(4, 36), *range(at, at + HEADER), *range(at + HEADER + pad, at + len(body))]
    changed = [calldata[:n] + bytes([calldata[n] ^ 1 << n % 8]) + calldata[n + 1 :] for n in places]
    requests = [
        ("eth_call", [{"from": RELAYER, "to": world.target.gate, "data": data, "gas": hex(5_000_000)}, "latest"])
        for data in changed
    ]
    answers = await world.destination.rpc.batch(requests, return_exceptions=True)
    accepted = [place for place, answer in zip(places, answers, strict=True) if not isinstance(answer, Rejected)]
    assert accepted == []


@pytest.mark.threat("A4")
async def test_deliver_refuses_entries_left_out_added_or_exchanged(world, sent, attested):
    proofs, before = [(ATTESTATION, attested.proofs[ATTESTATION])], attested.before
    one, two, three = sent.envelopes
    [last] = attested.suffix
    for entries, suffix in (
        ([one], [last]),
        ([one, two], []),
        ([one, two], [last, last]),
        ([one, two, three], [last]),
        ([one, keccak(three)], [keccak(two)]),
        ([one, keccak(two)], [keccak(one)]),
    ):
        with refused("attestation: not signed by the set"):
            await world.deliver_body(before, build_body(entries, suffix, proofs))


@pytest.mark.threat("A7")
async def test_deliver_refuses_an_accumulator_given_as_an_entry(world, sent, attested):
    """64 bytes that hash to the accumulator are no envelope, wherever they stand."""
    inner = attested.before.to_bytes(32, "big") + keccak(sent.envelopes[0])
    for entries in ([inner, sent.envelopes[1]], [sent.envelopes[0], inner]):
        body = build_body(entries, attested.suffix, [(ATTESTATION, attested.proofs[ATTESTATION])])
        with pytest.raises(Rejected):
            await world.deliver_body(attested.before, body)


async def test_deliver_refuses_a_proof_of_the_other_direction(world, sent, attested):
    receipts = Checkpoint(world.lane, Direction.RECEIPTS, attested.word)
    proofs = [(ATTESTATION, attest(receipts, world.attestation))]
    with refused("attestation: not signed by the set"):
        await world.deliver_body(attested.before, build_body(attested.entries, attested.suffix, proofs))
