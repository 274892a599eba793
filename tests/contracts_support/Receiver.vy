# pragma version 0.4.3
"""
@title Receiver
@license MIT
@notice For tests: a receiver that does what its mode says and keeps what it was given.
"""

from comity.contracts.interfaces import IGate

ACCEPT: constant(uint256) = 0
REVERT: constant(uint256) = 1
BURN: constant(uint256) = 2
WRONG_MAGIC: constant(uint256) = 3
SILENT: constant(uint256) = 4
SHORT: constant(uint256) = 5
REPLY: constant(uint256) = 6
REPLY_WRONG_MAGIC: constant(uint256) = 7
CALL: constant(uint256) = 8
REPLY_TWICE: constant(uint256) = 9

GATE: immutable(IGate)

owner: public(address)
mode: public(uint256)
count: public(uint256)
last_id: public(bytes32)
last_sender: public(bytes32)
last_payload: public(bytes32)
# Gas at the start of the last hook, and the least that the hook accepts.
gas_seen: public(uint256)
gas_needed: public(uint256)
lane_seen: public(bytes32)
id_seen: public(bytes32)
verified_seen: public(uint256)
# The call of mode CALL, and what became of it.
target: address
calldata: Bytes[4096]
called: public(bool)
answer: public(Bytes[256])


@deploy
def __init__(gate: address):
    GATE = IGate(gate)
    self.owner = msg.sender


@external
def set_mode(mode: uint256):
    self.mode = mode


@external
def set_owner(owner: address):
    self.owner = owner


@external
def set_gas_needed(least: uint256):
    self.gas_needed = least


@external
def set_call(target: address, calldata: Bytes[4096]):
    self.mode = CALL
    self.target = target
    self.calldata = calldata


@external
def relay(delivery: Bytes[4096], then: Bytes[1024]):
    """
    @notice Deliver, and make another call of the Gate in the same transaction, when every hook has ended.
    """
    raw_call(GATE.address, delivery)
    self.called, self.answer = raw_call(GATE.address, then, max_outsize=256, revert_on_failure=False)


@external
@payable
@raw_return
def receiveMessage(receive_id: bytes32, sender: Bytes[64], payload: Bytes[16384]) -> Bytes[32]:
    seen: uint256 = msg.gas
    assert seen >= self.gas_needed, "receiver: not enough gas"
    assert msg.sender == GATE.address
    mode: uint256 = self.mode
    if mode == REVERT:
        raise "receiver: no"
    if mode == BURN:
        raise UNREACHABLE
    self.gas_seen = seen
    self.count += 1
    self.last_id = receive_id
    self.last_sender = keccak256(sender)
    self.last_payload = keccak256(payload)
    context: IGate.Context = staticcall GATE.context()
    self.id_seen = context.id
    self.lane_seen = context.lane
    self.verified_seen = context.verified
    if mode == WRONG_MAGIC:
        return abi_encode(method_id("onERC721Received(address,address,uint256,bytes)", output_type=bytes4))
    if mode == SILENT:
        return b""
    if mode == SHORT:
        return x"2432ef26"
    if mode == REPLY or mode == REPLY_WRONG_MAGIC or mode == REPLY_TWICE:
        if mode == REPLY_TWICE:
            extcall GATE.reply(b"not yet")
        extcall GATE.reply(b"done")
        if mode == REPLY_WRONG_MAGIC:
            return b""
    if mode == CALL:
        self.called, self.answer = raw_call(self.target, self.calldata, max_outsize=256, revert_on_failure=False)
    return abi_encode(method_id("receiveMessage(bytes32,bytes,bytes)", output_type=bytes4))
