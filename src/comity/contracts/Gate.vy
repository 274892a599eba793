# pragma version 0.4.3
# pragma evm-version prague
"""
@title Gate
@license MIT
@notice Where an envelope ends: asks the verifiers that its policies name, executes it, and records the outcome in a receipt.
        Spec: spec/verification.md, spec/outcomes.md. Twin: comity/core/delivery.py.
@custom:trust For each envelope, the verifiers of its sender's policy, its receiver's and the floor, together; broken verifiers
              deceive those who accept them and nobody else. The Authority opens lanes and registers verifiers, after a delay.
@custom:kill The Authority: its guardians pause a lane or suspend a verifier for at most 7 days in any 30, its owner revokes one.
"""

from .core import envelope
from .core import interop_address
from .core import lane as lane_module
from .core import policy as policy_module
from .interfaces import IGate
from .interfaces import IVerifier
from .parts import receiver_policies

# Both mappings stand first: verifiers prove storage slots 0 and 1.
# lane -> nonce (40 bits) | accumulator (216 bits) of its receipts
words: public(HashMap[bytes32, uint256])
# lane -> nonce -> the word it had then
snapshots: public(HashMap[bytes32, HashMap[uint256, uint256]])

initializes: receiver_policies
exports: (receiver_policies.policy_of, receiver_policies.tiers_of)

event Decided:
    id: indexed(bytes32)
    # origin (48) | beneficiary there (160) | position in the lane's receipts (40) | outcome (8)
    receipt: uint256

event Replied:
    id: indexed(bytes32)
    result: Bytes[MAX_REPLY]

event Failed:
    id: indexed(bytes32)
    reason: Bytes[MAX_REASON]

event LaneOpened:
    lane: indexed(bytes32)
    origin: indexed(uint256)
    router: bytes32

event LanePaused:
    lane: indexed(bytes32)
    until: uint256

event Snapshotted:
    lane: indexed(bytes32)
    word: uint256

event FloorSet:
    lane: indexed(bytes32)
    policy: uint256


MAX_BODY: constant(uint256) = 65536
MAX_ENTRIES: constant(uint256) = 128
MAX_SUFFIX: constant(uint256) = 256
MAX_PROOFS: constant(uint256) = 8
SMALL: constant(uint256) = 1312
# id, two offsets, two lengths, and an ERC-7930 address of at most 32 bytes
MAX_HOOK: constant(uint256) = 4 + 6 * 32 + SMALL
MAX_REPLY: constant(uint256) = 1024
MAX_REASON: constant(uint256) = 256

# Where the ABI puts the body of deliver(uint256,bytes32,bytes), and the length of its header.
BODY_OFFSET: constant(uint256) = 68
BODY: constant(uint256) = 132
BODY_HEADER: constant(uint256) = 10
NONCE_IN_START: constant(uint256) = envelope.NONCE_SHIFT - 16

# Two-bit marks, and the outcomes of a receipt.
UNDECIDED: constant(uint256) = 0
EXECUTED: constant(uint256) = 1
FAILED: constant(uint256) = 2
CANCELLED: constant(uint256) = 3
FILLED: constant(uint256) = 4
EXPIRED: constant(uint256) = 5

# keccak256("Receipt(uint256 receipt,bytes32 id,bytes32 result)")
RECEIPT_TYPEHASH: constant(bytes32) = keccak256("Receipt(uint256 receipt,bytes32 id,bytes32 result)")

# A lane's state: origin (below 2^48) | paused until (40) | opened (1).
ORIGIN_MASK: constant(uint256) = 2**48 - 1
PAUSED_SHIFT: constant(uint256) = 64
OPENED: constant(uint256) = 2**104
FLOORED: constant(uint256) = 2**105

# Gas for what surrounds a hook: the frame's own work, which is below 10,000 for the longest payload, and the bookkeeping.
FRAME_GAS: constant(uint256) = 20000
RESERVE_GAS: constant(uint256) = 80000
# How long a retired verifier is still accepted for delivery, in seconds.
DELIVERY_OVERLAP: constant(uint256) = 30 * 86400
MAX_PAUSE: constant(uint256) = 7 * 86400
MAX_VERIFIERS: constant(uint256) = 120
ADDRESS_MASK: constant(uint256) = 2**160 - 1

