# pragma version 0.4.3
# pragma evm-version prague
"""
@title Authority
@license MIT
@notice All that anyone may decide about one chain's Router and Gate: a two-step, delayed owner who opens lanes, appends
        verifiers, retires and revokes them and sets floors; guardians who can only delay; evidence that suspends by itself.
        Spec: spec/verification.md.
@custom:trust The owner, after a public delay, for every lane and verifier opened from then on. Guardians can hold up deliveries
              for at most 7 days in any 30, and decide nothing.
@custom:kill None: it is immutable. Its owner is replaced in two steps.
"""

from .core import lane as lane_module
from .interfaces import IGate
from .interfaces import IRouter
from .interfaces import IVerifier
from .parts import brake
from .parts import delayed_owner

initializes: delayed_owner
initializes: brake
exports: (
    delayed_owner.owner,
    delayed_owner.pending_owner,
    delayed_owner.due,
    delayed_owner.delay,
    delayed_owner.announce,
    delayed_owner.withdraw,
    delayed_owner.transfer_ownership,
    delayed_owner.accept_ownership,
    brake.guardians,
)

event VerifierRegistered:
    index: indexed(uint256)
    verifier: indexed(address)
    assurance: uint256

event VerifierRetired:
    index: indexed(uint256)

event VerifierRevoked:
    index: indexed(uint256)

event VerifierSuspended:
    index: indexed(uint256)
    until: uint256

event Equivocated:
    index: indexed(uint256)
    lane: indexed(bytes32)
    direction: uint256
    word: uint256
    other_word: uint256


MIN_DELAY: constant(uint256) = 86400
# Seconds that an owner is given to react to evidence, before its own delay.
REACTION: constant(uint256) = 3 * 86400
MAX_VERIFIERS: constant(uint256) = 120
MAX_PROOF: constant(uint256) = 24576

# A verifier's record: address (160) | retired at (40) | suspended until (40) | revoked (1).
ADDRESS_MASK: constant(uint256) = 2**160 - 1
MASK_40: constant(uint256) = 2**40 - 1
RETIRED_SHIFT: constant(uint256) = 160
SUSPENDED_SHIFT: constant(uint256) = 200
REVOKED: constant(uint256) = 2**240

ROUTER: immutable(IRouter)
GATE: immutable(IGate)
DEVELOPMENT: immutable(bool)

# index -> record, as the Gate has it
verifiers: public(HashMap[uint256, uint256])
verifier_count: public(uint256)
# evidence that has had its effect
reported: HashMap[bytes32, bool]
# index -> until when evidence suspends the verifier, in seconds; no guardian shortens it
evidence_until: HashMap[uint256, uint256]


@deploy
def __init__(owner: address, router: address, gate: address, delay: uint256, development: bool):
    """
    @param router The Router on this chain, at an address known in advance.
    @param gate The Gate on this chain, likewise.
    @param delay Seconds between announcing an act of the owner and performing it.
    @param development Allows development verifiers, and a delay below a day.
    """
    assert router != empty(address) and gate != empty(address), "authority: zero address"
    assert development or delay >= MIN_DELAY, "authority: a delay of at least a day is needed"
    delayed_owner.__init__(owner, delay)
    ROUTER = IRouter(router)
    GATE = IGate(gate)
    DEVELOPMENT = development


@external
@view
def development() -> bool:
    return DEVELOPMENT


# ---------------------------------------------------------------------------------------------- the delayed owner


@external
def open_outgoing(destination: uint256, gate: bytes32) -> bytes32:
    """
    @notice Open the lane to a destination's Gate, for ever.
    """
    delayed_owner._perform(keccak256(slice(msg.data, 0, 68)))
    return extcall ROUTER.open_lane(destination, gate)


@external
def open_incoming(origin: uint256, router: bytes32) -> bytes32:
    """
    @notice Open the lane from an origin's Router, for ever.
    """
    delayed_owner._perform(keccak256(slice(msg.data, 0, 68)))
    return extcall GATE.open_lane(origin, router)


@external
def register(verifier: address) -> uint256:
    """
    @notice Append a verifier; its index never means anything else.
    """
    delayed_owner._perform(keccak256(slice(msg.data, 0, 36)))
    index: uint256 = self.verifier_count
    assert index < MAX_VERIFIERS, "authority: no index left"
    assert verifier.is_contract, "authority: no such verifier"
    assert DEVELOPMENT or not staticcall IVerifier(verifier).development(), "authority: a development verifier"
    for i: uint256 in range(index, bound=MAX_VERIFIERS):
        assert convert(self.verifiers[i] & ADDRESS_MASK, address) != verifier, "authority: registered already"
    self.verifier_count = index + 1
    self._store(index, convert(verifier, uint256))
    log VerifierRegistered(index=index, verifier=verifier, assurance=staticcall IVerifier(verifier).assurance())
    return index


@external
def retire(index: uint256):
    """
    @notice Refuse a verifier for new envelopes; what is in flight is still accepted for a while.
    """
    delayed_owner._perform(keccak256(slice(msg.data, 0, 36)))
    record: uint256 = self._existing(index)
    assert (record >> RETIRED_SHIFT) & MASK_40 == 0, "authority: retired already"
    self._store(index, record | block.timestamp << RETIRED_SHIFT)
    log VerifierRetired(index=index)


