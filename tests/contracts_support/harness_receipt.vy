# pragma version 0.4.3
# pragma evm-version prague
"""
@title harness_receipt
@license MIT
@notice For tests: how the Gate writes receipts, many in one call.
"""

from comity.contracts import Gate

initializes: Gate

BATCH: constant(uint256) = 256


struct Case:
    word: uint256
    id: bytes32
    stamp: uint256
    result: bytes32


@deploy
def __init__():
    Gate.__init__(self, self)


@external
def append(lane: bytes32, cases: DynArray[Case, BATCH]) -> DynArray[uint256, BATCH]:
    """
    @notice The words after one more receipt each; a case's stamp is its receipt word without the position.
    """
    words: DynArray[uint256, BATCH] = []
    for case: Case in cases:
        words.append(Gate._append(lane, case.word, case.id, case.stamp, case.result))
    return words


@external
@view
def stamp(origin: uint256, beneficiaries: DynArray[uint256, BATCH]) -> DynArray[uint256, BATCH]:
    """
    @notice What the Gate puts into receipts besides position and outcome.
    """
    stamps: DynArray[uint256, BATCH] = []
    for beneficiary: uint256 in beneficiaries:
        stamps.append(Gate._stamp(origin, beneficiary))
    return stamps
