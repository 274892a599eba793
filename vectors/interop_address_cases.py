"""Cases of interop_address.json."""

from collections.abc import Iterator

from vector_format import Case, refusals, show

from comity.core import interop_address
from comity.core.errors import Invalid


def invalid_addresses() -> Iterator[tuple[str, bytes, type[Invalid]]]:
    """Encodings that each break one rule."""
    account = b"\xd4" * 20
    yield "no bytes", b"", interop_address.InteropLengthMismatch
    yield "no lengths", bytes.fromhex("00010000"), interop_address.InteropLengthMismatch
    yield "version 0", bytes.fromhex("00000000010100"), interop_address.InteropVersionUnknown
    yield "version 2", bytes.fromhex("00020000010100"), interop_address.InteropVersionUnknown
    yield "an incompatible version", bytes.fromhex("80010000010100"), interop_address.InteropVersionUnknown
    yield "reference cut short", bytes.fromhex("00010042"), interop_address.InteropLengthMismatch
    yield "address cut short", bytes.fromhex("00010000010114") + account[:19], interop_address.InteropLengthMismatch
    yield "a trailing byte", bytes.fromhex("0001000001010000"), interop_address.InteropLengthMismatch
    yield "neither chain nor address", bytes.fromhex("000100000000"), interop_address.InteropEmpty
    yield "chain id with a leading zero", bytes.fromhex("0001000002000100"), interop_address.InteropReferenceNotMinimal
    yield "chain id 0", bytes.fromhex("00010000010000"), interop_address.InteropReferenceNotMinimal
    longer = bytes.fromhex("0001000021") + b"\x2d" * 33 + b"\0"
    yield "chain id of 33 bytes", longer, interop_address.InteropLengthMismatch
    yield (
        "an eip155 address of 19 bytes",
        bytes.fromhex("00010000010113") + account[:19],
        interop_address.InteropLengthMismatch,
    )
    yield (
        "an eip155 address of 32 bytes",
        bytes.fromhex("00010000010120") + bytes(32),
        interop_address.InteropLengthMismatch,
    )
    solana = bytes.fromhex("000100021f") + bytes(31) + b"\0"
    yield "a solana reference of 31 bytes", solana, interop_address.InteropLengthMismatch


def build_interop_address() -> Case:
    """interop_address.json."""
    evm = interop_address.InteropAddress.from_evm
    account = b"\xd4" * 20
    valid = {
        "an account on chain 1": evm(1, account),
        "chain 31338": evm(31338),
        "an account on chain 31338": evm(31338, account),
        "an account on any eip155 chain": interop_address.InteropAddress(interop_address.EIP155, b"", account),
        "the largest eip155 id": evm(interop_address.MAX_EIP155_CHAIN_ID, account),
        "a solana chain": interop_address.InteropAddress(interop_address.SOLANA, b"\x45" * 32, b""),
        "a solana chain whose hash starts with zero": interop_address.InteropAddress(
            interop_address.SOLANA, b"\0" + b"\x45" * 31, b""
        ),
        "a solana account": interop_address.InteropAddress(interop_address.SOLANA, b"\x45" * 32, b"\x05" * 32),
        "a starknet account": interop_address.InteropAddress(interop_address.STARKNET, b"SN_MAIN", b"\x06" * 32),
    }
    names = ("eip155:1", "eip155:31338", "eip155:9223372036854775771", "starknet:SN_MAIN")
    names += ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "bip122:000000000019d6689c085ae165831e93")
    wrong = ("", "eip155", "eip155:", "eip155:0", "eip155:01", "eip155:0x1", "eip155:1 ", "eip155:9223372036854775772")
    wrong += ("EIP155:1", "ei:1", "eip155:1:2", "starknet:" + "a" * 33)
    error = interop_address.Caip2Malformed.__name__
    return {
        "valid": [
            {
                "name": name,
                "chain_type": a.chain_type,
                "chain_reference": show(a.chain_reference),
                "address": show(a.address),
                "encoding": show(a.encode()),
                **({"caip2": a.caip2} if a.chain_type == interop_address.EIP155 and a.chain_reference else {}),
            }
            for name, a in valid.items()
        ],
        "chain_ids": [
            {"name": text, "caip2": text, "chain_id": hex(interop_address.chain_id_from_caip2(text))} for text in names
        ],
        "invalid": refusals(invalid_addresses()),
        "invalid_caip2": [{"name": repr(text), "caip2": text, "error": error} for text in wrong],
    }
