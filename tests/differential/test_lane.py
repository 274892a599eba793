"""Lanes, checkpoints and receipts: the module, and the Gate's own receipts, against `comity.core`."""

import pytest
from eth_abi.abi import encode as abi_encode

from comity.core import lane, receipt
from comity.core.checkpoint import Checkpoint
from comity.core.keccak import keccak
from comity.core.receipt import Receipt
from comity.core.types import Address, ChainId, Direction, EnvelopeId, Lane, Outcome
from tests.differential.samples import U40, U256, Samples, unhex

ENDS = "(uint256,bytes32,uint256,bytes32)[]"
CHECKPOINTS = "(bytes32,uint256,uint256)[]"
CASES = "(uint256,bytes32,uint256,bytes32)[]"
LANE = Lane(b"\x1a" * 32)
ACCUMULATORS = (1 << 216) - 1


@pytest.fixture(scope="session")
async def harness(deploy_harness):
    return await deploy_harness("lane")


@pytest.fixture(scope="session")
async def receipts(deploy_harness):
    return await deploy_harness("receipt")


async def fold(harness, accumulator, entries):
    """The accumulators after each entry."""
    return await harness.integers("fold", ["uint256", "bytes32[]"], accumulator, entries)


async def test_constants_are_the_same(harness):
    answer = await harness.call("constants", [])
    expected = (*Direction, lane.SNAPSHOT_INTERVAL, lane.MAX_NONCE, ACCUMULATORS)
    assert answer == abi_encode(["uint256"] * 5, [int(value) for value in expected])


async def test_lanes_and_seeds_are_the_same(harness):
    samples = Samples(5)
    ends = [
        (samples.between(1, U256), samples.bytes32(), samples.between(1, U256), samples.bytes32()) for _ in range(1024)
    ]
    expected = [lane.compute_lane(*one) for one in ends]
    assert [row for [row] in await harness.rows("compute_lanes", [ENDS], ends)] == expected
    assert len(set(expected)) == len({one for one in ends})
    for direction in Direction:
        seeds = await harness.integers("compute_seeds", ["bytes32[]", "uint256"], expected, int(direction))
        assert seeds == [lane.compute_seed(one, direction) for one in expected]


async def test_accumulators_grow_alike(harness):
    samples = Samples(6)
    starts = [1, ACCUMULATORS, ACCUMULATORS - 1, 1 << 215] + [samples.between(1, ACCUMULATORS) for _ in range(4)]
    for start in starts:
        entries = [bytes(32), b"\xff" * 32] + [samples.randbytes(32) for _ in range(500)]
        expected, state = [], start
        for entry in entries:
            state = lane.extend(state, entry)
            expected.append(state)
        assert await fold(harness, start, entries) == expected
        assert expected[-1] == lane.compute_word(start, 1, entries[:99], entries[99:]) & ACCUMULATORS


async def test_checkpoints_have_the_same_digest(harness):
    samples = Samples(7)
    checkpoints = [
        Checkpoint(
            Lane(samples.bytes32()),
            samples.choice(list(Direction)),
            lane.pack_word(samples.between(0, U40), samples.between(1, ACCUMULATORS)),
        )
        for _ in range(1024)
    ]
    values = [(one.lane, int(one.direction), one.word) for one in checkpoints]
    digests = [row for [row] in await harness.rows("compute_digests", [CHECKPOINTS], values)]
    assert digests == [one.digest for one in checkpoints]


async def test_vectors_hold_for_the_contract(harness, vectors):
    lists = vectors["lane"]
    for case in lists["lanes"]:
        ends = (int(case["origin"], 16), unhex(case["router"]), int(case["destination"], 16), unhex(case["gate"]))
        [[found]] = await harness.rows("compute_lanes", [ENDS], [ends])
        assert found == unhex(case["lane"])
        for direction, seed in enumerate(case["seeds"]):
            assert await harness.integers("compute_seeds", ["bytes32[]", "uint256"], [found], direction) == [
                int(seed, 16)
            ]
    for case in lists["steps"]:
        nonce, accumulator = divmod(int(case["word"], 16), 1 << 216)
        [after] = await fold(harness, accumulator, [unhex(case["entry"])])
        assert nonce + 1 << 216 | after == int(case["after"], 16)
    for case in lists["runs"]:
        entries = [unhex(entry) for entry in case["entries"] + case["suffix"]]
        accumulator = (await fold(harness, int(case["before"], 16), entries))[-1]
        assert case["first_nonce"] + len(entries) - 1 << 216 | accumulator == int(case["word"], 16)


# ------------------------------------------------------------------------------------------------------------ receipts


def build_receipt(samples):
    """Any receipt."""
    return Receipt(
        origin=ChainId(samples.between(1, receipt.MAX_ORIGIN)),
        outcome=samples.choice(list(Outcome)),
        position=samples.between(1, U40),
        envelope_id=EnvelopeId(samples.bytes32()),
        beneficiary=Address(samples.randbytes(20)),
        result=samples.choice((receipt.NO_RESULT, samples.bytes32())),
    )


async def append(receipts, cases):
    """The words of lanes in which these receipts came next, by the Gate's own code, and what they should be."""
    arguments, expected = [], []
    for number, one in enumerate(cases, start=1):
        before = lane.pack_word(one.position - 1, number << 100)
        stamp = one.origin << 208 | int.from_bytes(one.beneficiary, "big") << 48 | int(one.outcome)
        arguments.append((before, one.envelope_id, stamp, one.result))
        expected.append(lane.extend_word(before, one.entry))
    return await receipts.integers("append", ["bytes32", CASES], LANE, arguments), expected


async def test_the_gate_writes_receipts_as_python_does(receipts):
    samples = Samples(8)
    found, expected = await append(receipts, [build_receipt(samples) for _ in range(256)])
    assert found == expected


async def test_receipt_vectors_are_what_the_gate_writes(receipts, vectors):
    cases = vectors["receipt"]["valid"]
    read = [receipt.decode(unhex(case["encoding"])) for case in cases]
    for case, one in zip(cases, read, strict=True):
        assert keccak(unhex(case["encoding"])) == unhex(case["entry"]) == one.entry
    found, expected = await append(receipts, read)
    assert found == expected


async def test_the_gate_stamps_origin_and_beneficiary(receipts):
    samples = Samples(9)
    accounts = [samples.randbytes(20) for _ in range(20)] + [b"\xff" * 20, bytes(19) + b"\1"]
    for origin in (1, 31337, receipt.MAX_ORIGIN):
        values = [int.from_bytes(account, "big") for account in accounts]
        stamps = await receipts.integers("stamp", ["uint256", "uint256[]"], origin, values)
        for account, stamp in zip(accounts, stamps, strict=True):
            one = Receipt(ChainId(origin), Outcome.EXECUTED, 1, EnvelopeId(bytes(32)), Address(account), bytes(32))
            assert one.encode()[32:64] == (stamp | 1 << 8 | Outcome.EXECUTED).to_bytes(32, "big")
