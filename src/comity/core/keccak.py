"""Keccak-256, the one hash of the protocol; trusts nobody. Its twin is the EVM's own `keccak256`.

safe-pysha3 takes one microsecond; without it the pycryptodome backend of eth-hash takes six for the same digest.
"""

from collections.abc import Callable

from comity.core.types import Hash32


def _load_backend() -> Callable[[bytes], bytes]:
    try:
        from sha3 import keccak_256
    except ImportError:
        from eth_hash.auto import keccak as eth_keccak

        return lambda message: bytes(eth_keccak(message))
    return lambda message: bytes(keccak_256(message).digest())


_keccak = _load_backend()


def keccak(message: bytes) -> Hash32:
    """Compute the 32-byte Keccak-256 digest (the pre-NIST padding that Ethereum uses)."""
    return Hash32(_keccak(message))
