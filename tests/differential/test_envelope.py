"""Envelopes: the contracts' module against `comity.core.envelope`, and no two spellings of one envelope."""

from dataclasses import replace

import pytest

from comity.core.envelope import (
    EnvelopeError,
    EnvelopeLengthMismatch,
    EnvelopeTooLarge,
    Flags,
    compute_id,
    decode,
)
from tests.differential.harness import split
from tests.differential.samples import Samples, build_shapes, unhex

ENVELOPES = 10_000
READ_BATCH, JUDGE_BATCH = 128, 2048

HEAD_FIELDS = ("nonce", "deliver_after", "deliver_before", "depends_on", "gas_limit")
SETTLEMENT_AT, FIXED = 224, 246
CALLBACK = int(Flags.CALLBACK)


@pytest.fixture(scope="session")
async def harness(deploy_harness):
    return await deploy_harness("envelope")


async def read(harness, encodings):
    """What the contract reads, a list of words for each encoding."""
    rows = []
    for batch in split(encodings, READ_BATCH):
        rows += await harness.rows("read", ["bytes[]"], batch, width=20)
    return rows


async def judge_heads(harness, heads):
    verdicts = []
    for batch in split(heads, JUDGE_BATCH):
        verdicts += await harness.integers("judge_heads", ["uint256[]"], batch)
    return [bool(verdict) for verdict in verdicts]


async def judge_settlements(harness, pairs):
    verdicts = []
    for batch in split(pairs, JUDGE_BATCH):
        flags, settlements = zip(*batch, strict=True)
        kinds = ["uint256[]", "uint256[]"]
        verdicts += await harness.integers("judge_settlements", kinds, flags, settlements)
    return [bool(verdict) for verdict in verdicts]


def show(envelope):
    """The words that the harness should read from a canonical envelope."""
    settlement = envelope.fee << 48 | envelope.failed_share_bps << 32 | envelope.callback_gas
    return [
        envelope.id,
        *(value.to_bytes(32, "big") for value in (1, 1, 1, int(envelope.flags))),
        *(getattr(envelope, name).to_bytes(32, "big") for name in HEAD_FIELDS),
        *(len(part).to_bytes(32, "big") for part in (envelope.assets, envelope.conditions, envelope.payload)),
        envelope.lane,
        envelope.sender,
        envelope.receiver,
        envelope.policy.to_bytes(32, "big"),
        envelope.return_policy.to_bytes(32, "big"),
        envelope.refund_to,
        settlement.to_bytes(32, "big"),
    ]


def build_around(head, template):
    """An encoding that is canonical but, perhaps, for its head: the rest is as the head states, up to some length."""
    payload_length, conditions, assets = head & 0xFFFFFFFF, head >> 32 & 0xFF, head >> 40 & 0xFF
    callback_gas = 1 if head >> 240 & CALLBACK else 0
    fixed = head.to_bytes(32, "big") + template[32 : FIXED - 4] + callback_gas.to_bytes(4, "big")
    asset = b"\x71" * 128
    condition = b"\x72" * 32 + bytes(32) + b"\xff" * 32 + bytes(2)
    return fixed + min(assets, 8) * asset + min(conditions, 8) * condition + b"\x73" * min(payload_length, 1 << 15)


def is_canonical(encoding):
    """Whether Python decodes it; a refusal must not be for a length alone, lest a test agree for the wrong reason."""
    try:
        decode(encoding)
    except EnvelopeLengthMismatch as error:
        raise AssertionError("built with another length than its head states") from error
    except EnvelopeError:
        return False
    return True


def mutate_heads(samples):
    """Canonical heads, each of their one-bit neighbours, and heads of fields at and beyond their bounds."""
    heads = [int.from_bytes(shape.encode()[:32], "big") for shape in build_shapes()]
    heads += [int.from_bytes(samples.envelope().encode()[:32], "big") for _ in range(25)]
    heads += [head ^ 1 << bit for head in heads for bit in range(256)]
    for _ in range(4_000):
        nonce, before = samples.between(0, 3), samples.between(0, 3)
        fields = (
            (248, samples.choice((0, 1, 1, 1, 1, 2, 0x81, 255))),
            (240, samples.randrange(128) if samples.randrange(8) else samples.randrange(256)),
            (200, nonce),
            (160, samples.between(0, 3)),
            (120, before),
            (80, samples.between(0, 3)),
            (40, samples.choice((0, 0, 1, 4, 5, 255))),
            (32, samples.choice((0, 0, 1, 4, 5, 255))),
            (0, samples.choice((0, 0, 1, 16384, 16385, 1 << 31))),
        )
        heads.append(sum(value << shift for shift, value in fields))
    return heads


