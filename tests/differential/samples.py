"""Generated values, the same in every run; each field has its bounds more often than chance would give them."""

from dataclasses import replace
from pathlib import Path
from random import Random

from comity.core.envelope import Asset, Condition, Envelope, Flags
from comity.core.policy import Policy
from comity.core.types import Gas, Lane, Seconds, Wei

VECTORS = Path(__file__).parents[2] / "vectors"

U32, U40, U128, U256 = ((1 << bits) - 1 for bits in (32, 40, 128, 256))
MASK = (1 << 120) - 1


def unhex(text: str) -> bytes:
    """Bytes of a vector."""
    return bytes.fromhex(text.removeprefix("0x"))


class Samples(Random):
    """A seeded source of canonical values."""

    def between(self, low: int, high: int) -> int:
        """An integer that is often a bound, or next to one."""
        kind = self.randrange(8)
        if kind < 2:
            return (low, high)[kind]
        if kind == 2:
            return min(low + 1, high)
        if kind == 3:
            return max(high - 1, low)
        return self.randint(low, high if kind < 6 else min(high, low + (1 << self.randrange(40))))

    def bytes32(self) -> bytes:
        """A word that is not zero: an account, a left-padded address, or an extreme."""
        kind = self.randrange(8)
        if kind == 0:
            return (1).to_bytes(32, "big")
        if kind == 1:
            return b"\xff" * 32
        return bytes(12) + self.randbytes(20) if kind < 4 else self.randbytes(31) + b"\1"

    def policy(self, verifiers: int = 120) -> int:
        """The word of a well-formed policy."""
        named = self.sample(range(verifiers), self.between(1, min(verifiers, 12)))
        cut = self.between(0, len(named))
        required, optional = frozenset(named[:cut]), frozenset(named[cut:])
        return Policy(required, optional, self.between(1, len(optional)) if optional else 0).word

    def condition(self) -> Condition:
        """A condition that some word meets."""
        low, high = sorted((self.between(0, U256), self.between(0, U256)))
        return Condition(self.bytes32(), low, high, self.randbytes(self.between(0, 40)))

    def asset(self) -> Asset:
        """Any asset."""
        token = bytes(32) if self.randrange(3) == 0 else self.bytes32()
        return Asset(token, self.between(0, U256), self.bytes32(), self.between(0, U256))

    def envelope(self) -> Envelope:
        """A canonical envelope of any shape."""
        flags = Flags(self.randrange(128))
        assets = () if flags & (Flags.VIEW | Flags.CANCEL) else tuple(self.asset() for _ in range(self.randrange(5)))
        if not assets:
            flags &= ~Flags.FILLABLE
        nonce, sender = self.between(1, U40), self.bytes32()
        deliver_before = self.between(1, U40)
        refund_to = self.bytes32() if self.randrange(2) else bytes(32)
        return Envelope(
            lane=Lane(self.bytes32()),
            nonce=nonce,
            flags=flags,
            sender=sender,
            receiver=self.bytes32(),
            deliver_after=Seconds(self.between(0, deliver_before)),
            deliver_before=Seconds(deliver_before),
            depends_on=self.between(0, nonce - 1),
            gas_limit=Gas(self.between(0, U32)),
            policy=self.policy(),
            return_policy=self.policy(),
            fee=Wei(self.between(0, U128)),
            failed_share_bps=self.between(0, 10_000),
            callback_gas=Gas(self.between(1, U32) if flags & Flags.CALLBACK else 0),
            refund_to=bytes(32) if refund_to == sender else refund_to,
            assets=assets,
            conditions=tuple(self.condition() for _ in range(self.randrange(5))),
            payload=b"" if flags & Flags.FILLABLE else self.randbytes(self.between(0, 300)),
        )


def build_shapes() -> list[Envelope]:
    """Envelopes that between them have every part and every flag, with nothing at its extreme."""
    samples = Samples(3)
    plain = Envelope(
        lane=Lane(b"\x11" * 32),
        nonce=0x0102030405,
        sender=b"\x22" * 32,
        receiver=b"\x33" * 32,
        deliver_after=Seconds(0x0201010101),
        deliver_before=Seconds(0x0403020101),
        depends_on=0x0101010101,
        gas_limit=Gas(0x01020304),
        policy=Policy(frozenset({3, 70}), frozenset({1, 9, 118}), 2).word,
        return_policy=Policy(frozenset({0, 119})).word,
        fee=Wei(0x0102 << 64),
        failed_share_bps=0x1234,
        refund_to=b"\x44" * 32,
        payload=b"comity",
    )
    assets = tuple(samples.asset() for _ in range(2))
    conditions = (Condition(b"\x55" * 32, 5, 1 << 200, b"four"), Condition(b"\x66" * 32, 7, 7))
    return [
        plain,
        replace(plain, payload=b"", refund_to=bytes(32), deliver_after=Seconds(0), depends_on=0),
        replace(plain, flags=Flags.RETRYABLE | Flags.CALLBACK | Flags.CANCELLABLE, callback_gas=Gas(70_000)),
        replace(plain, flags=Flags.VIEW | Flags.LAST_RESORT, conditions=conditions),
        replace(plain, assets=assets, conditions=conditions),
        replace(plain, flags=Flags.FILLABLE | Flags.RETRYABLE, assets=assets, payload=b""),
        replace(plain, flags=Flags.CANCEL, payload=bytes(range(64))),
    ]
