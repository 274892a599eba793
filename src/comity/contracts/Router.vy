# pragma version 0.4.3
# pragma evm-version prague
"""
@title Router
@license MIT
@notice Where an envelope begins: takes its fee, gives it its place in the lane, and emits it.
        Spec: spec/envelope.md, spec/lane.md. Twin: comity/core/envelope.py.
@custom:trust Nobody while an envelope is sent. The Authority opens lanes and says which verifiers a return policy may name.
              A lying one can open a lane to a Gate of its own, which touches only those who use that lane.
@custom:kill None: it is immutable. A lane is stopped where it ends, by a guardian of that Gate.
"""

from .core import envelope
from .core import interop_address
from .core import lane as lane_module
from .core import policy as policy_module
from .interfaces import IRouter

# Both mappings stand first: verifiers prove storage slots 0 and 1.
# lane -> nonce (40 bits) | accumulator (216 bits)
words: public(HashMap[bytes32, uint256])
# lane -> nonce -> the word it had then
snapshots: public(HashMap[bytes32, HashMap[uint256, uint256]])

# The event's data is the envelope itself: the seven words that are named here, then the rest of its bytes, to be read with
# spec/envelope.md. (An ABI `bytes` would cost a tenth of the dispatch more, and show less to whoever decodes by the ABI.)
event Dispatched:
    id: indexed(bytes32)
    head: uint256
    lane: bytes32
    sender: bytes32
    receiver: bytes32
    policy: uint256
    return_policy: uint256
    refund_to: bytes32


event MessageSent:
    sendId: indexed(bytes32)
    sender: Bytes[32]
    recipient: Bytes[interop_address.MAX_LENGTH]
    payload: Bytes[MAX_TAIL]
    value: uint256
    attributes: DynArray[Bytes[MAX_ATTRIBUTE], MAX_ATTRIBUTES]

event LaneOpened:
    lane: indexed(bytes32)
    destination: indexed(uint256)
    gate: bytes32

event Snapshotted:
    lane: indexed(bytes32)
    word: uint256

event ProfileSet:
    lane: indexed(bytes32)
    sender: indexed(address)
    profile: IRouter.Profile

event FloorSet:
    lane: indexed(bytes32)
    policy: uint256


# The terms of one envelope at the front door, as its attributes leave them.
struct Terms:
    policy: uint256
    return_policy: uint256
    gas_limit: uint256
    deliver_after: uint256
    deliver_before: uint256
    depends_on: uint256
    flags: uint256
    refund_to: address
    failed_share_bps: uint256
    callback_gas: uint256


MAX_TAIL: constant(uint256) = 1024
MAX_ATTRIBUTE: constant(uint256) = 132
MAX_ATTRIBUTES: constant(uint256) = 16
MAX_LIFETIME: constant(uint256) = 30 * 86400

# Bits of the head word that a sender leaves zero: what the Router writes (version, nonce, payload length), and the flags,
# assets and conditions that it does not take.
FORBIDDEN: constant(uint256) = (
    255 << 248
    | (2**40 - 1) << envelope.NONCE_SHIFT
    | (2**32 - 1)
    | (envelope.VIEW | envelope.FILLABLE | envelope.CANCEL | envelope.LAST_RESORT | 128) << envelope.FLAGS_SHIFT
    | 65535 << envelope.CONDITIONS_SHIFT
)
DISPATCHED: constant(bytes32) = keccak256(
    "Dispatched(bytes32,uint256,bytes32,bytes32,bytes32,uint256,uint256,bytes32)"
)
CALLBACK_FLAG: constant(uint256) = envelope.CALLBACK << envelope.FLAGS_SHIFT
ADDRESS_MASK: constant(uint256) = 2**160 - 1

CANCELLABLE: constant(bytes4) = 0xde986d7f
DELIVER_BEFORE: constant(bytes4) = 0x3e97d7ee
DELIVER_AFTER: constant(bytes4) = 0x745910eb
RETRY_POLICY: constant(bytes4) = 0xf002c055
REVERT_BEHAVIOR: constant(bytes4) = 0x9e521a77
DEPENDS_ON: constant(bytes4) = 0xa9fed7b9
MIN_GAS_LIMIT: constant(bytes4) = 0x39f87ba1
POLICY: constant(bytes4) = method_id("policy(uint256)", output_type=bytes4)
RETURN_POLICY: constant(bytes4) = method_id("returnPolicy(uint256)", output_type=bytes4)
REFUND_TO: constant(bytes4) = method_id("refundTo(address)", output_type=bytes4)
FAILED_SHARE: constant(bytes4) = method_id("failedShare(uint16)", output_type=bytes4)
CALLBACK_GAS: constant(bytes4) = method_id("callbackGas(uint32)", output_type=bytes4)

