"""Fee-market transactions (EIP-1559, type 2): their signing hash and raw form; pure.

A transaction is a mapping with the JSON-RPC names chainId, nonce, maxPriorityFeePerGas, maxFeePerGas, gas, to (20
bytes, or None to create a contract), value and data; ints and bytes. Format: https://eips.ethereum.org/EIPS/eip-1559.
"""

from collections.abc import Mapping
from typing import Any

from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.types import Address, Hash32
from comity.proofs import rlp

_TYPE = b"\x02"
_INTEGERS = ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "value")
_NAMES = frozenset((*_INTEGERS, "to", "data"))


def compute_signing_hash(transaction: Mapping[str, Any]) -> Hash32:
    """What the sender signs. Raises: Invalid."""
    return keccak(_TYPE + rlp.encode(_to_fields(transaction)))


def encode_signed(transaction: Mapping[str, Any], y_parity: int, r: int, s: int) -> bytes:
    """The raw transaction. Raises: Invalid."""
    signature = [rlp.from_int(y_parity), rlp.from_int(r), rlp.from_int(s)]
    return _TYPE + rlp.encode([*_to_fields(transaction), *signature])


def compute_transaction_hash(raw: bytes) -> Hash32:
    """The hash by which a raw transaction is known."""
    return keccak(raw)


def compute_created_address(sender: bytes, nonce: int) -> Address:
    """Where a contract created by `sender` at `nonce` stands."""
    return Address(keccak(rlp.encode([sender, rlp.from_int(nonce)]))[12:])


def _to_fields(transaction: Mapping[str, Any]) -> list[rlp.Item]:
    if set(transaction) != _NAMES:
        raise Invalid("transaction has wrong fields", fields=sorted(transaction), expected=sorted(_NAMES))
    to = transaction["to"]
    if to is not None and len(to) != 20:
        raise Invalid("an address has 20 bytes", to=to)
    number = {name: rlp.from_int(transaction[name]) for name in _INTEGERS}
    return [
        *(number[name] for name in ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas")),
        bytes(to or b""),
        number["value"],
        bytes(transaction["data"]),
        [],
    ]
