"""The project's vectors, as pytest parameters; bytes and wide integers are parsed where they are used."""

import json
from pathlib import Path
from typing import Any

import pytest
from Crypto.Hash import keccak as pycryptodome_keccak

FOLDER = Path(__file__).parents[2] / "vectors"


def load(stem: str) -> dict[str, list[dict[str, Any]]]:
    """One file of vectors."""
    return json.loads((FOLDER / f"{stem}.json").read_text())


def cases(stem: str, name: str) -> list[Any]:
    """One list of a file, a pytest parameter per case."""
    return [pytest.param(case, id=case["name"]) for case in load(stem)[name]]


def unhex(text: str) -> bytes:
    """Bytes of a vector."""
    assert text.startswith("0x")
    return bytes.fromhex(text[2:])


def hash_independently(message: bytes) -> bytes:
    """Keccak-256 by another library than the one under test."""
    return pycryptodome_keccak.new(digest_bits=256, data=message).digest()