VALUATION_GAS: constant(uint256) = 100000

# The answer of a hook that took its message: its own selector.
MAGIC: constant(bytes32) = 0x2432ef2600000000000000000000000000000000000000000000000000000000

# Flags, assets and conditions that this Gate does not execute.
UNSUPPORTED: constant(uint256) = (
    (envelope.VIEW | envelope.FILLABLE | envelope.CANCEL | 128) << envelope.FLAGS_SHIFT | 65535 << envelope.CONDITIONS_SHIFT
)

# Why an envelope of the run was left untouched.
ALREADY_DELIVERED: constant(uint256) = 16
TOO_EARLY: constant(uint256) = 17
DEADLINE_PASSED: constant(uint256) = 18
POLICY_NOT_SATISFIED: constant(uint256) = 19
NO_RECEIVER_POLICY: constant(uint256) = 20
DEPENDENCY_UNDECIDED: constant(uint256) = 21
MORE_GAS_NEEDED: constant(uint256) = 22
RECEIVER_FAILED: constant(uint256) = 23
NOT_SUPPORTED: constant(uint256) = 24
VALUATION_FAILED: constant(uint256) = 25

CHAIN_ID: immutable(uint256)
AUTHORITY: immutable(address)
ROUTER: immutable(address)

# index -> address (160) | retired at (40) | suspended until (40) | revoked (1)
verifiers: public(HashMap[uint256, uint256])
verifier_count: public(uint256)
# origin -> lane; fixed once
lane_from: public(HashMap[uint256, bytes32])
lanes: public(HashMap[bytes32, uint256])
floors: public(HashMap[bytes32, uint256])
# keccak256(lane, policy, nonce // 128) -> 128 two-bit marks
marks: HashMap[bytes32, uint256]
# envelope id -> outcome, for envelopes with assets
status: public(HashMap[bytes32, uint256])
# The envelope whose hook is running.
current: transient(IGate.Context)
current_receiver: transient(address)
current_result: transient(bytes32)
# Whether a receiver's policy was changed in this transaction.
policies_moved: transient(bool)


@deploy
def __init__(authority: address, router: address):
    """
    @param authority The Authority on this chain.
    @param router The Router on this chain.
    """
    assert authority != empty(address) and router != empty(address), "gate: zero address"
    CHAIN_ID = chain.id
    AUTHORITY = authority
    ROUTER = router


@external
@view
def authority() -> address:
    return AUTHORITY


@external
@view
def router() -> address:
    return ROUTER


# ---------------------------------------------------------------------------------------------- delivery


@external
@nonreentrant
def deliver(before: uint256, beneficiary: bytes32, body: Bytes[MAX_BODY]):
    """
    @notice Deliver a run of consecutive entries of a lane under one word. Each envelope is executed, or left untouched.
    @param before The lane's accumulator before the run.
    @param beneficiary Whom the receipts name, on the origin; zero means the caller.
    @param body Proofs, following entries and the run, as in spec/verification.md. It is read in calldata, in windows, so
                that its declared maximum costs nothing.
    """
    self._deliver(before, convert(beneficiary, uint256))