async def test_every_generated_envelope_is_read_alike(harness):
    samples = Samples(1)
    envelopes = build_shapes() + [samples.envelope() for _ in range(ENVELOPES)]
    rows = await read(harness, [envelope.encode() for envelope in envelopes])
    for envelope, row in zip(envelopes, rows, strict=True):
        assert row == show(envelope), envelope


async def test_head_is_canonical_for_the_contract_exactly_when_python_decodes_it(harness):
    template = build_shapes()[0].encode()
    heads = mutate_heads(Samples(2))
    verdicts = await judge_heads(harness, heads)
    expected = [is_canonical(build_around(head, template)) for head in heads]
    assert sum(expected) > 1_000
    assert len(expected) - sum(expected) > 1_000
    assert [hex(head) for head, *both in zip(heads, verdicts, expected, strict=True) if both[0] != both[1]] == []


async def test_settlement_is_canonical_for_the_contract_exactly_when_python_decodes_it(harness):
    shapes = {int(shape.flags): shape.encode() for shape in build_shapes()}
    shapes[CALLBACK] = replace(build_shapes()[0], flags=Flags.CALLBACK, callback_gas=1).encode()
    settlements = [
        fee << 48 | share << 32 | callback_gas
        for fee in (0, 1, (1 << 128) - 1)
        for share in (0, 1, 9_999, 10_000, 10_001, 16_384, 65_535)
        for callback_gas in (0, 1, 2, 1 << 16, 1 << 31, (1 << 32) - 1)
    ]
    pairs = [(flags, settlement) for flags in shapes for settlement in settlements]
    verdicts = await judge_settlements(harness, pairs)
    expected = [
        is_canonical(shapes[flags][:SETTLEMENT_AT] + settlement.to_bytes(22, "big") + shapes[flags][FIXED:])
        for flags, settlement in pairs
    ]
    assert 0 < sum(expected) < len(expected)
    assert verdicts == expected


def test_one_changed_byte_is_refused_or_another_envelope():
    refused = 0
    for shape in build_shapes():
        encoding = shape.encode()
        for position in range(len(encoding)):
            for delta in (0x01, 0x10, 0x80, 0xFF):
                changed = bytearray(encoding)
                changed[position] ^= delta
                try:
                    other = decode(bytes(changed))
                except EnvelopeError:
                    refused += 1
                    continue
                assert other != shape
                assert other.encode() == bytes(changed)
                assert other.id != shape.id
    assert refused > 1_000


def test_no_prefix_and_no_extension_is_an_envelope():
    for shape in build_shapes():
        encoding = shape.encode()
        for other in (*(encoding[:end] for end in range(len(encoding))), encoding + b"\0", encoding + bytes(32)):
            with pytest.raises((EnvelopeLengthMismatch, EnvelopeTooLarge)):
                decode(other)


async def test_valid_vectors_are_read_alike(harness, vectors):
    cases = [case for case in vectors["envelope"]["valid"] if len(unhex(case["encoding"])) <= 4096]
    assert len(cases) > 10
    rows = await read(harness, [unhex(case["encoding"]) for case in cases])
    for case, row in zip(cases, rows, strict=True):
        assert row[0] == unhex(case["id"]) == compute_id(unhex(case["encoding"]))
        assert row == show(decode(unhex(case["encoding"]))), case["name"]


HEAD_ERRORS = {
    "EnvelopeVersionUnknown",
    "EnvelopeFlagsUnknown",
    "EnvelopeFlagsConflict",
    "EnvelopeNonceOutOfRange",
    "EnvelopeDependencyNotEarlier",
    "EnvelopeWindowEmpty",
}
SETTLEMENT_ERRORS = {"EnvelopeCallbackMismatch", "EnvelopeShareTooLarge"}


async def test_invalid_vectors_are_refused_by_the_part_of_the_contract_that_their_error_names(harness, vectors):
    cases = [case for case in vectors["envelope"]["invalid"] if len(unhex(case["encoding"])) >= FIXED]
    rows = await read(harness, [unhex(case["encoding"])[:4096] for case in cases])
    named = 0
    for case, (_, head, settlement, *_) in zip(cases, rows, strict=True):
        if case["error"] in HEAD_ERRORS | SETTLEMENT_ERRORS:
            named += 1
            assert bool(any(head)) == (case["error"] not in HEAD_ERRORS), case["name"]
            assert bool(any(settlement)) == (case["error"] not in SETTLEMENT_ERRORS), case["name"]
    assert named > 10
