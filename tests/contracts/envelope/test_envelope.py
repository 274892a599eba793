"""core/envelope.vy against comity.core.envelope: the same bytes, the same ids, the same rules."""

import random

import pytest

from comity.core.envelope import (
    ASSET_BYTES,
    FIXED_BYTES,
    MAX_PAYLOAD_BYTES,
    Asset,
    Condition,
    Envelope,
    EnvelopeError,
    Flags,
    compute_id,
    decode,
)
from comity.core.policy import Policy
from tests.vectors.vector_files import cases, unhex

COUNT = 10_000
U40, U256 = (1 << 40) - 1, (1 << 256) - 1


def draw_policy(rng):
    named = rng.sample(range(120), rng.randint(1, 8))
    split = rng.randint(0, len(named))
    optional = frozenset(named[split:])
    return Policy(frozenset(named[:split]), optional, rng.randint(1, len(optional)) if optional else 0).word


def draw_envelope(rng):
    """A canonical envelope; small and extreme values are as likely as others."""
    number = lambda most: rng.choice([0, 1, most, rng.randint(0, most)])  # noqa: E731 - used in this function only
    flags = Flags(rng.randint(0, 127))
    assets = [Asset(rng.randbytes(32), number(U256), rng.randbytes(32), number(U256)) for _ in range(rng.randint(0, 4))]
    if flags & (Flags.VIEW | Flags.CANCEL):
        assets, flags = [], flags & ~Flags.FILLABLE
    if not assets:
        flags &= ~Flags.FILLABLE
    nonce = max(1, number(U40))
    after, before = sorted((number(U40), max(1, number(U40))))
    bounds = [sorted((number(U256), number(U256))) for _ in range(rng.choice([0, 0, 1, 4]))]
    return Envelope(
        lane=rng.randbytes(32),
        nonce=nonce,
        flags=flags,
        sender=rng.randbytes(32),
        receiver=rng.randbytes(32),
        deliver_after=after,
        deliver_before=before,
        depends_on=rng.choice([0, nonce - 1, rng.randint(0, nonce - 1)]),
        gas_limit=number((1 << 32) - 1),
        policy=draw_policy(rng),
        return_policy=draw_policy(rng),
        fee=number((1 << 128) - 1),
        failed_share_bps=number(10_000),
        callback_gas=max(1, number((1 << 32) - 1)) if flags & Flags.CALLBACK else 0,
        refund_to=rng.choice([bytes(32), rng.randbytes(32)]),
        assets=tuple(assets),
        conditions=tuple(
            Condition(rng.randbytes(32), low, high, rng.randbytes(rng.choice([0, 4, 36]))) for low, high in bounds
        ),
        payload=b"" if flags & Flags.FILLABLE else rng.randbytes(rng.choice([0, 1, 31, 32, 33, rng.randint(0, 300)])),
    )


def read_head(encoding):
    return int.from_bytes(encoding[:32], "big")


def read_settlement(encoding):
    return int.from_bytes(encoding[224:FIXED_BYTES], "big")


async def judge(modules, encodings):
    """What the contract's rules say of each encoding's head word and settlement."""
    heads = await modules.ask_words("is_canonical_head(uint256)", [(read_head(each),) for each in encodings])
    settlements = await modules.ask_words(
        "is_canonical_settlement(uint256,uint256)", [(each[1], read_settlement(each)) for each in encodings]
    )
    return [bool(head and settlement) for head, settlement in zip(heads, settlements, strict=True)]


def is_canonical(encoding):
    try:
        decode(encoding)
    except EnvelopeError:
        return False
    return True


@pytest.mark.threat("C4")
async def test_ten_thousand_envelopes_read_back_and_have_the_contracts_id(modules):
    rng = random.Random(7786)
    envelopes = [draw_envelope(rng) for _ in range(COUNT)]
    encodings = [envelope.encode() for envelope in envelopes]
    assert [decode(encoding) for encoding in encodings] == envelopes
    ids = await modules.ask("compute_id(bytes)", [(encoding,) for encoding in encodings])
    assert ids == [compute_id(encoding) for encoding in encodings]
    assert len(set(ids)) == COUNT
    assert all(await judge(modules, encodings))