@external
def revoke(index: uint256):
    """
    @notice What a verifier accepts counts for nothing, from now on and for ever.
    """
    delayed_owner._perform(keccak256(slice(msg.data, 0, 36)))
    self._store(index, self._existing(index) | REVOKED)
    log VerifierRevoked(index=index)


@external
def set_floor(lane: bytes32, policy: uint256):
    """
    @notice What every envelope from the lane must satisfy here, whatever its sender and receiver accept; 0 lifts it.
    """
    delayed_owner._perform(keccak256(slice(msg.data, 0, 68)))
    extcall GATE.set_floor(lane, policy)


@external
def set_front_floor(lane: bytes32, policy: uint256):
    """
    @notice The weakest policy under which the Router's front door sends; 0 lifts it.
    """
    delayed_owner._perform(keccak256(slice(msg.data, 0, 68)))
    extcall ROUTER.set_floor(lane, policy)


@external
def set_default_profile(lane: bytes32, profile: IRouter.Profile):
    """
    @notice What the front door uses for senders without a profile of their own.
    """
    delayed_owner._perform(keccak256(slice(msg.data, 0, 164)))
    extcall ROUTER.set_default_profile(lane, profile)


@external
def set_guardian(guardian: address, active: bool):
    """
    @notice Name a guardian, or dismiss one.
    """
    delayed_owner._perform(keccak256(slice(msg.data, 0, 68)))
    brake._set_guardian(guardian, active)


# ---------------------------------------------------------------------------------------------- guardians


@external
def pause(lane: bytes32, duration: uint256):
    """
    @notice Stop deliveries of an incoming lane. Expiry goes on, and so does every other exit.
    @param duration Seconds.
    """
    extcall GATE.set_paused(lane, brake._stop(lane, duration))


@external
def resume(lane: bytes32):
    """
    @notice End a pause early; only the time used counts.
    """
    brake._release(lane)
    extcall GATE.set_paused(lane, block.timestamp)


@external
def suspend(index: uint256, duration: uint256):
    """
    @notice What a verifier accepts counts for nothing for a while.
    @param duration Seconds.
    """
    self._suspend(index, max(brake._stop(convert(index, bytes32), duration), self.evidence_until[index]))


@external
def reinstate(index: uint256):
    """
    @notice End a guardian's suspension early; one that evidence caused goes on.
    """
    brake._release(convert(index, bytes32))
    self._suspend(index, max(block.timestamp, self.evidence_until[index]))


# ---------------------------------------------------------------------------------------------- anyone


@external
def report(
    index: uint256,
    lane: bytes32,
    direction: uint256,
    word: uint256,
    proof: Bytes[MAX_PROOF],
    other_word: uint256,
    other_proof: Bytes[MAX_PROOF],
):
    """
    @notice Evidence that one verifier itself accepts two words of equal nonce: it is suspended until the owner has had time to
            announce a revocation and its delay has passed, once for each pair. The lower word comes first.
    """
    assert word < other_word, "authority: give the lower word first"
    assert word >> lane_module.ACCUMULATOR_BITS == other_word >> lane_module.ACCUMULATOR_BITS, "authority: no contradiction"
    pair: bytes32 = keccak256(abi_encode(index, lane, direction, word, other_word))
    assert not self.reported[pair], "authority: reported already"
    self.reported[pair] = True

    record: uint256 = self._existing(index)
    verifier: IVerifier = IVerifier(convert(record & ADDRESS_MASK, address))
    digest: bytes32 = staticcall verifier.verify(lane, direction, word, proof)
    assert digest == lane_module._compute_digest(lane, direction, word), "authority: verifier refused"
    digest = staticcall verifier.verify(lane, direction, other_word, other_proof)
    assert digest == lane_module._compute_digest(lane, direction, other_word), "authority: verifier refused"

    until: uint256 = block.timestamp + delayed_owner.DELAY + REACTION
    self.evidence_until[index] = until
    self._suspend(index, max(until, (record >> SUSPENDED_SHIFT) & MASK_40))
    log Equivocated(index=index, lane=lane, direction=direction, word=word, other_word=other_word)


@external
def refresh():
    """
    @notice Tell the Router which verifiers are usable, after a suspension has ended by itself.
    """
    self._refresh()


@internal
def _suspend(index: uint256, until: uint256):
    record: uint256 = self._existing(index)
    self._store(index, record & ~(MASK_40 << SUSPENDED_SHIFT) | until << SUSPENDED_SHIFT)
    log VerifierSuspended(index=index, until=until)


@internal
@view
def _existing(index: uint256) -> uint256:
    record: uint256 = self.verifiers[index]
    assert record != 0, "authority: unknown verifier"
    return record


@internal
def _store(index: uint256, record: uint256):
    self.verifiers[index] = record
    extcall GATE.set_verifier(index, record)
    self._refresh()


@internal
def _refresh():
    usable: uint256 = 0
    for i: uint256 in range(self.verifier_count, bound=MAX_VERIFIERS):
        record: uint256 = self.verifiers[i]
        if record >> 240 == 0 and (record >> RETIRED_SHIFT) & MASK_40 == 0:
            if block.timestamp >= (record >> SUSPENDED_SHIFT) & MASK_40:
                usable |= 1 << i
    extcall ROUTER.set_usable(usable)
