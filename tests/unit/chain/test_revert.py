"""Revert data becomes a reason that a human may read, whatever a contract put into it."""

import pytest
from eth_abi import encode as abi_encode
from hypothesis import given
from hypothesis import strategies as st

from comity.chain.revert import ERROR_SELECTOR, MAX_REASON_CHARACTERS, PANIC_SELECTOR, decode_revert, encode_revert


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def test_an_error_string_is_decoded(reason):
    assert encode_revert(reason) == ERROR_SELECTOR + abi_encode(["string"], [reason])
    assert decode_revert(encode_revert(reason)) == reason


def test_a_panic_is_named():
    assert decode_revert(PANIC_SELECTOR + (0x11).to_bytes(32, "big")) == "panic 0x11: arithmetic overflow"
    assert decode_revert(PANIC_SELECTOR + (0x99).to_bytes(32, "big")) == "panic 0x99: unknown"


@given(st.binary(max_size=100))
def test_any_data_is_shown_and_nothing_raises(garbage):
    for revert_data in (garbage, ERROR_SELECTOR + garbage, PANIC_SELECTOR + garbage):
        assert isinstance(decode_revert(revert_data), str)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        (32).to_bytes(32, "big"),
        (2**255).to_bytes(32, "big") + bytes(64),
        (32).to_bytes(32, "big") + (2**255).to_bytes(32, "big"),
        (32).to_bytes(32, "big") + (33).to_bytes(32, "big") + bytes(32),
    ],
)
def test_a_malformed_string_is_shown_in_hex(body):
    assert decode_revert(ERROR_SELECTOR + body) == "0x" + (ERROR_SELECTOR + body).hex()


def test_no_data_gives_no_reason():
    assert decode_revert(b"") == ""


def test_a_reason_cannot_flood_or_control_a_terminal():
    shown = decode_revert(encode_revert("\x1b[2J\n" + "x" * 10_000))
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert len(shown) == MAX_REASON_CHARACTERS
