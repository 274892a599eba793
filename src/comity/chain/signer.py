"""Keys: signs digests and transactions, loads version 3 keystores; a key is never shown, logged or pickled.

Trusts the machine it runs on with the key. A remote signer has the same two methods (`TransactionSigner`).
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
from coincurve import PrivateKey

from comity.chain.transaction import compute_signing_hash, encode_signed
from comity.core.errors import ConfigError, Invalid
from comity.core.keccak import keccak
from comity.core.types import Address

_MAX_KEYSTORE_BYTES = 64 * 1024


class TransactionSigner(Protocol):
    """Whoever can sign transactions of one account."""

    @property
    def address(self) -> Address:
        """20 bytes."""
        ...

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        """The raw signed form of a transaction with the fields of `chain.transaction`."""
        ...


class LocalSigner:
    """A secp256k1 key in this process."""

    def __init__(self, private_key: bytes) -> None:
        try:
            self._key = PrivateKey(private_key)
        except ValueError:
            raise ConfigError("not a secp256k1 private key", length=len(private_key)) from None
        self.address = Address(keccak(self._key.public_key.format(compressed=False)[1:])[12:])

    def __repr__(self) -> str:
        return f"LocalSigner(0x{self.address.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not pickled: its key would be written")

    def sign_digest(self, digest: bytes) -> tuple[int, int, int]:
        """(r, s, v) of a 32-byte digest; s is in the lower half, v is 27 or 28. Deterministic (RFC 6979)."""
        if len(digest) != 32:
            raise Invalid("a digest has 32 bytes", length=len(digest))
        # libsecp256k1 only ever makes low-s signatures.
        signature = self._key.sign_recoverable(digest, hasher=None)
        return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), 27 + signature[64]

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        """The raw signed form of a fee-market transaction. Raises: Invalid."""
        r, s, v = self.sign_digest(compute_signing_hash(transaction))
        return encode_signed(transaction, v - 27, r, s)


def load_keystore(path: Path | str, password: str) -> LocalSigner:
    """The signer of a version 3 keystore file, as cast, ape and moccasin write it.

    Raises: ConfigError when the file is missing, readable by others, malformed, or the password is wrong.
    """
    # It takes half a second to import, which only keystores are worth.
    from eth_account import Account

    encrypted = _read_private(Path(path))
    try:
        keystore = msgspec.json.decode(encrypted, type=dict[str, Any])
        private_key = bytes(Account.decrypt(keystore, password))
    except (msgspec.DecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        wrong = isinstance(error, ValueError) and "MAC" in str(error)
        raise ConfigError("wrong keystore password" if wrong else "not a version 3 keystore", path=str(path)) from None
    return LocalSigner(private_key)


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # Of the open file, not of the path: nobody can swap it in between.
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(
                    "others can open the keystore", path=str(path), mode=oct(mode), next_step=f"chmod 600 {path}"
                )
            return file.read(_MAX_KEYSTORE_BYTES)
    except OSError as error:
        raise ConfigError("cannot open the keystore", path=str(path), why=error.strerror) from None
