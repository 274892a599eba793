# pragma version 0.4.3
"""
@title envelope
@license MIT
@notice The fixed part of an envelope's canonical encoding: offsets, the head word, and what makes it canonical. Pure.
        Spec: spec/envelope.md. Twin: comity/core/envelope.py.
"""

from . import policy

VERSION: constant(uint256) = 1

VIEW: constant(uint256) = 1
FILLABLE: constant(uint256) = 2
RETRYABLE: constant(uint256) = 4
CALLBACK: constant(uint256) = 8
CANCELLABLE: constant(uint256) = 16
CANCEL: constant(uint256) = 32
LAST_RESORT: constant(uint256) = 64
KNOWN_FLAGS: constant(uint256) = 127

# Byte offsets of the fixed part, and its length.
LANE: constant(uint256) = 32
SENDER: constant(uint256) = 64
RECEIVER: constant(uint256) = 96
POLICY: constant(uint256) = 128
RETURN_POLICY: constant(uint256) = 160
REFUND_TO: constant(uint256) = 192
SETTLEMENT: constant(uint256) = 224
FIXED: constant(uint256) = 246

ASSET: constant(uint256) = 128
MAX_ASSETS: constant(uint256) = 4
MAX_CONDITIONS: constant(uint256) = 4
MAX_PAYLOAD: constant(uint256) = 16384

# Where the fields of the head word begin, in bits from the right.
FLAGS_SHIFT: constant(uint256) = 240
NONCE_SHIFT: constant(uint256) = 200
AFTER_SHIFT: constant(uint256) = 160
BEFORE_SHIFT: constant(uint256) = 120
DEPENDS_SHIFT: constant(uint256) = 80
GAS_SHIFT: constant(uint256) = 48
ASSETS_SHIFT: constant(uint256) = 40
CONDITIONS_SHIFT: constant(uint256) = 32

MASK_40: constant(uint256) = 2**40 - 1
MASK_32: constant(uint256) = 2**32 - 1
MASK_8: constant(uint256) = 255


@internal
@pure
def _is_canonical_head(head: uint256) -> bool:
    """
    @notice Every rule that the head word alone decides.
    """
    flags: uint256 = (head >> FLAGS_SHIFT) & MASK_8
    assets: uint256 = (head >> ASSETS_SHIFT) & MASK_8
    nonce: uint256 = (head >> NONCE_SHIFT) & MASK_40
    before: uint256 = (head >> BEFORE_SHIFT) & MASK_40
    if head >> 248 != VERSION or flags > KNOWN_FLAGS:
        return False
    if nonce == 0 or (head >> DEPENDS_SHIFT) & MASK_40 >= nonce:
        return False
    if before == 0 or (head >> AFTER_SHIFT) & MASK_40 > before:
        return False
    if assets > MAX_ASSETS or (head >> CONDITIONS_SHIFT) & MASK_8 > MAX_CONDITIONS:
        return False
    if flags & (VIEW | CANCEL) != 0 and (assets != 0 or flags & FILLABLE != 0):
        return False
    if flags & FILLABLE != 0 and (assets == 0 or head & MASK_32 != 0):
        return False
    return head & MASK_32 <= MAX_PAYLOAD


@internal
@pure
def _is_canonical_settlement(flags: uint256, settlement: uint256) -> bool:
    """
    @param settlement fee (128) | failed_share_bps (16) | callback_gas (32).
    """
    return (flags & CALLBACK != 0) == (settlement & MASK_32 != 0) and (settlement >> 32) & 65535 <= 10000
