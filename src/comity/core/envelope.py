"""Envelopes: one canonical, flat encoding that is hashed for the id, emitted by the Router and carried to the Gate.

Trusts nobody: `decode` accepts exactly what `Envelope.encode` can write, and names what disagrees with it.
Spec: spec/envelope.md. Twin: contracts/core/envelope.vy.
"""

import struct
from dataclasses import dataclass
from enum import IntFlag

from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.lane import MAX_NONCE
from comity.core.policy import PolicyError, validate_policy
from comity.core.types import Address32, EnvelopeId, Gas, Lane, Seconds, Wei

VERSION = 1
MAX_ASSETS = 4
MAX_CONDITIONS = 4
MAX_PAYLOAD_BYTES = 16384
MAX_CALLDATA_BYTES = 1024
"""Of one condition."""
MAX_SHARE_BPS = 10_000
REFUND_TO_SENDER = Address32(bytes(32))
"""How an envelope whose refunds go to its sender says so."""

_FIXED = struct.Struct(">32s32s32s32s32s32s32s16sHI")
_ASSET = struct.Struct(">32s32s32s32s")
_CONDITION = struct.Struct(">32s32s32sH")
FIXED_BYTES = _FIXED.size
ASSET_BYTES = _ASSET.size
CONDITION_FIXED_BYTES = _CONDITION.size
MAX_ENVELOPE_BYTES = (
    FIXED_BYTES
    + MAX_ASSETS * ASSET_BYTES
    + MAX_CONDITIONS * (CONDITION_FIXED_BYTES + MAX_CALLDATA_BYTES)
    + MAX_PAYLOAD_BYTES
)

VERSION_SHIFT = 248
FLAGS_SHIFT = 240
NONCE_SHIFT = 200
DELIVER_AFTER_SHIFT = 160
DELIVER_BEFORE_SHIFT = 120
DEPENDS_ON_SHIFT = 80
GAS_LIMIT_SHIFT = 48
ASSET_COUNT_SHIFT = 40
CONDITION_COUNT_SHIFT = 32
_U8 = 0xFF
_U32 = 0xFFFFFFFF
_U40 = MAX_NONCE


class Flags(IntFlag):
    """What the sender chose; bit 7 is unknown and refused."""

    VIEW = 1
    """A static call of any target; the answer goes into the receipt."""
    FILLABLE = 2
    """A solver may hand over the assets at once, at its own risk."""
    RETRYABLE = 4
    """A failing receiver leaves the envelope undecided."""
    CALLBACK = 8
    """The sender's `on_receipt` is called with `callback_gas`."""
    CANCELLABLE = 16
    CANCEL = 32
    """The payload is the encoding of the envelope to cancel; only the Router sets it."""
    LAST_RESORT = 64


KNOWN_FLAGS = 127

_NO_FLAGS = Flags(0)
_AT_ONCE = Seconds(0)
_NO_FEE = Wei(0)
_NO_GAS = Gas(0)


class EnvelopeError(Invalid):
    """Not a canonical envelope; the subclasses say why."""


class EnvelopeLengthMismatch(EnvelopeError):
    """Too short for its fixed part, or not exactly as long as its counts and lengths say."""


class EnvelopeVersionUnknown(EnvelopeError):
    """The version byte is not 1."""


class EnvelopeFlagsUnknown(EnvelopeError):
    """A flag that this version does not know is set."""


class EnvelopeFlagsConflict(EnvelopeError):
    """The flags contradict each other, the assets or the payload."""


class EnvelopeNonceOutOfRange(EnvelopeError):
    """Nonces start at 1."""


class EnvelopeDependencyNotEarlier(EnvelopeError):
    """An envelope can depend only on an earlier one of its lane."""


class EnvelopeWindowEmpty(EnvelopeError):
    """There is no deadline, or it lies before `deliver_after`."""


class EnvelopeTooLarge(EnvelopeError):
    """More assets, conditions, payload or calldata than an envelope may carry."""


class EnvelopeCallbackMismatch(EnvelopeError):
    """CALLBACK without gas for it, or gas without CALLBACK."""


class EnvelopeShareTooLarge(EnvelopeError):
    """The share for a failure exceeds the whole fee."""


class EnvelopeRefundToSender(EnvelopeError):
    """The refund's account is written out though it is the sender's."""


class EnvelopeFieldZero(EnvelopeError):
    """The lane, the sender or the receiver is zero."""


class EnvelopePolicyIllFormed(EnvelopeError):
    """A policy is not well-formed; the cause says why."""