CHAIN_ID: immutable(uint256)
AUTHORITY: immutable(address)
GATE: immutable(address)

# The local Gate's verifiers that a new return policy may name.
usable: public(uint256)
# destination -> lane; fixed once
lane_to: public(HashMap[uint256, bytes32])
# lane -> sender -> profile; the zero sender's is the destination's default
profiles: public(HashMap[bytes32, HashMap[address, IRouter.Profile]])
# lane -> the weakest policy that the front door sends under
floors: public(HashMap[bytes32, uint256])


@deploy
def __init__(authority: address, gate: address):
    """
    @param authority The Authority on this chain.
    @param gate The Gate on this chain, deployed after this Router at an address known in advance.
    """
    assert authority != empty(address) and gate != empty(address), "router: zero address"
    AUTHORITY = authority
    CHAIN_ID = chain.id
    GATE = gate


@external
@view
def authority() -> address:
    return AUTHORITY


@external
@view
def gate() -> address:
    return GATE


# ---------------------------------------------------------------------------------------------- sending


@external
@payable
def dispatch(
    lane: bytes32,
    receiver: bytes32,
    policy: uint256,
    return_policy: uint256,
    terms: uint256,
    settlement: uint256,
    tail: Bytes[MAX_TAIL],
) -> bytes32:
    """
    @notice Send an envelope; the value is its fee.
    @param terms The envelope's head word with version, nonce and payload length left zero.
    @param settlement failed_share_bps (16) << 192 | callback_gas (32) << 160 | refund_to (160); no refund_to means the caller.
    @param tail The payload.
    @return The envelope's id.
    """
    word: uint256 = self.words[lane]
    head: uint256 = self._place(word, receiver, policy, return_policy, terms, settlement, len(tail))
    refund_to: uint256 = settlement & ADDRESS_MASK
    if refund_to == convert(msg.sender, uint256):
        refund_to = 0
    bytes_: Bytes[envelope.FIXED + MAX_TAIL] = concat(
        convert(head, bytes32),
        lane,
        convert(msg.sender, bytes32),
        receiver,
        convert(policy, bytes32),
        convert(return_policy, bytes32),
        convert(refund_to, bytes32),
        convert(convert(msg.value << 48 | settlement >> 160, uint176), bytes22),
        tail,
    )
    id: bytes32 = keccak256(bytes_)
    word = self._follow(word, id)
    self.words[lane] = word
    if (word >> lane_module.ACCUMULATOR_BITS) & (lane_module.SNAPSHOT_INTERVAL - 1) == 0:
        self.snapshots[lane][word >> lane_module.ACCUMULATOR_BITS] = word
    raw_log([DISPATCHED, id], bytes_)
    return id