@internal
def _deliver(before: uint256, named: uint256):
    assert chain.id == CHAIN_ID, "gate: wrong chain"
    assert self._read(BODY_OFFSET) == 96, "gate: malformed body"
    header: uint256 = self._read(BODY)
    count: uint256 = (header >> 176) & 65535
    proofs: uint256 = BODY + BODY_HEADER + (header >> 240)
    suffix: uint256 = proofs + ((header >> 216) & 16777215)
    cursor: uint256 = suffix + 32 * ((header >> 192) & 65535)

    lane: bytes32 = empty(bytes32)
    word: uint256 = 0
    lane, word = self._index(before, cursor, count, suffix, (header >> 192) & 65535)
    state: uint256 = self.lanes[lane]
    verified: uint256 = self._ask(lane, word, proofs, (header >> 208) & 255, suffix)
    self.current.lane = lane
    self.current.verified = verified

    prefix: uint256 = 0
    unused: uint256 = 0
    origin: uint256 = state & ORIGIN_MASK
    prefix, unused = interop_address._encode_chain(origin)
    stamp: uint256 = self._stamp(origin, named)
    sender: uint256 = 0
    sender_address: Bytes[32] = b""
    hooked: address = empty(address)
    accepted: uint256 = 0
    receipts: uint256 = self.words[lane]
    unchanged: uint256 = receipts
    assert receipts >> lane_module.ACCUMULATOR_BITS < lane_module.MAX_NONCE - MAX_ENTRIES  # dev: a trillion receipts
    cause: uint256 = 0
    key: bytes32 = empty(bytes32)
    chapter: uint256 = 0
    policy: uint256 = 0
    marks: uint256 = 0
    satisfied: bool = False
    bytes_: Bytes[SMALL] = b""
    success: bool = False
    answer: Bytes[MAX_REASON] = b""
    for i: uint256 in range(count, bound=MAX_ENTRIES):
        size: uint256 = convert(slice(msg.data, cursor, 32), uint256) >> 240
        cursor = unsafe_add(cursor, 2)
        if size == 0:
            cursor = unsafe_add(cursor, 32)
            continue
        cursor = unsafe_add(cursor, size)
        if size <= 288:
            bytes_ = slice(slice(msg.data, unsafe_sub(cursor, 288), 288), unsafe_sub(288, size), size)
        else:
            bytes_ = self._load(cursor, size)
        head: uint256 = convert(extract32(bytes_, 0), uint256)
        asked: uint256 = convert(extract32(bytes_, envelope.POLICY), uint256)
        assert extract32(bytes_, envelope.LANE) == lane, "gate: malformed run"
        assert head >> 248 == envelope.VERSION and size == unsafe_add(
            unsafe_add(envelope.FIXED, ((head >> envelope.ASSETS_SHIFT) & envelope.MASK_8) << 7), head & envelope.MASK_32
        ), "gate: malformed envelope"
        nonce: uint256 = (head >> envelope.NONCE_SHIFT) & envelope.MASK_40
        if asked != policy or nonce >> 7 != chapter:
            if policy != 0:
                self.marks[key] = marks
            policy = asked
            chapter = nonce >> 7
            key = self._mark_key(lane, policy, nonce)
            marks = self.marks[key]
            satisfied = self._is_enough(lane, state, policy, verified)
        place: uint256 = (nonce & 127) << 1
        if (marks >> place) & 3 != UNDECIDED:
            cause = ALREADY_DELIVERED
            continue
        if not satisfied:
            cause = POLICY_NOT_SATISFIED
            continue
        if head & UNSUPPORTED != 0:
            cause = NOT_SUPPORTED
            continue
        if block.timestamp > (head >> envelope.BEFORE_SHIFT) & envelope.MASK_40:
            cause = DEADLINE_PASSED
            continue
        if block.timestamp < (head >> envelope.AFTER_SHIFT) & envelope.MASK_40:
            cause = TOO_EARLY
            continue
        id: bytes32 = keccak256(bytes_)
        outcome: uint256 = EXECUTED
        result: bytes32 = empty(bytes32)
        depends_on: uint256 = (head >> envelope.DEPENDS_SHIFT) & envelope.MASK_40
        if depends_on != 0:
            dependency: uint256 = marks
            if depends_on >> 7 != chapter:
                dependency = self.marks[self._mark_key(lane, policy, depends_on)]
            dependency = (dependency >> ((depends_on & 127) << 1)) & 3
            if dependency == UNDECIDED:
                cause = DEPENDENCY_UNDECIDED
                continue
            if dependency != EXECUTED:
                outcome = FAILED

        if outcome == EXECUTED:
            receiver: address = convert(convert(extract32(bytes_, envelope.RECEIVER), uint160), address)
            # A hook may change a policy; one that cannot have changed since the last envelope is not read again.
            if receiver != hooked or self.policies_moved:
                accepted = receiver_policies.policy_of[lane][receiver]
            if accepted != policy:
                cause = self._refusal(accepted, verified)
                if accepted == receiver_policies.TIERED:
                    # No hook is running while a receiver values an envelope.
                    hooked = empty(address)
                    self.current_receiver = empty(address)
                    cause = self._tier_refusal(lane, receiver, verified, bytes_)
                if cause != 0:
                    # `accepted` is this receiver's, not that of the last hook.
                    hooked = empty(address)
                    continue
            gas_limit: uint256 = (head >> envelope.GAS_SHIFT) & envelope.MASK_32
            # The frame's own call passes on at most 63/64 of its gas, and so does ours.
            frame_gas: uint256 = unsafe_add(unsafe_add(gas_limit, unsafe_div(gas_limit, 63)), FRAME_GAS)
            available: uint256 = msg.gas
            if unsafe_sub(available, available >> 6) < unsafe_add(frame_gas, RESERVE_GAS):
                cause = MORE_GAS_NEEDED
                break
            self.current.id = id
            if receiver != hooked:
                hooked = receiver
                self.current_receiver = receiver
            if convert(extract32(bytes_, envelope.SENDER), uint256) != sender:
                sender = convert(extract32(bytes_, envelope.SENDER), uint256)
                # Anything above an address would spill into the chain that the receiver is told.
                assert sender <= ADDRESS_MASK, "gate: malformed envelope"
                sender_address = slice(convert(prefix | sender << unused, bytes32), 0, 32 - unused // 8)
            success, answer = raw_call(
                self,
                abi_encode(
                    receiver,
                    gas_limit,
                    abi_encode(
                        id,
                        sender_address,
                        slice(bytes_, envelope.FIXED, head & envelope.MASK_32),
                        method_id=method_id("receiveMessage(bytes32,bytes,bytes)"),
                    ),
                    method_id=method_id("frame(address,uint256,bytes)"),
                ),
                max_outsize=MAX_REASON,
                gas=frame_gas,
                revert_on_failure=False,
            )
            if success:
                result = self.current_result
                if result != empty(bytes32):
                    self.current_result = empty(bytes32)
            elif (head >> envelope.FLAGS_SHIFT) & envelope.RETRYABLE != 0:
                cause = RECEIVER_FAILED
                continue
            else:
                outcome = FAILED
                log Failed(id=id, reason=answer)
                if len(answer) != 0:
                    result = keccak256(answer)
        marks |= outcome << place
        receipts = self._append(lane, receipts, id, stamp | outcome, result)

    if receipts == unchanged:
        self._raise(cause)
    self.marks[key] = marks
    self.words[lane] = receipts
    self.current_receiver = empty(address)


@internal
@view
def _index(before: uint256, entries: uint256, count: uint256, suffix: uint256, suffix_count: uint256) -> (bytes32, uint256):
    """
    @notice Hash the run forward to the word that the verifiers are asked about, and refuse early what would do nothing.
    @return The lane and the word.
    """
    assert before <= lane_module.ACCUMULATOR_MASK, "gate: malformed run"
    accumulator: uint256 = before
    lane: bytes32 = empty(bytes32)
    first: uint256 = 0
    cursor: uint256 = entries
    stopped: uint256 = 0
    useful: bool = False
    for i: uint256 in range(count, bound=MAX_ENTRIES):
        # The entry's length, and the first 30 bytes of the envelope's head word.
        start: uint256 = convert(slice(msg.data, cursor, 32), uint256)
        size: uint256 = start >> 240
        cursor = unsafe_add(cursor, 2)
        if size == 0:
            accumulator = lane_module._extend(accumulator, convert(self._read(cursor), bytes32))
            cursor = unsafe_add(cursor, 32)
            continue
        nonce: uint256 = (start >> NONCE_IN_START) & envelope.MASK_40
        if first == 0:
            assert nonce > i, "gate: malformed run"
            first = unsafe_sub(nonce, i)
            lane = convert(self._read(unsafe_add(cursor, envelope.LANE)), bytes32)
            state: uint256 = self.lanes[lane]
            assert state != 0, "gate: unknown lane"
            assert block.timestamp >= (state >> PAUSED_SHIFT) & envelope.MASK_40, "gate: lane paused"
        assert nonce == unsafe_add(first, i), "gate: malformed run"
        if not useful:
            stopped = self._in_time(self._read(cursor))
            if self._mark(lane, self._read(cursor + envelope.POLICY), nonce) != UNDECIDED:
                stopped = ALREADY_DELIVERED
            useful = stopped == 0
        cursor = unsafe_add(cursor, size)
        entry: bytes32 = empty(bytes32)
        if size <= 288:
            entry = keccak256(slice(slice(msg.data, unsafe_sub(cursor, 288), 288), unsafe_sub(288, size), size))
        else:
            entry = keccak256(self._load(cursor, size))
        accumulator = convert(keccak256(abi_encode(accumulator, entry)), uint256) & lane_module.ACCUMULATOR_MASK
    assert first != 0, "gate: malformed run"
    if not useful:
        self._raise(stopped)
    assert cursor == BODY + self._read(BODY - 32), "gate: malformed body"
    for i: uint256 in range(suffix_count, bound=MAX_SUFFIX):
        accumulator = lane_module._extend(
            accumulator, convert(self._read(unsafe_add(suffix, unsafe_mul(32, i))), bytes32)
        )
    last: uint256 = first + count + suffix_count - 1
    assert last <= lane_module.MAX_NONCE, "gate: malformed run"
    return lane, last << lane_module.ACCUMULATOR_BITS | accumulator


@internal
@view
def _is_enough(lane: bytes32, state: uint256, policy: uint256, verified: uint256) -> bool:
    """
    @notice Whether the verifiers that accepted satisfy the sender's policy and the lane's floor.
    """
    if not policy_module._is_wellformed(policy) or not policy_module._is_satisfied(policy, verified):
        return False
    return state & FLOORED == 0 or policy_module._is_satisfied(self.floors[lane], verified)


@internal
@view
def _ask(lane: bytes32, word: uint256, proofs: uint256, count: uint256, end: uint256) -> uint256:
    """
    @notice The mask of verifiers that accept the word; one that refuses its proof reverts the whole call.
    """
    verified: uint256 = 0
    cursor: uint256 = proofs
    for i: uint256 in range(count, bound=MAX_PROOFS):
        head: uint256 = self._read(cursor)
        index: uint256 = head >> 248
        size: uint256 = (head >> 232) & 65535
        cursor += 3 + size
        proof: Bytes[SMALL] = self._load(cursor, size)
        digest: bytes32 = staticcall IVerifier(self._live(index)).verify(
            lane, lane_module.DISPATCHES, word, proof
        )
        assert digest == lane_module._compute_digest(lane, lane_module.DISPATCHES, word), "gate: verifier refused"
        assert verified >> index == 0, "gate: proofs not ascending"
        verified |= 1 << index
    assert cursor == end, "gate: malformed body"
    return verified


@internal
@view
def _live(index: uint256) -> address:
    """
    @notice The verifier, if what it accepts counts for delivery now.
    """
    record: uint256 = self.verifiers[index]
    assert record != 0, "gate: unknown verifier"
    assert record >> 240 == 0, "gate: verifier revoked"
    assert block.timestamp >= (record >> 200) & envelope.MASK_40, "gate: verifier suspended"
    retired: uint256 = (record >> 160) & envelope.MASK_40
    assert retired == 0 or block.timestamp <= retired + DELIVERY_OVERLAP, "gate: verifier retired"
    return convert(record & ADDRESS_MASK, address)


@internal
@view
def _in_time(head: uint256) -> uint256:
    if block.timestamp < (head >> envelope.AFTER_SHIFT) & envelope.MASK_40:
        return TOO_EARLY
    if block.timestamp > (head >> envelope.BEFORE_SHIFT) & envelope.MASK_40:
        return DEADLINE_PASSED
    return 0


@internal
@view
def _refusal(accepted: uint256, verified: uint256) -> uint256:
    """
    @notice Why a receiver with this policy, which is not tiered, does not take what these verifiers accepted; or 0.
    """
    if accepted == 0:
        return NO_RECEIVER_POLICY
    if not policy_module._is_satisfied(accepted, verified):
        return POLICY_NOT_SATISFIED
    return 0


@internal
@view
def _tier_refusal(lane: bytes32, receiver: address, verified: uint256, bytes_: Bytes[SMALL]) -> uint256:
    """
    @notice The same for a receiver with tiers, which is asked what the envelope is worth to it. A valuation that fails
            picks no tier at all.
    """
    if msg.gas - (msg.gas >> 6) < VALUATION_GAS + RESERVE_GAS:
        return MORE_GAS_NEEDED
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        receiver,
        abi_encode(lane, bytes_, method_id=method_id("valuation(bytes32,bytes)")),
        max_outsize=32,
        gas=VALUATION_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not success or len(answer) != 32:
        return VALUATION_FAILED
    return self._refusal(receiver_policies._choose(lane, receiver, convert(answer, uint256)), verified)


@external
def frame(receiver: address, gas_limit: uint256, hook: Bytes[MAX_HOOK]):
    """
    @notice The Gate's call to itself around a hook, so that the hook and the check of its answer revert as one. Whoever
            makes it has left enough gas for the hook to be given all of its own.
    """
    assert msg.sender == self, "gate: only the gate"
    answer: Bytes[32] = raw_call(receiver, hook, max_outsize=32, gas=gas_limit)
    assert len(answer) == 32 and convert(answer, bytes32) == MAGIC, "gate: receiver did not acknowledge"


@external
@view
def context() -> IGate.Context:
    """
    @notice The envelope whose hook is running.
    """
    assert self.current_receiver != empty(address), "gate: no hook is running"
    return self.current


@external
def reply(result: Bytes[MAX_REPLY]):
    """
    @notice Called by the receiver from inside its hook: the result that the receipt carries to the sender.
    """
    assert msg.sender == self.current_receiver, "gate: no hook of this receiver is running"
    assert len(result) != 0, "gate: empty reply"
    self.current_result = keccak256(result)
    log Replied(id=self.current.id, result=result)


@external
@nonreentrant
def expire(bytes_: Bytes[envelope.FIXED + envelope.MAX_ASSETS * envelope.ASSET + envelope.MAX_PAYLOAD], beneficiary: bytes32):
    """
    @notice Past its deadline an undecided envelope gets its EXPIRED receipt. It needs no proof: whether the envelope was ever
            dispatched is checked where the receipt settles.
    @param bytes_ The envelope.
    @param beneficiary Whom the receipt names, on the origin; zero means the caller.
    """
    assert chain.id == CHAIN_ID, "gate: wrong chain"
    assert len(bytes_) >= envelope.FIXED, "gate: malformed envelope"
    head: uint256 = convert(extract32(bytes_, 0), uint256)
    lane: bytes32 = extract32(bytes_, envelope.LANE)
    assets: uint256 = (head >> envelope.ASSETS_SHIFT) & envelope.MASK_8
    assert envelope._is_canonical_head(head), "gate: malformed envelope"
    assert len(bytes_) == envelope.FIXED + envelope.ASSET * assets + (head & envelope.MASK_32), "gate: malformed envelope"
    assert self.lanes[lane] != 0, "gate: unknown lane"
    assert block.timestamp > (head >> envelope.BEFORE_SHIFT) & envelope.MASK_40, "gate: deadline not passed"
    id: bytes32 = keccak256(bytes_)
    if assets == 0:
        nonce: uint256 = (head >> envelope.NONCE_SHIFT) & envelope.MASK_40
        policy: uint256 = convert(extract32(bytes_, envelope.POLICY), uint256)
        # No mark is written: a fake with this nonce and an old deadline would burn the genuine envelope's.
        assert self._mark(lane, policy, nonce) == UNDECIDED, "gate: already delivered"
    else:
        assert self.status[id] == UNDECIDED, "gate: already delivered"
        self.status[id] = EXPIRED
    stamp: uint256 = self._stamp(self.lanes[lane] & ORIGIN_MASK, convert(beneficiary, uint256))
    receipts: uint256 = self.words[lane]
    assert receipts >> lane_module.ACCUMULATOR_BITS < lane_module.MAX_NONCE  # dev: a trillion receipts
    self.words[lane] = self._append(lane, receipts, id, stamp | EXPIRED, empty(bytes32))


@external
@nonreentrant
def snapshot(lane: bytes32):
    """
    @notice Keep the present word of the lane's receipts.
    """
    word: uint256 = self.words[lane]
    nonce: uint256 = word >> lane_module.ACCUMULATOR_BITS
    assert nonce != 0, "gate: nothing to keep"
    self.snapshots[lane][nonce] = word
    log Snapshotted(lane=lane, word=word)


@internal
def _append(lane: bytes32, word: uint256, id: bytes32, stamp: uint256, result: bytes32) -> uint256:
    """
    @notice The word of the receipts with one more; the caller stores it.
    @param stamp The receipt without its position.
    """
    position: uint256 = unsafe_add(word >> lane_module.ACCUMULATOR_BITS, 1)
    receipt: uint256 = stamp | position << 8
    entry: bytes32 = keccak256(abi_encode(RECEIPT_TYPEHASH, receipt, id, result))
    accumulator: uint256 = word & lane_module.ACCUMULATOR_MASK
    accumulator = convert(keccak256(abi_encode(accumulator, entry)), uint256) & lane_module.ACCUMULATOR_MASK
    extended: uint256 = position << lane_module.ACCUMULATOR_BITS | accumulator
    if position & (lane_module.SNAPSHOT_INTERVAL - 1) == 0:
        self.snapshots[lane][position] = extended
    log Decided(id=id, receipt=receipt)
    return extended


@internal
@view
def _stamp(origin: uint256, beneficiary: uint256) -> uint256:
    """
    @notice What the receipts of one call have in common.
    @param beneficiary An account on the origin; zero names the caller.
    """
    assert beneficiary <= ADDRESS_MASK, "gate: malformed beneficiary"
    if beneficiary == 0:
        return origin << 208 | convert(msg.sender, uint256) << 48
    return origin << 208 | beneficiary << 48


@internal
@pure
def _raise(cause: uint256):
    """
    @notice Why nothing was done, in the words that agents act on.
    """
    assert cause != ALREADY_DELIVERED, "gate: already delivered"
    assert cause != TOO_EARLY, "gate: too early"
    assert cause != DEADLINE_PASSED, "gate: deadline passed"
    assert cause != POLICY_NOT_SATISFIED, "gate: policy not satisfied"
    assert cause != NO_RECEIVER_POLICY, "gate: receiver has no policy"
    assert cause != DEPENDENCY_UNDECIDED, "gate: dependency undecided"
    assert cause != MORE_GAS_NEEDED, "gate: more gas needed"
    assert cause != RECEIVER_FAILED, "gate: receiver failed"
    assert cause != VALUATION_FAILED, "gate: valuation failed"
    raise "gate: not supported yet"


@internal
@view
def _read(offset: uint256) -> uint256:
    """
    @notice One word of calldata; reverts beyond its end.
    """
    return convert(slice(msg.data, offset, 32), uint256)


@internal
@view
def _load(end: uint256, size: uint256) -> Bytes[SMALL]:
    """
    @notice The `size` bytes of calldata that end at `end`.
    @dev A slice of calldata needs a constant length. These windows reach back over what stands before; where that is too
         short, the deliverer pads the body.
    """
    if size <= 288:
        return slice(slice(msg.data, end - 288, 288), 288 - size, size)
    if size <= 512:
        return slice(slice(msg.data, end - 512, 512), 512 - size, size)
    if size <= 736:
        return slice(slice(msg.data, end - 736, 736), 736 - size, size)
    if size <= 960:
        return slice(slice(msg.data, end - 960, 960), 960 - size, size)
    assert size <= SMALL, "gate: envelope or proof too long"
    return slice(slice(msg.data, end - SMALL, SMALL), SMALL - size, size)


# ---------------------------------------------------------------------------------------------- marks


@external
@view
def mark(lane: bytes32, policy: uint256, nonce: uint256) -> uint256:
    """
    @return 0 undecided, 1 executed, 2 failed, 3 cancelled.
    """
    return self._mark(lane, policy, nonce)


@internal
@view
def _mark(lane: bytes32, policy: uint256, nonce: uint256) -> uint256:
    return (self.marks[self._mark_key(lane, policy, nonce)] >> (2 * (nonce % 128))) & 3


@internal
@pure
def _mark_key(lane: bytes32, policy: uint256, nonce: uint256) -> bytes32:
    return keccak256(abi_encode(lane, policy, nonce // 128))


# ---------------------------------------------------------------------------------------------- receivers


@external
def set_policy(lane: bytes32, receiver: address, policy: uint256):
    """
    @notice By the receiver or its owner: the weakest policy under which it takes calls from the lane; 0 takes none.
    """
    assert self.lanes[lane] != 0, "gate: unknown lane"
    self.policies_moved = True
    receiver_policies._set_policy(lane, receiver, policy, self._registered())


@external
def set_tiers(
    lane: bytes32, receiver: address, tiers: DynArray[receiver_policies.Tier, receiver_policies.MAX_TIERS]
):
    """
    @notice By the receiver or its owner: policies by what an envelope is worth, as its own valuation() says.
    """
    assert self.lanes[lane] != 0, "gate: unknown lane"
    self.policies_moved = True
    receiver_policies._set_tiers(lane, receiver, tiers, self._registered())


@internal
@view
def _registered() -> uint256:
    return (1 << self.verifier_count) - 1


# ---------------------------------------------------------------------------------------------- the Authority


@external
def open_lane(origin: uint256, router: bytes32) -> bytes32:
    """
    @notice Open the lane from an origin's Router, for ever.
    """
    self._only_authority()
    assert origin != 0 and origin <= ORIGIN_MASK and origin != CHAIN_ID, "gate: no such origin"
    assert router != empty(bytes32), "gate: no such origin"
    assert self.lane_from[origin] == empty(bytes32), "gate: lane is open"
    lane: bytes32 = lane_module._compute_lane(origin, router, CHAIN_ID, convert(self, bytes32))
    self.lane_from[origin] = lane
    self.lanes[lane] = origin | OPENED
    self.words[lane] = lane_module._compute_seed(lane, lane_module.RECEIPTS)
    log LaneOpened(lane=lane, origin=origin, router=router)
    return lane


@external
def set_verifier(index: uint256, record: uint256):
    """
    @notice Append a verifier, or change the state of one; an index never changes its meaning.
    """
    self._only_authority()
    old: uint256 = self.verifiers[index]
    assert record & ADDRESS_MASK != 0, "gate: zero verifier"
    if old == 0:
        assert index == self.verifier_count and index < MAX_VERIFIERS, "gate: not the next index"
        self.verifier_count = index + 1
    else:
        assert old & ADDRESS_MASK == record & ADDRESS_MASK, "gate: an index never changes its meaning"
    self.verifiers[index] = record


@external
def set_floor(lane: bytes32, policy: uint256):
    """
    @notice What every envelope of the lane must satisfy, whatever its sender and receiver accept; 0 lifts it.
    """
    self._only_authority()
    state: uint256 = self.lanes[lane]
    assert state != 0, "gate: unknown lane"
    assert policy == 0 or receiver_policies._names_only(policy, self._registered()), "gate: policy is not well-formed"
    self.floors[lane] = policy
    self.lanes[lane] = state & ~FLOORED
    if policy != 0:
        self.lanes[lane] = state | FLOORED
    log FloorSet(lane=lane, policy=policy)


@external
def set_paused(lane: bytes32, until: uint256):
    """
    @notice Stop deliveries of a lane until then, in seconds. Expiry goes on, and so does every other exit.
    """
    self._only_authority()
    state: uint256 = self.lanes[lane]
    assert state != 0, "gate: unknown lane"
    assert until <= block.timestamp + MAX_PAUSE, "gate: a pause ends within 7 days"
    self.lanes[lane] = state & ~(envelope.MASK_40 << PAUSED_SHIFT) | until << PAUSED_SHIFT
    log LanePaused(lane=lane, until=until)


@internal
@view
def _only_authority():
    assert msg.sender == AUTHORITY, "gate: not the authority"