class EnvelopeConditionEmpty(EnvelopeError):
    """No word can lie between the bounds of a condition."""


class EnvelopeFieldTooWide(EnvelopeError):
    """A value does not fit its field; only possible when encoding."""


@dataclass(frozen=True, slots=True)
class Asset:
    """Escrowed at the origin against what must be handed over at the destination; token 0 is the chain's own coin."""

    token_in: Address32
    amount_in: int
    token_out: Address32
    amount_out: int


@dataclass(frozen=True, slots=True)
class Condition:
    """A static call at the destination whose answer, one word, must lie in [low, high]."""

    target: Address32
    low: int
    high: int
    calldata: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One message of a lane with everything that its sender fixed."""

    lane: Lane
    nonce: int
    """Position in the lane's dispatches, from 1, gap-free."""
    flags: Flags = _NO_FLAGS
    sender: Address32
    receiver: Address32
    deliver_after: Seconds = _AT_ONCE
    """Unix seconds on the destination's clock."""
    deliver_before: Seconds
    """The deadline: unix seconds on the destination's clock; executed or filled at it or before, expired after it."""
    depends_on: int = 0
    """An earlier nonce of the same lane and policy; 0 for none."""
    gas_limit: Gas
    """For hand-over and hook at the destination."""
    policy: int
    """The weakest policy under which the sender accepts execution, over the destination's verifiers."""
    return_policy: int
    """The policy under which the origin accepts the receipt, over the origin's verifiers."""
    fee: Wei = _NO_FEE
    """Of the origin's coin, for a terminal outcome."""
    failed_share_bps: int = 0
    """The part of the fee that is paid for FAILED."""
    callback_gas: Gas = _NO_GAS
    refund_to: Address32 = REFUND_TO_SENDER
    """Account on the origin; zero means the sender, which is never written out."""
    assets: tuple[Asset, ...] = ()
    conditions: tuple[Condition, ...] = ()
    payload: bytes = b""

    def encode(self) -> bytes:
        """Encode canonically.

        Raises: EnvelopeError.
        """
        _validate(self)
        try:
            return b"".join(
                (
                    _FIXED.pack(
                        _pack_head(self, VERSION, self.nonce, len(self.payload)).to_bytes(32, "big"),
                        self.lane,
                        self.sender,
                        self.receiver,
                        self.policy.to_bytes(32, "big"),
                        self.return_policy.to_bytes(32, "big"),
                        self.refund_to,
                        self.fee.to_bytes(16, "big"),
                        self.failed_share_bps,
                        self.callback_gas,
                    ),
                    *map(_encode_asset, self.assets),
                    *map(_encode_condition, self.conditions),
                    self.payload,
                )
            )
        except (OverflowError, struct.error) as error:
            raise EnvelopeFieldTooWide("a value does not fit its field", cause=str(error)) from error

    @property
    def id(self) -> EnvelopeId:
        """keccak-256 of the encoding."""
        return compute_id(self.encode())


def compute_id(encoding: bytes) -> EnvelopeId:
    """Compute the id of an encoded envelope, which is also its entry in the lane."""
    return EnvelopeId(keccak(encoding))


def compute_terms(envelope: Envelope) -> int:
    """Compute the head word as the Router takes it: version, nonce and payload length stay zero for it to fill.

    Raises: EnvelopeFieldTooWide.
    """
    _validate_widths(envelope)
    return _pack_head(envelope, 0, 0, 0)


def compute_settlement(envelope: Envelope) -> int:
    """Compute the Router's `settlement` argument: failed_share_bps << 32 | callback_gas.

    Raises: EnvelopeFieldTooWide.
    """
    _validate_widths(envelope)
    return envelope.failed_share_bps << 32 | envelope.callback_gas


def encode_tail(envelope: Envelope) -> bytes:
    """Encode what follows the fixed part: assets, conditions, payload; the Router's `tail` argument.

    Raises: EnvelopeError.
    """
    return envelope.encode()[FIXED_BYTES:]


