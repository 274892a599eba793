"""Execution-layer block headers: encodes a JSON-RPC header again and hashes it, so that a provider cannot lie about it.

Trusts the block hash that it is compared with; pure. Format: ethereum/execution-specs, `Header` of each fork up to
Prague. Twin: the header reading of contracts/verifiers/StateProof.vy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.types import Hash32
from comity.proofs import rlp

_QUANTITY = 0
_ANY = -1

# JSON name -> length in bytes, or one of the two above. The order is the header's.
_FIELDS = {
    "parentHash": 32,
    "sha3Uncles": 32,
    "miner": 20,
    "stateRoot": 32,
    "transactionsRoot": 32,
    "receiptsRoot": 32,
    "logsBloom": 256,
    "difficulty": _QUANTITY,
    "number": _QUANTITY,
    "gasLimit": _QUANTITY,
    "gasUsed": _QUANTITY,
    "timestamp": _QUANTITY,
    "extraData": _ANY,
    "mixHash": 32,
    "nonce": 8,
}

# Each fork appended some: London, Shanghai, Cancun (three), Prague. A header has a prefix of these.
_FORK_FIELDS = {
    "baseFeePerGas": _QUANTITY,
    "withdrawalsRoot": 32,
    "blobGasUsed": _QUANTITY,
    "excessBlobGas": _QUANTITY,
    "parentBeaconBlockRoot": 32,
    "requestsHash": 32,
}
_FORK_SIZES = (0, 1, 2, 5, 6)


class HeaderError(Invalid):
    """The JSON is not a block header of a known fork."""


class HashMismatch(HeaderError):
    """The header is not the preimage of its hash."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a block hash commits to, as far as the protocol asks."""

    number: int
    hash: Hash32
    parent_hash: Hash32
    timestamp: int
    """Unix seconds on that chain's clock."""
    state_root: Hash32
    receipts_root: Hash32


def encode_header(header_json: Mapping[str, Any]) -> bytes:
    """The RLP of a JSON-RPC block header. Raises: HeaderError."""
    present = [name for name in _FORK_FIELDS if header_json.get(name) is not None]
    if len(present) not in _FORK_SIZES or present != list(_FORK_FIELDS)[: len(present)]:
        raise HeaderError("no fork has this combination of header fields", present=present)
    fields = _FIELDS | {name: _FORK_FIELDS[name] for name in present}
    return rlp.encode([_parse_field(header_json, name, length) for name, length in fields.items()])


def compute_block_hash(header_json: Mapping[str, Any]) -> Hash32:
    """The hash that the header's fields give, whatever `hash` it states. Raises: HeaderError."""
    return keccak(encode_header(header_json))


def verify_header(header_json: Mapping[str, Any]) -> Header:
    """The header, once its fields are found to hash to the `hash` it states. Raises: HashMismatch, HeaderError."""
    stated = _parse_field(header_json, "hash", 32)
    computed = compute_block_hash(header_json)
    if stated != computed:
        raise HashMismatch(
            "header does not hash to its block hash",
            next_step="the provider lies, or the chain runs a fork whose header this version does not know",
            stated=stated,
            computed=computed,
        )
    return Header(
        number=int(header_json["number"], 16),
        hash=computed,
        parent_hash=Hash32(_parse_field(header_json, "parentHash", 32)),
        timestamp=int(header_json["timestamp"], 16),
        state_root=Hash32(_parse_field(header_json, "stateRoot", 32)),
        receipts_root=Hash32(_parse_field(header_json, "receiptsRoot", 32)),
    )


def _parse_field(header_json: Mapping[str, Any], name: str, length: int) -> bytes:
    text = header_json.get(name)
    if not isinstance(text, str) or text[:2] != "0x":
        raise HeaderError("header field is missing or not hex", field=name)
    try:
        if length == _QUANTITY:
            return rlp.from_int(int(text, 16))
        value = bytes.fromhex(text[2:])
    except ValueError:
        raise HeaderError("header field is not hex", field=name) from None
    if length not in (_ANY, len(value)):
        raise HeaderError("header field has a wrong length", field=name, expected=length, found=len(value))
    return value
