# pragma version 0.4.3
# pragma evm-version prague
"""
@title Forger
@license MIT
@notice For tests: dispatches at the real Router and emits, in the same transaction, logs with the very same topics and bytes.
@custom:trust Nobody should.
@custom:kill None.
"""


@external
@payable
def dispatch_and_forge(router: address, calldata: Bytes[2048], topic: bytes32, id: bytes32, forged: Bytes[1400]):
    """
    @param forged What the forged log carries, before and after the real dispatch.
    """
    raw_log([topic, id], forged)
    raw_call(router, calldata, value=msg.value)
    raw_log([topic, id], forged)
