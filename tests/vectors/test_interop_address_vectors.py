"""Interoperable address vectors: the project's own, and the published ones where they are at hand."""

import json
import os
from pathlib import Path

import pytest
from vector_files import FOLDER, cases, hash_independently, unhex

from comity.core import interop_address
from comity.core.interop_address import EIP155, InteropAddress, InteropAddressError, caip2, chain_id_from_caip2, decode


@pytest.fixture(scope="module")
def published():
    folders = [os.environ.get("COMITY_VECTORS"), FOLDER.parents[1] / "shared" / "vectors"]
    for folder in filter(None, folders):
        path = Path(folder) / "standards" / "erc7930.json"
        if path.is_file():
            return json.loads(path.read_text())
    pytest.skip("no published ERC-7930 vectors: set COMITY_VECTORS to the folder that holds standards/erc7930.json")


@pytest.mark.parametrize("case", cases("interop_address", "valid"))
def test_valid_address_encodes_and_decodes(case):
    reference, address = unhex(case["chain_reference"]), unhex(case["address"])
    fields = InteropAddress(case["chain_type"], reference, address)
    text = f"0001{case['chain_type']:04x}{len(reference):02x}{reference.hex()}{len(address):02x}{address.hex()}"
    assert fields.encode() == unhex(case["encoding"]) == bytes.fromhex(text)
    assert decode(fields.encode()) == fields
    if "caip2" in case:
        assert fields.caip2 == case["caip2"]
        assert InteropAddress.from_caip2(case["caip2"], address) == fields


@pytest.mark.parametrize("case", cases("interop_address", "chain_ids"))
def test_chain_id_of_caip2_text(case):
    text, chain_id = case["caip2"], int(case["chain_id"], 16)
    namespace, reference = text.split(":")
    hashed = int.from_bytes(hash_independently(text.encode()), "big")
    assert chain_id_from_caip2(text) == chain_id == (int(reference) if namespace == "eip155" else hashed)
    assert caip2(chain_id, known=["cosmos:cosmoshub-3", text]) == text


@pytest.mark.parametrize("case", cases("interop_address", "invalid"))
def test_invalid_address_is_refused_for_its_reason(case):
    with pytest.raises(getattr(interop_address, case["error"])) as raised:
        decode(unhex(case["encoding"]))
    assert raised.value.values


@pytest.mark.parametrize("case", cases("interop_address", "invalid_caip2"))
def test_invalid_caip2_is_refused(case):
    with pytest.raises(getattr(interop_address, case["error"])):
        chain_id_from_caip2(case["caip2"])


def test_published_addresses_decode_to_their_parts(published):
    for case in published["valid"]:
        address = decode(unhex(case["binary"]))
        assert address.encode() == unhex(case["binary"])
        assert address.chain_type == int(case["chainType"], 16)
        assert address.chain_reference == unhex(case["chainReference"])
        assert address.address == unhex(case["address"])
        if address.chain_type == EIP155 and address.chain_reference and case["name"]:
            assert address.caip2 == case["name"].partition("@")[2].partition("#")[0]


def test_published_invalid_addresses_are_refused(published):
    for case in published["invalid_v1"] + published["invalid_evm_v1"]:
        with pytest.raises(InteropAddressError):
            decode(unhex(case["binary"]))
