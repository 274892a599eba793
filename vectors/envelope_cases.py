"""Cases of envelope.json. What must be refused is written field by field: the code under test cannot."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from policy_cases import INVALID_POLICIES
from vector_format import LANE, Case, refusals, show

from comity.core import envelope
from comity.core.envelope import Asset, Condition, Envelope, Flags
from comity.core.errors import Invalid
from comity.core.policy import Policy
from comity.core.types import to_address32

SENDER = to_address32(b"\xc3" * 20)
RECEIVER = to_address32(b"\xd4" * 20)
TARGET = to_address32(b"\xe5" * 20)
TOKEN = to_address32(b"\xf6" * 20)
COIN = bytes(32)
DEADLINE = 1_800_000_000
WORD_MAX = (1 << 256) - 1

CALL = Envelope(
    lane=LANE,
    nonce=1,
    flags=Flags.RETRYABLE,
    sender=SENDER,
    receiver=RECEIVER,
    deliver_before=DEADLINE,
    gas_limit=200_000,
    policy=Policy(frozenset({0})).word,
    return_policy=Policy(frozenset({1}), frozenset({2, 3, 4}), 2).word,
    fee=10**15,
    payload=b"comity",
)
ASSET = Asset(COIN, 10**18, TOKEN, 2 * 10**18)
CONDITION = Condition(TARGET, 1, 1 << 128, bytes.fromhex("18160ddd"))
FULL = replace(
    CALL,
    nonce=(1 << 40) - 1,
    flags=Flags.RETRYABLE | Flags.CALLBACK | Flags.CANCELLABLE | Flags.LAST_RESORT,
    deliver_after=DEADLINE,
    depends_on=(1 << 40) - 2,
    gas_limit=(1 << 32) - 1,
    fee=(1 << 128) - 1,
    failed_share_bps=10_000,
    callback_gas=(1 << 32) - 1,
    refund_to=b"\xff" * 32,
    assets=(ASSET,) * 4,
    conditions=(
        CONDITION,
        replace(CONDITION, calldata=bytes(1024)),
        replace(CONDITION, low=0, high=WORD_MAX),
        CONDITION,
    ),
    payload=bytes(range(256)),
)

VALID_ENVELOPES = {
    "a call": CALL,
    "an empty payload": replace(CALL, payload=b""),
    "the largest payload": replace(CALL, payload=b"\x5a" * envelope.MAX_PAYLOAD_BYTES),
    "every field at its bound": FULL,
    "a view": replace(CALL, flags=Flags.VIEW | Flags.RETRYABLE),
    "a fillable order": replace(CALL, flags=Flags.FILLABLE, assets=(ASSET,), payload=b""),
    "plain assets": replace(CALL, assets=(ASSET, ASSET), payload=b""),
    "a cancel": replace(CALL, nonce=2, flags=Flags.CANCEL, payload=CALL.encode()),
    "a condition that admits one word": replace(CALL, conditions=(replace(CONDITION, low=7, high=7),)),
    "a window of one second": replace(CALL, deliver_after=DEADLINE),
    "a dependency on the envelope before": replace(CALL, nonce=2, depends_on=1),
    "refunds to another account": replace(CALL, refund_to=TARGET),
    "a callback": replace(CALL, flags=Flags.CALLBACK, callback_gas=1),
}


def write_envelope(fields: Envelope, **overrides: Any) -> bytes:
    """Encode without any check, with counts, lengths and words as `overrides` says."""
    get = overrides.get
    head = (
        (get("version", 1), 1),
        (int(get("flags", fields.flags)), 1),
        (get("nonce", fields.nonce), 5),
        (get("deliver_after", fields.deliver_after), 5),
        (get("deliver_before", fields.deliver_before), 5),
        (get("depends_on", fields.depends_on), 5),
        (fields.gas_limit, 4),
        (get("asset_count", len(fields.assets)), 1),
        (get("condition_count", len(fields.conditions)), 1),
        (get("payload_length", len(fields.payload)), 4),
    )
    tail = (
        (get("policy", fields.policy), 32),
        (get("return_policy", fields.return_policy), 32),
        (int.from_bytes(get("refund_to", fields.refund_to), "big"), 32),
        (fields.fee, 16),
        (get("failed_share_bps", fields.failed_share_bps), 2),
        (get("callback_gas", fields.callback_gas), 4),
    )
    encoding = b"".join(value.to_bytes(size, "big") for value, size in head)
    encoding += get("lane", fields.lane) + get("sender", fields.sender) + get("receiver", fields.receiver)
    encoding += b"".join(value.to_bytes(size, "big") for value, size in tail)
    for asset in fields.assets:
        encoding += asset.token_in + asset.amount_in.to_bytes(32, "big")
        encoding += asset.token_out + asset.amount_out.to_bytes(32, "big")
    for condition in fields.conditions:
        encoding += condition.target + condition.low.to_bytes(32, "big") + condition.high.to_bytes(32, "big")
        encoding += len(condition.calldata).to_bytes(2, "big") + condition.calldata
    return encoding + fields.payload


def invalid_envelopes() -> Iterator[tuple[str, bytes, type[Invalid]]]:
    """Encodings that each break one rule."""
    valid, with_asset = CALL.encode(), replace(CALL, assets=(ASSET,))
    yield "no bytes", b"", envelope.EnvelopeLengthMismatch
    yield "fixed part cut short", valid[:245], envelope.EnvelopeLengthMismatch
    yield "payload cut short", valid[:-1], envelope.EnvelopeLengthMismatch
    yield "a trailing byte", valid + b"\0", envelope.EnvelopeLengthMismatch
    yield "payload length too small", write_envelope(CALL, payload_length=5), envelope.EnvelopeLengthMismatch
    yield "payload length too large", write_envelope(CALL, payload_length=7), envelope.EnvelopeLengthMismatch
    yield "an asset that is not there", write_envelope(CALL, asset_count=1), envelope.EnvelopeLengthMismatch
    yield "a condition that is not there", write_envelope(CALL, condition_count=1), envelope.EnvelopeLengthMismatch
    torn = write_envelope(replace(CALL, conditions=(CONDITION,), payload=b""))
    yield "calldata cut short", torn[:-1], envelope.EnvelopeLengthMismatch
    yield "version 0", write_envelope(CALL, version=0), envelope.EnvelopeVersionUnknown
    yield "version 2", write_envelope(CALL, version=2), envelope.EnvelopeVersionUnknown
    yield "the tag of a receipt", write_envelope(CALL, version=0x81), envelope.EnvelopeVersionUnknown
    yield "flag 128", write_envelope(CALL, flags=128), envelope.EnvelopeFlagsUnknown
    yield "nonce 0", write_envelope(CALL, nonce=0), envelope.EnvelopeNonceOutOfRange
    yield "depends on itself", write_envelope(CALL, depends_on=1), envelope.EnvelopeDependencyNotEarlier
    yield "depends on a later one", write_envelope(CALL, depends_on=2), envelope.EnvelopeDependencyNotEarlier
    yield "no deadline", write_envelope(CALL, deliver_before=0), envelope.EnvelopeWindowEmpty
    yield "deadline before the start", write_envelope(CALL, deliver_after=DEADLINE + 1), envelope.EnvelopeWindowEmpty
    yield "five assets", write_envelope(replace(CALL, assets=(ASSET,) * 5)), envelope.EnvelopeTooLarge
    yield "five conditions", write_envelope(replace(CALL, conditions=(CONDITION,) * 5)), envelope.EnvelopeTooLarge
    yield "payload one byte too long", write_envelope(replace(CALL, payload=bytes(16385))), envelope.EnvelopeTooLarge
    long_call = replace(CALL, conditions=(replace(CONDITION, calldata=bytes(1025)),))
    yield "calldata one byte too long", write_envelope(long_call), envelope.EnvelopeTooLarge
    for flag in (Flags.VIEW, Flags.CANCEL):
        name = str(flag.name)
        yield f"{name} with an asset", write_envelope(with_asset, flags=flag), envelope.EnvelopeFlagsConflict
        filled = write_envelope(CALL, flags=flag | Flags.FILLABLE)
        yield f"{name} and FILLABLE", filled, envelope.EnvelopeFlagsConflict
    bare = replace(CALL, payload=b"")
    yield "FILLABLE without an asset", write_envelope(bare, flags=Flags.FILLABLE), envelope.EnvelopeFlagsConflict
    yield "FILLABLE with a payload", write_envelope(with_asset, flags=Flags.FILLABLE), envelope.EnvelopeFlagsConflict
    yield "CALLBACK without gas", write_envelope(CALL, flags=Flags.CALLBACK), envelope.EnvelopeCallbackMismatch
    yield "callback gas without CALLBACK", write_envelope(CALL, callback_gas=1), envelope.EnvelopeCallbackMismatch
    yield "a share of 10001 bps", write_envelope(CALL, failed_share_bps=10_001), envelope.EnvelopeShareTooLarge
    for name in ("lane", "sender", "receiver"):
        yield f"{name} is zero", write_envelope(CALL, **{name: bytes(32)}), envelope.EnvelopeFieldZero
    yield "refund_to spells the sender out", write_envelope(CALL, refund_to=SENDER), envelope.EnvelopeRefundToSender
    for name in ("policy", "return_policy"):
        for why, word, _ in INVALID_POLICIES:
            encoding = write_envelope(CALL, **{name: word})
            yield f"{name}: {why}", encoding, envelope.EnvelopePolicyIllFormed
    crossed = replace(CALL, conditions=(replace(CONDITION, low=2, high=1),))
    yield "a condition that admits no word", write_envelope(crossed), envelope.EnvelopeConditionEmpty


def show_envelope(fields: Envelope) -> Case:
    """The fields as JSON."""
    names = ("nonce", "deliver_after", "deliver_before", "depends_on", "gas_limit", "failed_share_bps", "callback_gas")
    assets = [
        {
            "token_in": show(a.token_in),
            "amount_in": hex(a.amount_in),
            "token_out": show(a.token_out),
            "amount_out": hex(a.amount_out),
        }
        for a in fields.assets
    ]
    conditions = [
        {"target": show(c.target), "low": hex(c.low), "high": hex(c.high), "calldata": show(c.calldata)}
        for c in fields.conditions
    ]
    return {
        "flags": int(fields.flags),
        **{name: getattr(fields, name) for name in names},
        **{name: show(getattr(fields, name)) for name in ("lane", "sender", "receiver", "refund_to", "payload")},
        **{name: hex(getattr(fields, name)) for name in ("policy", "return_policy", "fee")},
        "assets": assets,
        "conditions": conditions,
    }


def build_envelope() -> Case:
    """envelope.json."""
    valid = [
        {
            "name": name,
            "fields": show_envelope(fields),
            "encoding": show(fields.encode()),
            "id": show(fields.id),
            "terms": hex(envelope.compute_terms(fields)),
            "settlement": hex(envelope.compute_settlement(fields)),
            "tail": show(envelope.encode_tail(fields)),
        }
        for name, fields in VALID_ENVELOPES.items()
    ]
    return {"valid": valid, "invalid": refusals(invalid_envelopes())}