@pytest.mark.threat("C4")
@pytest.mark.threat("A6")
async def test_every_changed_byte_is_refused_or_gives_another_envelope():
    """S4: no two encodings of one meaning, and no two meanings of one encoding."""
    rng = random.Random(7985)
    for _ in range(12):
        encoding = draw_envelope(rng).encode()
        genuine = decode(encoding)
        for at in range(len(encoding)):
            for value in {encoding[at] ^ 1 << rng.randint(0, 7), 0, 255, encoding[at] ^ 1} - {encoding[at]}:
                changed = encoding[:at] + bytes([value]) + encoding[at + 1 :]
                if is_canonical(changed):
                    assert decode(changed) != genuine
                    assert decode(changed).encode() == changed
                    assert compute_id(changed) != compute_id(encoding)


@pytest.mark.threat("C4")
async def test_no_byte_can_move_from_one_field_to_the_next():
    """Inserting, dropping or moving bytes never gives another encoding of what was there."""
    rng = random.Random(7930)
    for _ in range(200):
        encoding = draw_envelope(rng).encode()
        cut, other = rng.randrange(len(encoding)), rng.randrange(len(encoding))
        byte = encoding[cut : cut + 1]
        rest = encoding[:cut] + encoding[cut + 1 :]
        moved = rest[:other] + byte + rest[other:]
        for changed in (rest, encoding[:cut] + b"\0" + encoding[cut:], encoding + b"\0", encoding[:-1], moved):
            if changed != encoding and is_canonical(changed):
                assert compute_id(changed) != compute_id(encoding)
                assert decode(changed).encode() == changed


@pytest.mark.threat("C3")
async def test_the_contract_and_python_judge_every_changed_head_and_settlement_alike(modules):
    """All 255 other values of each byte of the head word, and of share and callback gas."""
    rng = random.Random(1)
    changed = []
    for flags in (Flags(0), Flags.CALLBACK | Flags.RETRYABLE, Flags.VIEW, Flags.LAST_RESORT):
        base = draw_envelope(rng)
        plain = Envelope(
            lane=base.lane,
            nonce=600,
            flags=flags,
            sender=base.sender,
            receiver=base.receiver,
            deliver_after=0x0101010101,
            deliver_before=0x0101010101,
            depends_on=599,
            gas_limit=5,
            policy=base.policy,
            return_policy=base.return_policy,
            callback_gas=256 if Flags.CALLBACK in flags else 0,
            failed_share_bps=0x2710,
            payload=b"\1" * 258,
        ).encode()
        places = [*range(32), *range(240, 246)]
        changed += [plain[:at] + bytes([value]) + plain[at + 1 :] for at in places for value in range(256)]
    judged = await judge(modules, changed)
    for encoding, accepted in zip(changed, judged, strict=True):
        assert accepted == is_canonical(complete(encoding)), encoding[:32].hex()


def complete(encoding):
    """The encoding with as many zero bytes behind the fixed part as its head word asks for, where that is possible."""
    head = read_head(encoding)
    assets, conditions, payload = head >> 40 & 255, head >> 32 & 255, head & 0xFFFFFFFF
    if assets > 4 or conditions > 4 or payload > MAX_PAYLOAD_BYTES:
        return encoding
    return encoding[:FIXED_BYTES] + bytes(assets * ASSET_BYTES + conditions * 98 + payload)


@pytest.mark.parametrize("case", cases("envelope", "valid"))
async def test_the_contract_agrees_with_a_valid_vector(modules, case):
    encoding = unhex(case["encoding"])
    assert await modules.ask("compute_id(bytes)", [(encoding,)]) == [unhex(case["id"])]
    assert await judge(modules, [encoding]) == [True]


BY_HEAD = {
    "EnvelopeVersionUnknown",
    "EnvelopeFlagsUnknown",
    "EnvelopeFlagsConflict",
    "EnvelopeNonceOutOfRange",
    "EnvelopeDependencyNotEarlier",
    "EnvelopeWindowEmpty",
    "EnvelopeCallbackMismatch",
    "EnvelopeShareTooLarge",
}


@pytest.mark.parametrize("case", [case for case in cases("envelope", "invalid") if case.values[0]["error"] in BY_HEAD])
async def test_the_contract_refuses_an_invalid_vector(modules, case):
    assert await judge(modules, [unhex(case["encoding"])]) == [False]
