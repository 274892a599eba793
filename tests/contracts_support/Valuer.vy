# pragma version 0.4.3
"""
@title Valuer
@license MIT
@notice For tests: a receiver that says what an envelope is worth to it, or fails to.
"""

REVERT: constant(uint256) = max_value(uint256)
BURN: constant(uint256) = max_value(uint256) - 1
SILENT: constant(uint256) = max_value(uint256) - 2

worth: public(uint256)
# With less gas than this, nothing is worth anything.
gas_needed: uint256
# When set, only this envelope of this lane is worth anything.
lane_wanted: bytes32
id_wanted: bytes32
count: public(uint256)
# When set, a Gate that must not say that a hook is running.
gate: address


@external
def set_worth(worth: uint256):
    self.worth = worth


@external
def set_gas_needed(least: uint256):
    self.gas_needed = least


@external
def set_wanted(lane: bytes32, id: bytes32):
    self.lane_wanted = lane
    self.id_wanted = id


@external
def set_gate(gate: address):
    self.gate = gate


@external
@view
@raw_return
def valuation(lane: bytes32, envelope: Bytes[16384]) -> Bytes[32]:
    if msg.gas < self.gas_needed:
        return abi_encode(empty(uint256))
    if self.worth == REVERT:
        raise "valuer: no"
    if self.worth == BURN:
        raise UNREACHABLE
    if self.worth == SILENT:
        return b""
    if self.gate != empty(address):
        assert not raw_call(self.gate, method_id("context()"), is_static_call=True, revert_on_failure=False)
    if self.lane_wanted != empty(bytes32):
        assert lane == self.lane_wanted and keccak256(envelope) == self.id_wanted
    return abi_encode(self.worth)


@external
@payable
def receiveMessage(receive_id: bytes32, sender: Bytes[64], payload: Bytes[16384]) -> bytes4:
    self.count += 1
    return 0x2432ef26
