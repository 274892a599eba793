#pragma version 0.4.3
"""
@title Recorder
@license MIT
@notice The receiver of the gas benchmark: keeps one word of each message, the least that a useful receiver does.
@custom:trust The Gate that it was deployed with.
@custom:kill None: it holds nothing.
"""

GATE: immutable(address)
owner: public(address)
last: public(bytes32)


@deploy
def __init__(gate: address):
    GATE = gate
    self.owner = msg.sender


@external
@payable
def receiveMessage(receive_id: bytes32, sender: Bytes[64], payload: Bytes[1024]) -> bytes4:
    """
    @notice Take a message from the Gate.
    """
    assert msg.sender == GATE, "recorder: not the gate"
    self.last = extract32(payload, 0)
    return 0x2432ef26
