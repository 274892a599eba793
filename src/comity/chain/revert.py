"""What a contract said when it refused: decodes `Error(string)` and `Panic(uint256)`; pure.

The data comes from any contract: it is untrusted, bounded in length and stripped of control characters before a human
sees it.
"""

MAX_REASON_CHARACTERS = 256
ERROR_SELECTOR = bytes.fromhex("08c379a0")
PANIC_SELECTOR = bytes.fromhex("4e487b71")

# https://docs.soliditylang.org/en/latest/control-structures.html#panic-via-assert-and-error-via-require
_PANICS = {
    0x01: "assertion failed",
    0x11: "arithmetic overflow",
    0x12: "division by zero",
    0x21: "invalid enum value",
    0x22: "malformed storage bytes",
    0x31: "pop of an empty array",
    0x32: "index out of bounds",
    0x41: "out of memory",
    0x51: "call of an unset function",
}


def decode_revert(revert_data: bytes) -> str:
    """The revert string, the panic's name, or the data in hex; empty when there is none."""
    selector, body = revert_data[:4], revert_data[4:]
    if selector == ERROR_SELECTOR:
        reason = _decode_string(body)
        if reason is not None:
            return _printable(reason)
    if selector == PANIC_SELECTOR and len(body) == 32:
        code = int.from_bytes(body, "big")
        return f"panic 0x{code:02x}: {_PANICS.get(code, 'unknown')}"
    return "0x" + revert_data.hex() if revert_data else ""


def encode_revert(reason: str) -> bytes:
    """The revert data of `Error(string)`."""
    text = reason.encode()
    padded = text.ljust(-(-len(text) // 32) * 32, b"\0")
    return ERROR_SELECTOR + (32).to_bytes(32, "big") + len(text).to_bytes(32, "big") + padded


def _decode_string(body: bytes) -> str | None:
    offset = int.from_bytes(body[:32], "big")
    length = int.from_bytes(body[offset : offset + 32], "big") if len(body) >= 64 and offset <= len(body) - 32 else None
    if length is None or offset + 32 + length > len(body):
        return None
    return body[offset + 32 : offset + 32 + length].decode("utf-8", "replace")


def _printable(text: str) -> str:
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return shown if len(shown) <= MAX_REASON_CHARACTERS else shown[: MAX_REASON_CHARACTERS - 1] + "…"
