"""JSON-RPC's hex and records: bytes and ints on our side, `0x…` strings on the wire.

A parser raises `ValueError`, `KeyError` or `TypeError` on a malformed answer; `chain.rpc` names the provider.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from comity.core.types import Address, Hash32

BlockRef = int | str | bytes
"""A number, a tag (`latest`, `safe`, `finalized`), or a 32-byte hash."""

TopicFilter = bytes | Sequence[bytes] | None
"""One topic, any of several, or anything."""


_QUANTITY_LENGTH = 2 + 64
_MAX_DEPTH = 10
"""The deepest answer of a node, a full block with access lists in a batch, nests eight levels."""


def _build_json_type() -> Any:
    found: Any = bool | int | float | str | None
    for _ in range(_MAX_DEPTH):
        found = None | bool | int | float | str | list[found] | dict[str, found]
    return found


_DECODER = msgspec.json.Decoder(_build_json_type())


class Block(msgspec.Struct, frozen=True):
    """A block as one provider told it; untrusted until its header is hashed again (`proofs.header`)."""

    number: int
    hash: Hash32
    parent_hash: Hash32
    timestamp: int
    state_root: Hash32
    header: dict[str, Any]
    """The provider's JSON object."""


class Log(msgspec.Struct, frozen=True):
    """An event of a mined transaction."""

    address: Address
    topics: tuple[Hash32, ...]
    data: bytes
    block_number: int
    block_hash: Hash32
    transaction_hash: Hash32
    transaction_index: int
    log_index: int
    removed: bool = False


class TransactionReceipt(msgspec.Struct, frozen=True):
    """What became of a mined transaction; `status` 1 is success, 0 a revert."""

    status: int
    gas_used: int
    block_number: int
    block_hash: Hash32
    logs: tuple[Log, ...]
    transaction_hash: Hash32
    effective_gas_price: int
    contract_address: Address | None = None


class StorageProof(msgspec.Struct, frozen=True):
    """A slot, the value claimed for it, and the trie nodes from the storage root, root first."""

    key: Hash32
    value: int
    nodes: tuple[bytes, ...]


class AccountProof(msgspec.Struct, frozen=True):
    """An `eth_getProof` answer: claims and trie nodes, root first; untrusted until verified (`proofs.mpt`)."""

    address: Address
    nonce: int
    balance: int
    storage_root: Hash32
    code_hash: Hash32
    nodes: tuple[bytes, ...]
    storage: tuple[StorageProof, ...]


class FeeHistory(msgspec.Struct, frozen=True):
    """Base fees in wei, one more than the blocks asked for (the last is the next block's), and priority fees paid."""

    oldest_block: int
    base_fees: tuple[int, ...]
    rewards: tuple[tuple[int, ...], ...]


def decode_json(text: bytes | bytearray) -> Any:
    """JSON of a bounded depth: a parser that followed any would run out of stack, and end the process.

    Raises: msgspec.ValidationError when it nests deeper; msgspec.DecodeError or UnicodeDecodeError when it is no JSON.
    """
    return _DECODER.decode(text)


def to_hex(value: bytes) -> str:
    """Bytes as JSON-RPC DATA."""
    return "0x" + value.hex()


def from_hex(value: str, length: int | None = None) -> bytes:
    """JSON-RPC DATA as bytes, of exactly `length` when given."""
    if not isinstance(value, str) or value[:2] != "0x":
        raise ValueError("not 0x-prefixed hex")
    raw = bytes.fromhex(value[2:])
    if length is not None and len(raw) != length:
        raise ValueError(f"{len(raw)} bytes, expected {length}")
    return raw


def to_quantity(value: int) -> str:
    """An unsigned int as JSON-RPC QUANTITY."""
    if value < 0:
        raise ValueError("quantity is negative")
    return hex(value)


def from_quantity(value: str) -> int:
    """JSON-RPC QUANTITY as an int of at most 256 bits; leading zeros are tolerated, as some nodes write them."""
    if not isinstance(value, str) or value[:2] != "0x" or value[2:3] in ("+", "-") or len(value) > _QUANTITY_LENGTH:
        raise ValueError("not a 0x-prefixed quantity of at most 256 bits")
    return int(value[2:], 16)


