"""core/interop_address.vy against comity.core.interop_address: eip155 accounts, strictly."""

import random

import pytest
from eth_abi.abi import decode as abi_decode

from comity.core import interop_address
from comity.core.errors import ComityError
from comity.core.interop_address import InteropAddress
from tests.vectors.vector_files import cases, unhex

COUNT = 500
DECODE = "decode_address(bytes)"
ENCODE = "encode_address(uint256,address)"
MOST = (1 << 48) - 1


def draw_account(rng):
    chain = rng.choice(
        [1, 255, 256, 65_535, 65_536, MOST, rng.randint(1, MOST), rng.randint(1, 1 << rng.randint(1, 47))]
    )
    return chain, rng.randbytes(20)


def read_account(encoding):
    """What the contract must make of it: an account on an eip155 chain below 2^48, not the zero one; else nothing."""
    try:
        address = interop_address.decode(encoding)
        chain = address.chain_id
    except ComityError:
        return None
    if len(address.address) != 20 or not any(address.address) or chain > MOST:
        return None
    return chain, address.address


async def test_accounts_are_written_and_read_alike(modules):
    rng = random.Random(7930)
    accounts = [draw_account(rng) for _ in range(COUNT)]
    encodings = [InteropAddress.from_evm(*account).encode() for account in accounts]
    written = [abi_decode(["bytes"], answer)[0] for answer in await modules.ask(ENCODE, accounts)]
    assert written == encodings
    read = await modules.ask(DECODE, [(encoding,) for encoding in encodings])
    assert [(int.from_bytes(one[:32], "big"), one[44:]) for one in read] == accounts


@pytest.mark.threat("C3")
async def test_every_changed_byte_is_judged_alike(modules):
    encodings = [
        InteropAddress.from_evm(chain, b"\x07" * 19 + b"\1").encode() for chain in (1, 256, 65_536, 1 << 32, MOST)
    ]
    changed = [
        each[:at] + bytes([value]) + each[at + 1 :]
        for each in encodings
        for at in range(len(each))
        for value in range(0, 256, 1 if at < 6 else 51)
    ]
    await agree(modules, changed)


@pytest.mark.threat("C3")
async def test_every_other_length_is_judged_alike(modules):
    full = InteropAddress.from_evm(MOST, b"\x07" * 20).encode()
    changed = [full[:length] for length in range(len(full))]
    changed += [full + bytes(extra) for extra in range(1, 64 - len(full) + 1)]
    for size in range(1, 9):
        reference = b"\1" * size
        changed.append(b"\0\1\0\0" + bytes([size]) + reference + b"\x14" + b"\x07" * 20)
        changed.append(b"\0\1\0\0" + bytes([size]) + b"\0" + reference[1:] + b"\x14" + b"\x07" * 20)
        changed.append(b"\0\1\0\0" + bytes([size]) + reference + b"\x14" + bytes(20))
    await agree(modules, changed)


async def agree(modules, encodings):
    answers = await modules.ask(DECODE, [(encoding,) for encoding in encodings])
    for encoding, answer in zip(encodings, answers, strict=True):
        read = None if answer is None else (int.from_bytes(answer[:32], "big"), answer[44:])
        assert read == read_account(encoding), encoding.hex()


@pytest.mark.parametrize("case", cases("interop_address", "valid"))
async def test_the_contract_agrees_with_a_valid_vector(modules, case):
    if len(unhex(case["encoding"])) <= 64:
        await agree(modules, [unhex(case["encoding"])])


@pytest.mark.parametrize("case", cases("interop_address", "invalid"))
async def test_the_contract_refuses_an_invalid_vector(modules, case):
    if len(unhex(case["encoding"])) <= 64:
        assert await modules.ask(DECODE, [(unhex(case["encoding"]),)]) == [None]