@internal
@view
def _place(
    word: uint256,
    receiver: bytes32,
    policy: uint256,
    return_policy: uint256,
    terms: uint256,
    settlement: uint256,
    length: uint256,
) -> uint256:
    """
    @notice Check an envelope that is to follow the lane's word.
    @return Its head word.
    """
    assert chain.id == CHAIN_ID, "router: wrong chain"
    assert word != 0, "router: unknown lane"
    nonce: uint256 = unsafe_add(word >> lane_module.ACCUMULATOR_BITS, 1)
    assert nonce <= lane_module.MAX_NONCE  # dev: a trillion envelopes
    # An account that the Gate could not read would hold up the runs it is part of.
    assert unsafe_sub(convert(receiver, uint256), 1) < ADDRESS_MASK, "router: receiver is not an address"
    # A policy of required verifiers alone, the usual one, is well-formed when it names any.
    if unsafe_sub(policy, 1) >= policy_module.MASK:
        assert policy_module._is_wellformed(policy), "router: policy is not well-formed"
    named: uint256 = return_policy
    if unsafe_sub(named, 1) >= policy_module.MASK:
        assert policy_module._is_wellformed(return_policy), "router: return policy is not well-formed"
        named = policy_module._mask(return_policy)
    assert named & ~self.usable == 0, "router: return policy names an unusable verifier"

    assert terms & FORBIDDEN == 0, "router: malformed or unsupported terms"
    before: uint256 = (terms >> envelope.BEFORE_SHIFT) & envelope.MASK_40
    assert before > block.timestamp, "router: deadline has passed"
    assert before <= unsafe_add(block.timestamp, MAX_LIFETIME), "router: deadline more than 30 days off"
    assert (terms >> envelope.AFTER_SHIFT) & envelope.MASK_40 <= before, "router: delivery after the deadline"
    assert (terms >> envelope.DEPENDS_SHIFT) & envelope.MASK_40 < nonce, "router: depends on a later envelope"
    if (settlement >> 160) | (terms & CALLBACK_FLAG) != 0:
        callback_gas: uint256 = (settlement >> 160) & envelope.MASK_32
        assert (callback_gas != 0) == (terms & CALLBACK_FLAG != 0), "router: callback gas without CALLBACK, or the reverse"
        assert settlement >> 192 <= 10000, "router: failed share above 10000 bps"
    return terms | envelope.VERSION << 248 | nonce << envelope.NONCE_SHIFT | length


@internal
@pure
def _follow(word: uint256, id: bytes32) -> uint256:
    """
    @notice The word that follows a word when an entry is added.
    """
    accumulator: uint256 = word & lane_module.ACCUMULATOR_MASK
    accumulator = convert(keccak256(abi_encode(accumulator, id)), uint256) & lane_module.ACCUMULATOR_MASK
    return (unsafe_add(word >> lane_module.ACCUMULATOR_BITS, 1) << lane_module.ACCUMULATOR_BITS) | accumulator


@internal
def _extend(lane: bytes32, word: uint256, id: bytes32):
    extended: uint256 = self._follow(word, id)
    nonce: uint256 = extended >> lane_module.ACCUMULATOR_BITS
    self.words[lane] = extended
    if nonce & (lane_module.SNAPSHOT_INTERVAL - 1) == 0:
        self.snapshots[lane][nonce] = extended


@internal
@pure
def _refundee(settlement: uint256, sender: address) -> uint256:
    """
    @notice The account in the envelope; the sender's own is written as zero.
    """
    refund_to: uint256 = settlement & ADDRESS_MASK
    if refund_to == convert(sender, uint256):
        return 0
    return refund_to


# ---------------------------------------------------------------------------------------------- front door (ERC-7786)


@external
@view
def supportsAttribute(selector: bytes4) -> bool:
    """
    @notice ERC-7786.
    """
    return selector in [
        CANCELLABLE, DELIVER_BEFORE, DELIVER_AFTER, RETRY_POLICY, REVERT_BEHAVIOR, DEPENDS_ON, MIN_GAS_LIMIT,
        POLICY, RETURN_POLICY, REFUND_TO, FAILED_SHARE, CALLBACK_GAS,
    ]


