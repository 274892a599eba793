# pragma version 0.4.3
"""
@title harness_interop_address
@license MIT
@notice For tests: the functions of core/interop_address.vy, many values in one call.
"""

from comity.contracts.core import interop_address

BATCH: constant(uint256) = 512
# Longer than the module takes, so that what is too long gets as far as being refused.
MAX_TEXT: constant(uint256) = 320


struct Reading:
    accepted: bool
    chain_id: uint256
    account: address


struct Prefix:
    word: uint256
    unused: uint256


@external
@pure
def decode_one(text: Bytes[interop_address.MAX_LENGTH]) -> interop_address.Account:
    """
    @notice One account; reverts when it is refused.
    """
    return interop_address._decode(text)


@external
@view
def decode(texts: DynArray[Bytes[MAX_TEXT], BATCH]) -> DynArray[Reading, BATCH]:
    """
    @notice Which texts are accounts, and which accounts they are.
    """
    readings: DynArray[Reading, BATCH] = []
    for text: Bytes[MAX_TEXT] in texts:
        accepted: bool = False
        answer: Bytes[64] = b""
        accepted, answer = raw_call(
            self,
            abi_encode(text, method_id=method_id("decode_one(bytes)")),
            max_outsize=64,
            is_static_call=True,
            revert_on_failure=False,
        )
        reading: Reading = empty(Reading)
        if accepted:
            account: interop_address.Account = abi_decode(answer, interop_address.Account)
            reading = Reading(accepted=True, chain_id=account.chain_id, account=account.account)
        readings.append(reading)
    return readings


@external
@pure
def encode(accounts: DynArray[interop_address.Account, BATCH]) -> DynArray[Bytes[32], BATCH]:
    """
    @notice The encodings of accounts.
    """
    texts: DynArray[Bytes[32], BATCH] = []
    for account: interop_address.Account in accounts:
        texts.append(interop_address._encode(account.chain_id, account.account))
    return texts


@external
@pure
def encode_chain(chain_ids: DynArray[uint256, BATCH]) -> DynArray[Prefix, BATCH]:
    """
    @notice The words into which accounts are written, and by how far those are shifted.
    """
    prefixes: DynArray[Prefix, BATCH] = []
    for chain_id: uint256 in chain_ids:
        word: uint256 = 0
        unused: uint256 = 0
        word, unused = interop_address._encode_chain(chain_id)
        prefixes.append(Prefix(word=word, unused=unused))
    return prefixes
