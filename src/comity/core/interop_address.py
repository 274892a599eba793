"""Interoperable addresses (ERC-7930 v1, strict) and the text names of chains (CAIP-2). Trusts nobody.

    version u16 = 0x0001 | chain type u16 | reference length u8 | chain reference | address length u8 | address

One address has one encoding: for eip155 the reference is the chain id in the fewest big-endian bytes.
Spec: ERC-7930 with the CAIP-350 profiles. Twin: contracts/core/interop_address.vy.
"""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.types import Address, ChainId

VERSION = 1

EIP155 = 0x0000
BIP122 = 0x0001
SOLANA = 0x0002
STARKNET = 0x0003

MAX_EIP155_CHAIN_ID = (2**64 - 1) // 2 - 36
"""The bound of EIP-2294; ids of other namespaces are hashes, far above it."""

_HEADER = struct.Struct(">HHB")
_MAX_PART_BYTES = 255
_PROFILES = {EIP155: (range(33), (0, 20)), BIP122: ((0, 16), range(256)), SOLANA: ((0, 32), (0, 32))}
"""Per chain type, the lengths that reference and address may have; of other types only the structure is checked."""

_CAIP2 = re.compile(r"[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}")
_DECIMAL = re.compile(r"[1-9][0-9]*")


class InteropAddressError(Invalid):
    """Not a canonical interoperable address or chain name; the subclasses say why."""


class InteropVersionUnknown(InteropAddressError):
    """The version is not 1."""


class InteropLengthMismatch(InteropAddressError):
    """The bytes end early or late, or a part has a length that its chain type does not know."""


class InteropEmpty(InteropAddressError):
    """Neither a chain reference nor an address."""


class InteropReferenceNotMinimal(InteropAddressError):
    """An eip155 reference starts with a zero byte."""


class InteropChainUnnamed(InteropAddressError):
    """The address names no chain, or one whose text name cannot be computed from it."""


class Caip2Malformed(InteropAddressError):
    """The text is not a CAIP-2 chain id, or its number is not written canonically."""


@dataclass(frozen=True, slots=True)
class InteropAddress:
    """An account on a chain; without an address a chain, without a reference an account on any chain of the type."""

    chain_type: int
    chain_reference: bytes
    address: bytes

    def __post_init__(self) -> None:
        _validate(self)

    @classmethod
    def from_evm(cls, chain_id: ChainId, address: Address | None = None) -> Self:
        """Name an account of an eip155 chain, or the chain itself."""
        return cls(EIP155, chain_id.to_bytes((chain_id.bit_length() + 7) // 8, "big"), address or b"")

    @classmethod
    def from_caip2(cls, text: str, address: Address | None = None) -> Self:
        """Name an account of the eip155 chain that the CAIP-2 text names.

        Raises: Caip2Malformed; InteropChainUnnamed for other namespaces.
        """
        if not text.startswith("eip155:"):
            raise InteropChainUnnamed("only eip155 names carry their whole reference", text=text)
        return cls.from_evm(chain_id_from_caip2(text), address)

    @property
    def chain_id(self) -> ChainId:
        """The eip155 chain id.

        Raises: InteropChainUnnamed.
        """
        if self.chain_type != EIP155 or not self.chain_reference:
            raise InteropChainUnnamed("no eip155 chain", chain_type=self.chain_type, reference=self.chain_reference)
        return ChainId(int.from_bytes(self.chain_reference, "big"))

    @property
    def caip2(self) -> str:
        """The CAIP-2 text of the chain.

        Raises: InteropChainUnnamed.
        """
        return caip2(self.chain_id)

    def encode(self) -> bytes:
        """Encode as ERC-7930 v1."""
        reference, address = self.chain_reference, self.address
        return b"".join(
            (_HEADER.pack(VERSION, self.chain_type, len(reference)), reference, bytes((len(address),)), address)
        )


def decode(encoding: bytes) -> InteropAddress:
    """Read an interoperable address; the strict inverse of `InteropAddress.encode`.

    Raises: InteropAddressError.
    """
    if len(encoding) < _HEADER.size + 1:
        raise InteropLengthMismatch("interoperable address", least=_HEADER.size + 1, actual=len(encoding))
    version, chain_type, reference_length = _HEADER.unpack_from(encoding)
    if version != VERSION:
        raise InteropVersionUnknown("interoperable address version", expected=VERSION, actual=version)
    address_at = _HEADER.size + reference_length + 1
    if len(encoding) < address_at:
        raise InteropLengthMismatch("interoperable address ends early", least=address_at, actual=len(encoding))
    expected = address_at + encoding[address_at - 1]
    if len(encoding) != expected:
        raise InteropLengthMismatch("interoperable address", expected=expected, actual=len(encoding))
    return InteropAddress(chain_type, encoding[_HEADER.size : address_at - 1], encoding[address_at:])


def chain_id_from_caip2(text: str) -> ChainId:
    """Compute the protocol's chain id: the number of an eip155 chain, else the keccak-256 of the text.

    Raises: Caip2Malformed.
    """
    if not _CAIP2.fullmatch(text):
        raise Caip2Malformed("not a CAIP-2 chain id", text=text, expected="eip155:1")
    namespace, reference = text.split(":")
    if namespace != "eip155":
        return ChainId(int.from_bytes(keccak(text.encode()), "big"))
    if not _DECIMAL.fullmatch(reference) or int(reference) > MAX_EIP155_CHAIN_ID:
        raise Caip2Malformed("not an eip155 chain id", text=text, most=MAX_EIP155_CHAIN_ID)
    return ChainId(int(reference))


def caip2(chain_id: ChainId, known: Iterable[str] = ()) -> str:
    """Write a chain id as people see it; a hash is looked up among the `known` texts, since it cannot be reversed.

    Raises: InteropChainUnnamed.
    """
    if 0 < chain_id <= MAX_EIP155_CHAIN_ID:
        return f"eip155:{chain_id}"
    for text in known:
        if chain_id_from_caip2(text) == chain_id:
            return text
    raise InteropChainUnnamed("no known CAIP-2 text has this chain id", chain_id=chain_id)


def _validate(address: InteropAddress) -> None:
    reference, account = address.chain_reference, address.address
    if not 0 <= address.chain_type <= 0xFFFF:
        raise InteropLengthMismatch("chain type is two bytes", chain_type=address.chain_type)
    if max(len(reference), len(account)) > _MAX_PART_BYTES:
        raise InteropLengthMismatch("too long", reference=len(reference), address=len(account), most=_MAX_PART_BYTES)
    if not reference and not account:
        raise InteropEmpty("neither a chain reference nor an address", chain_type=address.chain_type)
    if address.chain_type in _PROFILES:
        references, accounts = _PROFILES[address.chain_type]
        if len(reference) not in references:
            raise InteropLengthMismatch("chain reference", chain_type=address.chain_type, actual=len(reference))
        if len(account) not in accounts:
            raise InteropLengthMismatch("address", chain_type=address.chain_type, actual=len(account))
    if address.chain_type == EIP155 and reference[:1] == b"\0":
        raise InteropReferenceNotMinimal("eip155 chain id starts with a zero byte", reference=reference)
