"""The keys of devnets: derived from public names, so that they guard nothing, and every tool knows whose is whose."""

from pathlib import Path

from comity.chain.signer import LocalSigner
from comity.config import LoadedConfig
from comity.core.keccak import keccak
from comity.core.types import Address


def derive_signer(role: str, index: int = 0) -> LocalSigner:
    """Return the well-known development key of a role."""
    return LocalSigner(derive_key(role, index))


def derive_key(role: str, index: int = 0) -> bytes:
    """Return the well-known development key of a role as bytes."""
    return keccak(f"comity development key: {role} {index}".encode())


def name_key(set_name: str, index: int) -> str:
    """Return the file name of a member's key, in a devnet's folder of keys."""
    return f"{set_name}-attestor-{index}.key"


def find_key(loaded: LoadedConfig, member: Address) -> Path | None:
    """Return the key file of an attestor, if the configuration is a devnet's and it is a member there."""
    keys = loaded.path.parent / "keys"
    for set_name, attestation_set in loaded.config.sets.items():
        for index in range(len(attestation_set.members)):
            if derive_signer(f"{set_name} attestor", index).address == member:
                path = keys / name_key(set_name, index)
                return path if path.is_file() else None
    return None