def decode(encoding: bytes) -> Envelope:
    """Read an envelope; the strict inverse of `Envelope.encode`.

    Raises: EnvelopeError.
    """
    if len(encoding) < FIXED_BYTES:
        raise EnvelopeLengthMismatch("envelope is shorter than its fixed part", least=FIXED_BYTES, actual=len(encoding))
    (head_bytes, lane, sender, receiver, policy, return_policy, refund_to, fee, failed_share_bps, callback_gas) = (
        _FIXED.unpack_from(encoding)
    )
    head = int.from_bytes(head_bytes, "big")
    if head >> VERSION_SHIFT != VERSION:
        raise EnvelopeVersionUnknown("envelope version", expected=VERSION, actual=head >> VERSION_SHIFT)
    assets, conditions, payload = _decode_tail(encoding, head)
    envelope = Envelope(
        lane=lane,
        nonce=head >> NONCE_SHIFT & _U40,
        flags=_FLAGS[head >> FLAGS_SHIFT & _U8],
        sender=sender,
        receiver=receiver,
        deliver_after=Seconds(head >> DELIVER_AFTER_SHIFT & _U40),
        deliver_before=Seconds(head >> DELIVER_BEFORE_SHIFT & _U40),
        depends_on=head >> DEPENDS_ON_SHIFT & _U40,
        gas_limit=Gas(head >> GAS_LIMIT_SHIFT & _U32),
        policy=int.from_bytes(policy, "big"),
        return_policy=int.from_bytes(return_policy, "big"),
        fee=Wei(int.from_bytes(fee, "big")),
        failed_share_bps=failed_share_bps,
        callback_gas=callback_gas,
        refund_to=refund_to,
        assets=assets,
        conditions=conditions,
        payload=payload,
    )
    _validate(envelope)
    return envelope


def read_nonce(encoding: bytes) -> int:
    """Read only the nonce of an encoded envelope, whose other fields are not checked.

    Raises: EnvelopeLengthMismatch.
    """
    if len(encoding) < FIXED_BYTES:
        raise EnvelopeLengthMismatch("envelope is shorter than its fixed part", least=FIXED_BYTES, actual=len(encoding))
    return int.from_bytes(encoding[2:7], "big")


def _pack_head(envelope: Envelope, version: int, nonce: int, payload_length: int) -> int:
    return (
        version << VERSION_SHIFT
        | envelope.flags << FLAGS_SHIFT
        | nonce << NONCE_SHIFT
        | envelope.deliver_after << DELIVER_AFTER_SHIFT
        | envelope.deliver_before << DELIVER_BEFORE_SHIFT
        | envelope.depends_on << DEPENDS_ON_SHIFT
        | envelope.gas_limit << GAS_LIMIT_SHIFT
        | len(envelope.assets) << ASSET_COUNT_SHIFT
        | len(envelope.conditions) << CONDITION_COUNT_SHIFT
        | payload_length
    )


def _encode_asset(asset: Asset) -> bytes:
    _validate_bytes32("token_in", asset.token_in)
    _validate_bytes32("token_out", asset.token_out)
    return asset.token_in + asset.amount_in.to_bytes(32, "big") + asset.token_out + asset.amount_out.to_bytes(32, "big")


def _encode_condition(condition: Condition) -> bytes:
    _validate_bytes32("target", condition.target)
    low, high = condition.low.to_bytes(32, "big"), condition.high.to_bytes(32, "big")
    return _CONDITION.pack(condition.target, low, high, len(condition.calldata)) + condition.calldata


def _decode_tail(encoding: bytes, head: int) -> tuple[tuple[Asset, ...], tuple[Condition, ...], bytes]:
    """Read assets, conditions and payload; the end of the payload must be the end of the encoding."""
    asset_count, condition_count = head >> ASSET_COUNT_SHIFT & _U8, head >> CONDITION_COUNT_SHIFT & _U8
    _validate_size("assets", asset_count, MAX_ASSETS)
    _validate_size("conditions", condition_count, MAX_CONDITIONS)
    offset = FIXED_BYTES
    assets: tuple[Asset, ...] = ()
    conditions: tuple[Condition, ...] = ()
    for _ in range(asset_count):
        token_in, amount_in, token_out, amount_out = _ASSET.unpack(_take(encoding, offset, ASSET_BYTES))
        assets += (Asset(token_in, int.from_bytes(amount_in, "big"), token_out, int.from_bytes(amount_out, "big")),)
        offset += ASSET_BYTES
    for _ in range(condition_count):
        target, low, high, length = _CONDITION.unpack(_take(encoding, offset, CONDITION_FIXED_BYTES))
        offset += CONDITION_FIXED_BYTES
        calldata = _take(encoding, offset, length)
        conditions += (Condition(target, int.from_bytes(low, "big"), int.from_bytes(high, "big"), calldata),)
        offset += length
    payload_length = head & _U32
    _validate_size("payload bytes", payload_length, MAX_PAYLOAD_BYTES)
    if len(encoding) != offset + payload_length:
        raise EnvelopeLengthMismatch("envelope length", expected=offset + payload_length, actual=len(encoding))
    return assets, conditions, encoding[offset:]


