"""Merkle-Patricia proofs: what value, or that no value, stands under a key; pure.

Trusts the root and nothing else: every byte of every node is bound by a hash, and a proof with a node too many, too few
or out of order is refused. Twin: contracts/proof/mpt.vy. Format: Ethereum yellow paper, appendix D.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.types import Hash32
from comity.proofs import rlp

EMPTY_ROOT = keccak(b"\x80")
"""Root of a trie without entries."""

EMPTY_CODE_HASH = keccak(b"")

_BRANCH_ITEMS, _SHORT_ITEMS, _HASH_BYTES = 17, 2, 32
_NONCE_BYTES, _BALANCE_BYTES = 8, 32


class ProofError(Invalid):
    """The nodes prove nothing about the key."""


class RootMismatch(ProofError):
    """The first node is not the root's."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its state root holds it."""

    nonce: int
    balance: int
    """Wei."""
    storage_root: Hash32
    code_hash: Hash32


def verify_proof(root: bytes, key: bytes, nodes: Sequence[bytes]) -> bytes | None:
    """The value under `key`, or None when the nodes prove that there is none.

    `nodes` are the hashed nodes on the key's path, root first; embedded ones come inside their parents. The empty trie
    is proved by no node, or by the encoding of its empty node.

    Raises: RootMismatch, ProofError, RlpError.
    """
    if not nodes and root == EMPTY_ROOT:
        return None
    reader = _Reader(root, nodes)
    value = _walk(reader, key)
    if reader.position != len(nodes):
        raise ProofError("nodes follow the last one on the path", used=reader.position, given=len(nodes))
    return value


def verify_account(state_root: bytes, address: bytes, nodes: Sequence[bytes]) -> Account | None:
    """The account at a 20-byte address, or None when it is proved absent. Raises: ProofError, RlpError."""
    value = verify_proof(state_root, keccak(address), nodes)
    if value is None:
        return None
    fields = rlp.decode(value)
    if not isinstance(fields, list) or len(fields) != 4:
        raise ProofError("an account has four fields", value=value)
    nonce, balance, storage_root, code_hash = fields
    return Account(
        nonce=rlp.to_int(nonce, _NONCE_BYTES),
        balance=rlp.to_int(balance, _BALANCE_BYTES),
        storage_root=_to_hash(storage_root),
        code_hash=_to_hash(code_hash),
    )


def verify_storage(storage_root: bytes, slot: int | bytes, nodes: Sequence[bytes]) -> int:
    """The word in a storage slot; 0 when it is proved absent. Raises: ProofError, RlpError."""
    position = slot.to_bytes(32, "big") if isinstance(slot, int) else slot
    if len(position) != 32:
        raise ProofError("a storage slot has 32 bytes", slot=slot)
    value = verify_proof(storage_root, keccak(position), nodes)
    if value is None:
        return 0
    word = rlp.to_int(rlp.decode(value), 32)
    if word == 0:
        raise ProofError("a stored zero is not canonical", value=value)
    return word


class _Reader:
    """Hands out nodes in the given order, each against the hash that its parent holds."""

    def __init__(self, root: bytes, nodes: Sequence[bytes]) -> None:
        self._nodes = nodes
        self._root = root
        self.position = 0

    def read_root(self) -> rlp.Item:
        return self._read(self._root)

    def read_child(self, reference: rlp.Item) -> rlp.Item:
        """The node behind a reference: a 32-byte hash, or a node of under 32 bytes embedded in its parent."""
        if isinstance(reference, bytes):
            if len(reference) != _HASH_BYTES:
                raise ProofError("a node reference has 32 bytes", reference=reference)
            node = self._read(reference)
            if len(self._nodes[self.position - 1]) < _HASH_BYTES:
                raise ProofError("a node under 32 bytes is embedded, not hashed", node=self._nodes[self.position - 1])
            return node
        size = len(rlp.encode(reference))
        if size >= _HASH_BYTES:
            raise ProofError("an embedded node has under 32 bytes", size=size)
        return reference

    def _read(self, expected: bytes) -> rlp.Item:
        if self.position == len(self._nodes):
            raise ProofError("a node is missing", expected=expected)
        node = self._nodes[self.position]
        computed = keccak(node)
        if computed != expected:
            error = ProofError if self.position else RootMismatch
            raise error("node does not match its hash", expected=expected, computed=computed, position=self.position)
        self.position += 1
        return rlp.decode(node)


def _walk(reader: _Reader, key: bytes) -> bytes | None:
    path = _to_nibbles(key)
    node = reader.read_root()
    if node == b"":
        return None
    while True:
        if isinstance(node, bytes) or len(node) not in (_BRANCH_ITEMS, _SHORT_ITEMS):
            raise ProofError("a node has 2 or 17 items", node=rlp.encode(node))
        if len(node) == _BRANCH_ITEMS:
            if not path:
                return _to_value(node[-1], optional=True)
            reference, path = node[path[0]], path[1:]
            if reference == b"":
                return None
            node = reader.read_child(reference)
            continue
        shared, is_leaf = _decode_path(node[0])
        if is_leaf:
            value = _to_value(node[1], optional=False)
            return value if shared == path else None
        if path[: len(shared)] != shared:
            return None
        path = path[len(shared) :]
        node = reader.read_child(node[1])
        if isinstance(node, bytes) or len(node) != _BRANCH_ITEMS:
            raise ProofError("an extension leads to a branch", node=rlp.encode(node))


def _decode_path(encoded: rlp.Item) -> tuple[bytes, bool]:
    """The nibbles of a hex-prefix encoding, and whether they end in a leaf."""
    if not isinstance(encoded, bytes) or not encoded:
        raise ProofError("a path is a byte string, never empty")
    flag, is_odd, is_leaf = encoded[0] >> 4, bool(encoded[0] & 0x10), bool(encoded[0] & 0x20)
    if flag > 3 or (not is_odd and encoded[0] & 0x0F):
        raise ProofError("path has an unknown prefix", path=encoded)
    nibbles = _to_nibbles(encoded)[1 if is_odd else 2 :]
    if not nibbles and not is_leaf:
        raise ProofError("an extension shares at least one nibble", path=encoded)
    return nibbles, is_leaf


def _to_nibbles(key: bytes) -> bytes:
    """One byte for each half of a byte."""
    return bytes(nibble for byte in key for nibble in (byte >> 4, byte & 0x0F))


def _to_value(item: rlp.Item, *, optional: bool) -> bytes | None:
    if not isinstance(item, bytes):
        raise ProofError("a value is a byte string", item=rlp.encode(item))
    if not item and not optional:
        raise ProofError("a leaf's value is never empty")
    return item or None


def _to_hash(item: rlp.Item) -> Hash32:
    if not isinstance(item, bytes) or len(item) != _HASH_BYTES:
        raise ProofError("a root or code hash has 32 bytes", item=rlp.encode(item))
    return Hash32(item)
