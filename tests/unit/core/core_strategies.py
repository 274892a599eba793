"""Hypothesis strategies for valid values of the core."""

from hypothesis import strategies as st

from comity.core.attestation import AttestationSet
from comity.core.envelope import Asset, Condition, Envelope, Flags
from comity.core.policy import Policy
from comity.core.receipt import Receipt
from comity.core.types import Outcome

bytes32 = st.binary(min_size=32, max_size=32)
nonzero32 = bytes32.filter(any)
u32 = st.integers(0, (1 << 32) - 1)
u40 = st.integers(0, (1 << 40) - 1)
u256 = st.integers(0, (1 << 256) - 1)


@st.composite
def policies(draw, verifiers=120):
    """A well-formed policy."""
    named = draw(st.lists(st.integers(0, verifiers - 1), unique=True, min_size=1, max_size=12))
    split = draw(st.integers(0, len(named)))
    required, optional = frozenset(named[:split]), frozenset(named[split:])
    return Policy(required, optional, draw(st.integers(1, len(optional))) if optional else 0)


@st.composite
def conditions(draw):
    """A condition that some word meets."""
    low, high = sorted((draw(u256), draw(u256)))
    return Condition(draw(bytes32), low, high, draw(st.binary(max_size=40)))


@st.composite
def envelopes(draw):
    """A canonical envelope."""
    flags = Flags(draw(st.integers(0, 127)))
    assets = draw(st.lists(st.builds(Asset, bytes32, u256, bytes32, u256), max_size=4))
    if flags & (Flags.VIEW | Flags.CANCEL):
        assets, flags = [], flags & ~Flags.FILLABLE
    if not assets:
        flags &= ~Flags.FILLABLE
    nonce = draw(st.integers(1, (1 << 40) - 1))
    sender = draw(nonzero32)
    after, before = sorted((draw(u40), draw(st.integers(1, (1 << 40) - 1))))
    return Envelope(
        lane=draw(nonzero32),
        nonce=nonce,
        flags=flags,
        sender=sender,
        receiver=draw(nonzero32),
        deliver_after=after,
        deliver_before=before,
        depends_on=draw(st.integers(0, nonce - 1)),
        gas_limit=draw(u32),
        policy=draw(policies()).word,
        return_policy=draw(policies()).word,
        fee=draw(st.integers(0, (1 << 128) - 1)),
        failed_share_bps=draw(st.integers(0, 10_000)),
        callback_gas=draw(st.integers(1, (1 << 32) - 1)) if flags & Flags.CALLBACK else 0,
        refund_to=draw(bytes32.filter(lambda account: account != sender)),
        assets=tuple(assets),
        conditions=tuple(draw(st.lists(conditions(), max_size=4))),
        payload=b"" if flags & Flags.FILLABLE else draw(st.binary(max_size=80)),
    )


receipts = st.builds(
    Receipt,
    st.integers(1, (1 << 48) - 1),
    st.sampled_from(Outcome),
    st.integers(1, (1 << 40) - 1),
    bytes32,
    st.binary(min_size=20, max_size=20),
    bytes32,
)

addresses = st.binary(min_size=20, max_size=20).filter(any)


@st.composite
def attestation_sets(draw):
    """A set with a reachable threshold."""
    members = tuple(sorted(draw(st.lists(addresses, unique=True, min_size=1, max_size=32))))
    epoch, finality = draw(st.integers(1, (1 << 32) - 1)), draw(st.integers(1, (1 << 32) - 1))
    return AttestationSet(epoch, draw(st.integers(1, len(members))), finality, members)