@external
@payable
def sendMessage(
    recipient: Bytes[interop_address.MAX_LENGTH],
    payload: Bytes[MAX_TAIL],
    attributes: DynArray[Bytes[MAX_ATTRIBUTE], MAX_ATTRIBUTES],
) -> bytes32:
    """
    @notice ERC-7786. The value is the fee; no value travels with the message.
    @param recipient ERC-7930 account on an eip155 chain with an open lane.
    @param attributes ERC-7985's and ours; silent ones come from the sender's profile, else from the destination's.
    @return The envelope's id.
    """
    to: interop_address.Account = interop_address._decode(recipient)
    lane: bytes32 = self.lane_to[to.chain_id]
    assert lane != empty(bytes32), "router: unknown destination"
    terms: Terms = self._defaults(lane, msg.sender)
    for attribute: Bytes[MAX_ATTRIBUTE] in attributes:
        terms = self._apply(terms, attribute)
    assert policy_module._is_wellformed(terms.policy), "router: policy is not well-formed"
    lowest: uint256 = self.floors[lane]
    assert lowest == 0 or policy_module._implies(terms.policy, lowest), "router: policy below the floor"

    head: uint256 = (
        terms.flags << envelope.FLAGS_SHIFT
        | terms.deliver_after << envelope.AFTER_SHIFT
        | terms.deliver_before << envelope.BEFORE_SHIFT
        | terms.depends_on << envelope.DEPENDS_SHIFT
        | terms.gas_limit << envelope.GAS_SHIFT
    )
    settlement: uint256 = (
        terms.failed_share_bps << 192 | terms.callback_gas << 160 | convert(terms.refund_to, uint256)
    )
    word: uint256 = self.words[lane]
    head = self._place(
        word, convert(to.account, bytes32), terms.policy, terms.return_policy, head, settlement, len(payload)
    )
    bytes_: Bytes[envelope.FIXED + MAX_TAIL] = concat(
        convert(head, bytes32),
        lane,
        convert(msg.sender, bytes32),
        convert(to.account, bytes32),
        convert(terms.policy, bytes32),
        convert(terms.return_policy, bytes32),
        convert(self._refundee(settlement, msg.sender), bytes32),
        convert(convert(msg.value << 48 | settlement >> 160, uint176), bytes22),
        payload,
    )
    id: bytes32 = keccak256(bytes_)
    self._extend(lane, word, id)
    raw_log([DISPATCHED, id], bytes_)
    log MessageSent(
        sendId=id,
        sender=interop_address._encode(chain.id, msg.sender),
        recipient=recipient,
        payload=payload,
        value=0,
        attributes=attributes,
    )
    return id


@internal
@view
def _defaults(lane: bytes32, sender: address) -> Terms:
    profile: IRouter.Profile = self.profiles[lane][sender]
    if profile.policy == 0:
        profile = self.profiles[lane][empty(address)]
    assert profile.policy != 0, "router: no profile for this destination"
    return Terms(
        policy=profile.policy,
        return_policy=profile.return_policy,
        gas_limit=profile.gas_limit,
        deliver_after=0,
        deliver_before=block.timestamp + profile.lifetime,
        depends_on=0,
        flags=envelope.RETRYABLE,
        refund_to=empty(address),
        failed_share_bps=0,
        callback_gas=0,
    )


@internal
@pure
def _apply(terms: Terms, attribute: Bytes[MAX_ATTRIBUTE]) -> Terms:
    """
    @notice The terms with one attribute applied; an unsupported attribute or value reverts.
    """
    assert len(attribute) >= 4, "router: malformed attribute"
    selector: bytes4 = convert(slice(attribute, 0, 4), bytes4)
    changed: Terms = terms
    if selector == RETRY_POLICY:
        # bytes: empty means retried until the deadline; maxRetries 0 means never.
        assert len(attribute) >= 68 and convert(extract32(attribute, 4), uint256) == 32, "router: malformed attribute"
        size: uint256 = convert(extract32(attribute, 36), uint256)
        if size == 0:
            assert len(attribute) == 68, "router: malformed attribute"
            changed.flags |= envelope.RETRYABLE
        else:
            assert size == 10 and len(attribute) == 100, "router: unsupported retryPolicy"
            assert convert(extract32(attribute, 68), uint256) >> 240 == 0, "router: unsupported retryPolicy"
            changed.flags &= ~envelope.RETRYABLE
        return changed
    if selector == DEPENDS_ON:
        assert len(attribute) >= 68 and convert(extract32(attribute, 4), uint256) == 32, "router: malformed attribute"
        count: uint256 = convert(extract32(attribute, 36), uint256)
        assert count <= 1 and len(attribute) == 68 + 32 * count, "router: unsupported dependsOn"
        if count == 1:
            # Ids are hashes of which nothing is stored; a dependency is named by its nonce in the lane.
            changed.depends_on = convert(extract32(attribute, 68), uint256)
            assert changed.depends_on <= lane_module.MAX_NONCE, "router: dependsOn takes a nonce of the lane"
        return changed

    assert len(attribute) == 36, "router: malformed attribute"
    value: uint256 = convert(extract32(attribute, 4), uint256)
    if selector == CANCELLABLE:
        assert value <= 1, "router: unsupported value"
        changed.flags = changed.flags & ~envelope.CANCELLABLE | value * envelope.CANCELLABLE
    elif selector == DELIVER_BEFORE:
        assert value != 0 and value <= envelope.MASK_40, "router: a deadline is mandatory"
        changed.deliver_before = value
    elif selector == DELIVER_AFTER:
        assert value <= envelope.MASK_40, "router: unsupported value"
        changed.deliver_after = value
    elif selector == REVERT_BEHAVIOR:
        # 0 reverts and stays retryable; 1 records FAILED; 2 would hide a failure.
        assert value <= 1, "router: unsupported revertBehavior"
        changed.flags = changed.flags & ~envelope.RETRYABLE | (1 - value) * envelope.RETRYABLE
    elif selector == MIN_GAS_LIMIT:
        assert value <= envelope.MASK_32, "router: unsupported value"
        changed.gas_limit = value
    elif selector == POLICY:
        changed.policy = value
    elif selector == RETURN_POLICY:
        changed.return_policy = value
    elif selector == REFUND_TO:
        assert value != 0 and value >> 160 == 0, "router: unsupported value"
        changed.refund_to = convert(value, address)
    elif selector == FAILED_SHARE:
        assert value <= 10000, "router: unsupported value"
        changed.failed_share_bps = value
    elif selector == CALLBACK_GAS:
        assert value <= envelope.MASK_32, "router: unsupported value"
        changed.callback_gas = value
        changed.flags &= ~envelope.CALLBACK
        if value != 0:
            changed.flags |= envelope.CALLBACK
    else:
        raise "router: unsupported attribute"
    return changed


