"""Both backends give Ethereum's Keccak-256."""

import builtins

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core import keccak as keccak_module
from comity.core.keccak import keccak

EMPTY = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


@pytest.fixture(scope="module")
def fallback():
    """The backend of an installation without safe-pysha3."""
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "sha3":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "__import__", refuse)
        return keccak_module._load_backend()


def test_the_hash_of_nothing_is_ethereums():
    assert keccak(b"").hex() == EMPTY


@given(st.binary(max_size=300))
def test_the_fallback_agrees(fallback, message):
    assert fallback(message) == keccak(message)
