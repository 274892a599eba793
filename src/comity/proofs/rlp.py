"""Recursive Length Prefix, strictly: every value has one encoding, and every other is refused; pure.

Trusts nobody. Twin: contracts/proof/rlp.vy. Format: Ethereum yellow paper, appendix B.
"""

from collections.abc import Sequence

from comity.core.errors import Invalid

Item = bytes | Sequence["Item"]
"""A byte string, or a list of items."""

MAX_DEPTH = 64
"""Lists within lists; what the protocol reads nests 3 deep."""

_STRING, _LIST, _LONG = 0x80, 0xC0, 56


class RlpError(Invalid):
    """Not the canonical encoding of anything."""


def encode(item: Item) -> bytes:
    """The one encoding of a byte string or a nested list of them."""
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < _STRING else _encode_length(len(item), _STRING) + item
    body = b"".join(encode(child) for child in item)
    return _encode_length(len(body), _LIST) + body


def decode(encoded: bytes) -> "bytes | list[Item]":
    """Exactly one item, with nothing after it. Raises: RlpError."""
    item, end = _decode_at(encoded, 0, 0)
    if end != len(encoded):
        raise RlpError("bytes follow the item", trailing=len(encoded) - end)
    return item


def from_int(value: int) -> bytes:
    """The byte string of an unsigned integer: big-endian, minimal, empty for 0."""
    if value < 0:
        raise RlpError("integer is negative", value=value)
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def to_int(payload: Item, max_bytes: int = 32) -> int:
    """The unsigned integer of a byte string without leading zeros. Raises: RlpError."""
    if not isinstance(payload, bytes):
        raise RlpError("integer is a list")
    if len(payload) > max_bytes:
        raise RlpError("integer too large", length=len(payload), maximum=max_bytes)
    if payload[:1] == b"\0":
        raise RlpError("integer has leading zeros", payload=payload)
    return int.from_bytes(payload, "big")


def _encode_length(length: int, offset: int) -> bytes:
    if length < _LONG:
        return bytes([offset + length])
    size = from_int(length)
    return bytes([offset + _LONG - 1 + len(size)]) + size


def _decode_at(encoded: bytes, start: int, depth: int) -> "tuple[bytes | list[Item], int]":
    """The item that starts at `start`, and the position after it."""
    if start >= len(encoded):
        raise RlpError("item missing", position=start)
    first = encoded[start]
    if first < _STRING:
        return encoded[start : start + 1], start + 1
    if first < _LIST:
        begin, end = _decode_length(encoded, start, _STRING)
        if end - begin == 1 and encoded[begin] < _STRING:
            raise RlpError("single byte has a length prefix", position=start)
        return encoded[begin:end], end
    if depth == MAX_DEPTH:
        raise RlpError("lists nested too deeply", maximum=MAX_DEPTH)
    begin, end = _decode_length(encoded, start, _LIST)
    children: list[Item] = []
    while begin < end:
        child, begin = _decode_at(encoded, begin, depth + 1)
        children.append(child)
    if begin != end:
        raise RlpError("item exceeds its list", position=start)
    return children, end


def _decode_length(encoded: bytes, start: int, offset: int) -> tuple[int, int]:
    """Where the body of a prefixed item begins and ends."""
    size = encoded[start] - offset - (_LONG - 1)
    if size <= 0:
        begin, length = start + 1, encoded[start] - offset
    else:
        begin = start + 1 + size
        digits = encoded[start + 1 : begin]
        length = int.from_bytes(digits, "big")
        if len(digits) != size or digits[0] == 0 or length < _LONG:
            raise RlpError("length is cut short or not minimal", position=start)
    if begin + length > len(encoded):
        raise RlpError("item is cut short", position=start, length=length, available=len(encoded) - begin)
    return begin, begin + length