def to_hash(value: str) -> Hash32:
    """A 32-byte hash."""
    return Hash32(from_hex(value, 32))


def to_address(value: str) -> Address:
    """A 20-byte address."""
    return Address(from_hex(value, 20))


def to_block_ref(block: BlockRef) -> str | dict[str, str]:
    """A block parameter; a hash becomes an EIP-1898 object, which a reorg cannot redirect."""
    if isinstance(block, bytes):
        return {"blockHash": to_hex(block)}
    return to_quantity(block) if isinstance(block, int) else block


def to_json(value: Any) -> Any:
    """Replace bytes by hex, however deep; ints stay numbers, because some methods want them so."""
    if isinstance(value, bytes | bytearray):
        return to_hex(bytes(value))
    if isinstance(value, Mapping):
        return {to_json(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def to_log_filter(address: bytes | Sequence[bytes] | None, topics: Sequence[TopicFilter]) -> dict[str, Any]:
    """The part of an `eth_getLogs` filter that does not name blocks."""
    filter_: dict[str, Any] = {}
    if address is not None:
        filter_["address"] = to_json(address)
    if topics:
        filter_["topics"] = to_json(list(topics))
    return filter_


def parse_block(answer: dict[str, Any]) -> Block:
    """A mined block."""
    return Block(
        number=from_quantity(answer["number"]),
        hash=to_hash(answer["hash"]),
        parent_hash=to_hash(answer["parentHash"]),
        timestamp=from_quantity(answer["timestamp"]),
        state_root=to_hash(answer["stateRoot"]),
        header=answer,
    )


def parse_log(answer: Mapping[str, Any]) -> Log:
    """A log of a mined block."""
    return Log(
        address=to_address(answer["address"]),
        topics=tuple(to_hash(topic) for topic in answer["topics"]),
        data=from_hex(answer["data"]),
        block_number=from_quantity(answer["blockNumber"]),
        block_hash=to_hash(answer["blockHash"]),
        transaction_hash=to_hash(answer["transactionHash"]),
        transaction_index=from_quantity(answer["transactionIndex"]),
        log_index=from_quantity(answer["logIndex"]),
        removed=bool(answer.get("removed", False)),
    )


def parse_receipt(answer: Mapping[str, Any]) -> TransactionReceipt:
    """A receipt of a mined transaction."""
    created = answer.get("contractAddress")
    return TransactionReceipt(
        status=from_quantity(answer["status"]),
        gas_used=from_quantity(answer["gasUsed"]),
        block_number=from_quantity(answer["blockNumber"]),
        block_hash=to_hash(answer["blockHash"]),
        logs=tuple(parse_log(log) for log in answer["logs"]),
        transaction_hash=to_hash(answer["transactionHash"]),
        effective_gas_price=from_quantity(answer.get("effectiveGasPrice") or "0x0"),
        contract_address=to_address(created) if created else None,
    )


def parse_account_proof(answer: Mapping[str, Any]) -> AccountProof:
    """An `eth_getProof` answer."""
    return AccountProof(
        address=to_address(answer["address"]),
        nonce=from_quantity(answer["nonce"]),
        balance=from_quantity(answer["balance"]),
        storage_root=to_hash(answer["storageHash"]),
        code_hash=to_hash(answer["codeHash"]),
        nodes=tuple(from_hex(node) for node in answer["accountProof"]),
        storage=tuple(
            StorageProof(
                key=Hash32(from_quantity(item["key"]).to_bytes(32, "big")),
                value=from_quantity(item["value"]),
                nodes=tuple(from_hex(node) for node in item["proof"]),
            )
            for item in answer["storageProof"]
        ),
    )


def parse_fee_history(answer: Mapping[str, Any]) -> FeeHistory:
    """An `eth_feeHistory` answer."""
    return FeeHistory(
        oldest_block=from_quantity(answer["oldestBlock"]),
        base_fees=tuple(from_quantity(fee) for fee in answer["baseFeePerGas"]),
        rewards=tuple(tuple(from_quantity(fee) for fee in row) for row in answer.get("reward") or ()),
    )