def _take(encoding: bytes, offset: int, length: int) -> bytes:
    if len(encoding) < offset + length:
        raise EnvelopeLengthMismatch("envelope ends early", least=offset + length, actual=len(encoding))
    return encoding[offset : offset + length]


def _validate(envelope: Envelope) -> None:
    _validate_widths(envelope)
    _validate_head(envelope)
    _validate_flags(envelope)
    for name in ("lane", "sender", "receiver"):
        value = getattr(envelope, name)
        _validate_bytes32(name, value)
        if value == _ZERO:
            raise EnvelopeFieldZero("must not be zero", field=name)
    _validate_bytes32("refund_to", envelope.refund_to)
    if envelope.refund_to == envelope.sender:
        raise EnvelopeRefundToSender("zero stands for the sender", refund_to=envelope.refund_to)
    for name in ("policy", "return_policy"):
        try:
            validate_policy(getattr(envelope, name))
        except PolicyError as error:
            raise EnvelopePolicyIllFormed(error.message, field=name, **error.values) from error
    for index, condition in enumerate(envelope.conditions):
        _validate_size("calldata bytes", len(condition.calldata), MAX_CALLDATA_BYTES)
        if condition.low > condition.high:
            raise EnvelopeConditionEmpty("condition", index=index, low=condition.low, high=condition.high)


def _validate_widths(envelope: Envelope) -> None:
    for name, most in _WIDTHS:
        value = getattr(envelope, name)
        if value < 0 or value > most:
            raise EnvelopeFieldTooWide("a value does not fit its field", field=name, value=value, most=most)


def _validate_head(envelope: Envelope) -> None:
    if envelope.nonce == 0:
        raise EnvelopeNonceOutOfRange("nonces start at 1", nonce=envelope.nonce)
    if envelope.depends_on >= envelope.nonce:
        raise EnvelopeDependencyNotEarlier("dependency", depends_on=envelope.depends_on, nonce=envelope.nonce)
    if envelope.deliver_before == 0 or envelope.deliver_after > envelope.deliver_before:
        raise EnvelopeWindowEmpty(
            "delivery window", deliver_after=envelope.deliver_after, deliver_before=envelope.deliver_before
        )
    _validate_size("assets", len(envelope.assets), MAX_ASSETS)
    _validate_size("conditions", len(envelope.conditions), MAX_CONDITIONS)
    _validate_size("payload bytes", len(envelope.payload), MAX_PAYLOAD_BYTES)
    if envelope.failed_share_bps > MAX_SHARE_BPS:
        raise EnvelopeShareTooLarge("failed share", bps=envelope.failed_share_bps, most=MAX_SHARE_BPS)


def _validate_flags(envelope: Envelope) -> None:
    flags = int(envelope.flags)
    if flags & ~KNOWN_FLAGS:
        raise EnvelopeFlagsUnknown("envelope flags", flags=flags, known=KNOWN_FLAGS)
    if flags & _NO_ASSETS and (envelope.assets or flags & _FILLABLE):
        raise EnvelopeFlagsConflict("VIEW and CANCEL exclude assets and FILLABLE", flags=flags, n=len(envelope.assets))
    if flags & _FILLABLE and (not envelope.assets or envelope.payload):
        raise EnvelopeFlagsConflict(
            "FILLABLE needs an asset and no payload", assets=len(envelope.assets), payload_bytes=len(envelope.payload)
        )
    if bool(flags & _CALLBACK) != bool(envelope.callback_gas):
        raise EnvelopeCallbackMismatch("callback", flags=flags, callback_gas=envelope.callback_gas)


def _validate_bytes32(name: str, value: bytes) -> None:
    if len(value) != 32:
        raise EnvelopeFieldTooWide("must be 32 bytes", field=name, expected=32, actual=len(value))


def _validate_size(what: str, actual: int, most: int) -> None:
    if actual > most:
        raise EnvelopeTooLarge(f"too many {what}", most=most, actual=actual)


_ZERO = bytes(32)
_CALLBACK = int(Flags.CALLBACK)
_FILLABLE = int(Flags.FILLABLE)
_NO_ASSETS = int(Flags.VIEW | Flags.CANCEL)
_FLAGS = [Flags(value) for value in range(1 << 8)]
_WIDTHS = (
    ("nonce", _U40),
    ("deliver_after", _U40),
    ("deliver_before", _U40),
    ("depends_on", _U40),
    ("gas_limit", _U32),
    ("flags", _U8),
    ("fee", (1 << 128) - 1),
    ("failed_share_bps", 0xFFFF),
    ("callback_gas", _U32),
)
