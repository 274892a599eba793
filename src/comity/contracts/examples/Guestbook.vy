# pragma version 0.4.3
# pragma evm-version prague
"""
@title Guestbook
@license MIT
@notice An example of a receiver: keeps what others wrote from other chains, answers a question mark with the number of
        entries, and can be closed by its owner, whereupon messages fail.
@custom:trust The Gate that it was deployed with, under the policies that its owner sets there.
"""

from ..interfaces import IGate

event Written:
    id: indexed(bytes32)
    sender: Bytes[64]
    entry: Bytes[MAX_ENTRY]

MAX_ENTRY: constant(uint256) = 1024
MAGIC: constant(bytes4) = 0x2432ef26
QUESTION: constant(bytes1) = 0x3f

GATE: immutable(IGate)

owner: public(address)
is_open: public(bool)
count: public(uint256)
last: public(Bytes[MAX_ENTRY])


@deploy
def __init__(gate: address, is_open: bool):
    GATE = IGate(gate)
    self.owner = msg.sender
    self.is_open = is_open


@external
def set_open(is_open: bool):
    assert msg.sender == self.owner, "guestbook: not the owner"
    self.is_open = is_open


@external
@payable
def receiveMessage(receive_id: bytes32, sender: Bytes[64], payload: Bytes[MAX_ENTRY]) -> bytes4:
    """
    @param sender ERC-7930: chain and account that sent it.
    """
    assert msg.sender == GATE.address, "guestbook: not the gate"
    assert self.is_open, "guestbook: closed"
    assert len(payload) != 0, "guestbook: empty entry"
    self.count += 1
    self.last = payload
    log Written(id=receive_id, sender=sender, entry=payload)
    if convert(slice(payload, 0, 1), bytes1) == QUESTION:
        extcall GATE.reply(abi_encode(self.count))
    return MAGIC
