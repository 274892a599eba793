# pragma version 0.4.3
"""
@title harness_envelope
@license MIT
@notice For tests: what core/envelope.vy makes of encoded envelopes, many in one call.
"""

from comity.contracts.core import envelope

BATCH: constant(uint256) = 128
MANY: constant(uint256) = 2048
MAX_ENCODING: constant(uint256) = 4096


struct Reading:
    id: bytes32
    canonical_head: bool
    canonical_settlement: bool
    version: uint256
    flags: uint256
    nonce: uint256
    deliver_after: uint256
    deliver_before: uint256
    depends_on: uint256
    gas_limit: uint256
    asset_count: uint256
    condition_count: uint256
    payload_length: uint256
    lane: bytes32
    sender: bytes32
    receiver: bytes32
    policy: bytes32
    return_policy: bytes32
    refund_to: bytes32
    settlement: uint256


@external
@pure
def read(encodings: DynArray[Bytes[MAX_ENCODING], BATCH]) -> DynArray[Reading, BATCH]:
    """
    @notice The fields of envelopes, by the offsets and shifts of the module.
    """
    readings: DynArray[Reading, BATCH] = []
    for encoding: Bytes[MAX_ENCODING] in encodings:
        readings.append(self._read(encoding))
    return readings


@internal
@pure
def _read(encoding: Bytes[MAX_ENCODING]) -> Reading:
    head: uint256 = convert(extract32(encoding, 0), uint256)
    settlement: uint256 = convert(
        slice(encoding, envelope.SETTLEMENT, envelope.FIXED - envelope.SETTLEMENT), uint256
    )
    flags: uint256 = (head >> envelope.FLAGS_SHIFT) & envelope.MASK_8
    return Reading(
        id=keccak256(encoding),
        canonical_head=envelope._is_canonical_head(head),
        canonical_settlement=envelope._is_canonical_settlement(flags, settlement),
        version=head >> 248,
        flags=flags,
        nonce=(head >> envelope.NONCE_SHIFT) & envelope.MASK_40,
        deliver_after=(head >> envelope.AFTER_SHIFT) & envelope.MASK_40,
        deliver_before=(head >> envelope.BEFORE_SHIFT) & envelope.MASK_40,
        depends_on=(head >> envelope.DEPENDS_SHIFT) & envelope.MASK_40,
        gas_limit=(head >> envelope.GAS_SHIFT) & envelope.MASK_32,
        asset_count=(head >> envelope.ASSETS_SHIFT) & envelope.MASK_8,
        condition_count=(head >> envelope.CONDITIONS_SHIFT) & envelope.MASK_8,
        payload_length=head & envelope.MASK_32,
        lane=extract32(encoding, envelope.LANE),
        sender=extract32(encoding, envelope.SENDER),
        receiver=extract32(encoding, envelope.RECEIVER),
        policy=extract32(encoding, envelope.POLICY),
        return_policy=extract32(encoding, envelope.RETURN_POLICY),
        refund_to=extract32(encoding, envelope.REFUND_TO),
        settlement=settlement,
    )


@external
@pure
def judge_heads(heads: DynArray[uint256, MANY]) -> DynArray[bool, MANY]:
    """
    @notice Which head words are canonical.
    """
    verdicts: DynArray[bool, MANY] = []
    for head: uint256 in heads:
        verdicts.append(envelope._is_canonical_head(head))
    return verdicts


@external
@pure
def judge_settlements(flags: DynArray[uint256, MANY], settlements: DynArray[uint256, MANY]) -> DynArray[bool, MANY]:
    """
    @notice Which settlements are canonical beside these flags.
    """
    verdicts: DynArray[bool, MANY] = []
    for i: uint256 in range(len(settlements), bound=MANY):
        verdicts.append(envelope._is_canonical_settlement(flags[i], settlements[i]))
    return verdicts
