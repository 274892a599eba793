# pragma version 0.4.3
"""
@title Verdict
@license MIT
@notice For tests: a verifier that accepts the proof "yes", answers "lie" with another checkpoint's digest, and refuses the rest.
"""

from comity.contracts.core import lane as lane_module

DEVELOPMENT: immutable(bool)


@deploy
def __init__(development: bool):
    DEVELOPMENT = development


@external
@view
def verify(lane: bytes32, direction: uint256, word: uint256, proof: Bytes[24576]) -> bytes32:
    if proof == b"lie":
        return lane_module._compute_digest(lane, direction, word + 1)
    assert proof == b"yes", "verdict: no"
    return lane_module._compute_digest(lane, direction, word)


@external
@view
def assurance() -> uint256:
    return 1


@external
@view
def development() -> bool:
    return DEVELOPMENT