@external
def set_profile(lane: bytes32, profile: IRouter.Profile):
    """
    @notice The caller's own defaults at the front door; a zero policy removes them.
    """
    self._set_profile(lane, msg.sender, profile)


@external
def set_default_profile(lane: bytes32, profile: IRouter.Profile):
    """
    @notice The destination's defaults, for senders without a profile of their own.
    """
    self._only_authority()
    self._set_profile(lane, empty(address), profile)


@external
def set_floor(lane: bytes32, policy: uint256):
    """
    @notice The weakest policy that the front door sends under. The destination's Gate enforces floors of its own.
    """
    self._only_authority()
    assert policy == 0 or policy_module._is_wellformed(policy), "router: policy is not well-formed"
    self.floors[lane] = policy
    log FloorSet(lane=lane, policy=policy)


@internal
def _set_profile(lane: bytes32, sender: address, profile: IRouter.Profile):
    assert self.words[lane] != 0, "router: unknown lane"
    if profile.policy != 0:
        assert policy_module._is_wellformed(profile.policy), "router: policy is not well-formed"
        assert policy_module._is_wellformed(profile.return_policy), "router: return policy is not well-formed"
        assert profile.lifetime != 0 and profile.lifetime <= MAX_LIFETIME, "router: lifetime beyond 30 days"
        assert profile.gas_limit <= envelope.MASK_32, "router: unsupported value"
    self.profiles[lane][sender] = profile
    log ProfileSet(lane=lane, sender=sender, profile=profile)


# ---------------------------------------------------------------------------------------------- lanes


@external
def open_lane(destination: uint256, gate: bytes32) -> bytes32:
    """
    @notice Open the lane to a destination's Gate, for ever.
    """
    self._only_authority()
    assert destination != 0 and destination != CHAIN_ID and gate != empty(bytes32), "router: no such destination"
    assert self.lane_to[destination] == empty(bytes32), "router: lane is open"
    lane: bytes32 = lane_module._compute_lane(CHAIN_ID, convert(self, bytes32), destination, gate)
    self.lane_to[destination] = lane
    self.words[lane] = lane_module._compute_seed(lane, lane_module.DISPATCHES)
    log LaneOpened(lane=lane, destination=destination, gate=gate)
    return lane


@external
def snapshot(lane: bytes32):
    """
    @notice Keep the lane's present word.
    """
    word: uint256 = self.words[lane]
    nonce: uint256 = word >> lane_module.ACCUMULATOR_BITS
    assert nonce != 0, "router: nothing to keep"
    self.snapshots[lane][nonce] = word
    log Snapshotted(lane=lane, word=word)


@external
def set_usable(verifiers: uint256):
    """
    @notice The mask of the local Gate's verifiers that a new envelope's return policy may name.
    """
    self._only_authority()
    self.usable = verifiers


@internal
@view
def _only_authority():
    assert msg.sender == AUTHORITY, "router: not the authority"
