"""Interoperable addresses: the contracts' module against `comity.core.interop_address`."""

import pytest

from comity.core.interop_address import EIP155, InteropAddress, InteropAddressError, decode
from comity.core.types import Address, ChainId
from tests.differential.harness import split
from tests.differential.samples import Samples, unhex

BATCH = 512
MAX_CHAIN = (1 << 48) - 1
"""The largest chain id of 6 bytes, with which an encoding still fits one word."""

PREFIX = bytes.fromhex("00010000")


@pytest.fixture(scope="session")
async def harness(deploy_harness):
    return await deploy_harness("interop_address")


def expect(text):
    """What a contract should read: an account, not zero, on an eip155 chain of up to 6 bytes; else None."""
    try:
        address = decode(text)
    except InteropAddressError:
        return None
    if address.chain_type != EIP155 or not any(address.address) or not 1 <= len(address.chain_reference) <= 6:
        return None
    return address.chain_id, address.address


async def read(harness, texts):
    """The accounts that the contract reads, None where it refuses."""
    accounts = []
    for batch in split(texts, BATCH):
        for accepted, chain_id, account in await harness.rows("decode", ["bytes[]"], batch, width=3):
            accounts.append((int.from_bytes(chain_id, "big"), account[12:]) if any(accepted) else None)
    return accounts


def build_accounts():
    samples = Samples(10)
    bounds = [value for size in range(1, 7) for value in ((1 << 8 * size) - 1, 1 << 8 * (size - 1))]
    chains = bounds + [samples.between(1, MAX_CHAIN) for _ in range(800)]
    return [(ChainId(chain), Address(samples.randbytes(19) + b"\1")) for chain in chains]


async def test_accounts_are_encoded_and_decoded_alike(harness):
    accounts = build_accounts()
    texts = [InteropAddress.from_evm(*account).encode() for account in accounts]
    assert await read(harness, texts) == accounts
    for batch, expected in zip(split(accounts, BATCH), split(texts, BATCH), strict=True):
        answer = await harness.call("encode", ["(uint256,address)[]"], batch)
        assert read_list(answer) == list(expected)


async def test_a_chains_prefix_takes_any_account(harness):
    accounts = build_accounts()
    for batch in split(accounts, BATCH):
        prefixes = await harness.rows("encode_chain", ["uint256[]"], [chain for chain, _ in batch], width=2)
        for (chain, account), row in zip(batch, prefixes, strict=True):
            word, unused = (int.from_bytes(part, "big") for part in row)
            text = (word | int.from_bytes(account, "big") << unused).to_bytes(32, "big")
            assert text[: 32 - unused // 8] == InteropAddress.from_evm(chain, account).encode()
            assert not any(text[32 - unused // 8 :])


async def test_changed_cut_and_extended_texts_are_refused_alike(harness):
    account = Address(bytes(range(1, 21)))
    texts = []
    for chain in (1, 255, 256, 31338, 1 << 40, MAX_CHAIN, MAX_CHAIN + 1, (1 << 63) - 37):
        text = InteropAddress.from_evm(ChainId(chain), account).encode()
        texts += [text[:at] + bytes([text[at] ^ delta]) + text[at + 1 :] for at in range(len(text)) for delta in DELTAS]
        texts += [text[:end] for end in range(len(text))] + [text + bytes(size) for size in range(1, 60)]
    expected = [expect(text) for text in texts]
    assert len([one for one in expected if one]) > 100
    assert await read(harness, texts) == expected


DELTAS = (0x01, 0x02, 0x04, 0x07, 0x10, 0x80, 0xFF)


async def test_texts_of_any_lengths_are_refused_alike(harness):
    samples = Samples(11)
    account = bytes(range(1, 21))
    texts = [bytes(size) for size in range(70)] + [b"\xff" * size for size in range(70)]
    for stated in range(10):
        for actual in range(10):
            for size in (0, 19, 20, 21, 32):
                reference, address = samples.randbytes(actual), samples.randbytes(size)
                texts.append(PREFIX + bytes([stated]) + reference + bytes([size]) + address)
                texts.append(PREFIX + bytes([stated]) + reference.replace(b"\0", b"\1") + b"\x14" + address)
    for size in range(1, 9):
        texts.append(PREFIX + bytes([size]) + bytes(size) + b"\x14" + account)
        texts.append(PREFIX + bytes([size]) + bytes(size - 1) + b"\1\x14" + account)
        texts.append(PREFIX + bytes([size]) + b"\1" * size + b"\x14" + bytes(20))
    expected = [expect(text) for text in texts]
    assert any(expected)
    assert await read(harness, texts) == expected


async def test_vectors_hold_for_the_contract(harness, vectors):
    lists = vectors["interop_address"]
    valid = [unhex(case["encoding"]) for case in lists["valid"]]
    assert await read(harness, valid) == [expect(text) for text in valid]
    assert any(map(expect, valid))
    invalid = [unhex(case["encoding"]) for case in lists["invalid"]]
    assert await read(harness, invalid) == [None] * len(invalid)


def read_list(answer):
    """The items of an ABI `bytes[]`."""
    at = int.from_bytes(answer[:32], "big")
    base = at + 32
    items = []
    for index in range(int.from_bytes(answer[at:base], "big")):
        start = base + int.from_bytes(answer[base + 32 * index : base + 32 * index + 32], "big")
        items.append(answer[start + 32 : start + 32 + int.from_bytes(answer[start : start + 32], "big")])
    return items
