"""Lane and receipt vectors against the code, and against eth_abi and another Keccak."""

import pytest
from eth_abi import encode as abi_encode
from vector_files import cases, hash_independently, unhex

from comity.core import lane, receipt
from comity.core.receipt import Receipt, compute_result, decode
from comity.core.types import Direction, Outcome

MASK = (1 << 216) - 1


def fold_independently(accumulator, entries):
    for entry in entries:
        digest = hash_independently(accumulator.to_bytes(32, "big") + entry)
        accumulator = int.from_bytes(digest, "big") & MASK
    return accumulator


def read_run(case):
    entries = [[unhex(entry) for entry in case[name]] for name in ("entries", "suffix")]
    return int(case["before"], 16), case["first_nonce"], *entries


@pytest.mark.parametrize("case", cases("lane", "lanes"))
def test_lane_id_and_seeds(case):
    origin, destination = int(case["origin"], 16), int(case["destination"], 16)
    router, gate = unhex(case["router"]), unhex(case["gate"])
    abi = abi_encode(["uint256", "bytes32", "uint256", "bytes32"], [origin, router, destination, gate])
    assert lane.compute_lane(origin, router, destination, gate) == hash_independently(abi) == unhex(case["lane"])
    for direction in Direction:
        abi = abi_encode(["bytes32", "uint256"], [unhex(case["lane"]), int(direction)])
        seed = int.from_bytes(hash_independently(abi), "big") & MASK
        assert lane.compute_seed(unhex(case["lane"]), direction) == seed == int(case["seeds"][direction], 16)


@pytest.mark.parametrize("case", cases("lane", "steps"))
def test_step_extends_the_word(case):
    word, entry = int(case["word"], 16), unhex(case["entry"])
    assert lane.extend_word(word, entry) == int(case["after"], 16)
    assert (word >> 216) + 1 << 216 | fold_independently(word & MASK, [entry]) == int(case["after"], 16)


@pytest.mark.parametrize("case", cases("lane", "runs"))
def test_run_ends_in_its_word(case):
    before, first_nonce, entries, suffix = read_run(case)
    last = first_nonce + len(entries) + len(suffix) - 1
    assert lane.compute_word(before, first_nonce, entries, suffix) == int(case["word"], 16)
    assert last << 216 | fold_independently(before, entries + suffix) == int(case["word"], 16)


@pytest.mark.parametrize("case", cases("lane", "invalid"))
def test_invalid_run_is_refused_for_its_reason(case):
    with pytest.raises(getattr(lane, case["error"])):
        lane.compute_word(*read_run(case))


@pytest.mark.parametrize("case", cases("receipt", "valid"))
def test_valid_receipt_encodes_decodes_and_hashes(case):
    fields, encoding = case["fields"], unhex(case["encoding"])
    identifier, beneficiary, result = (unhex(fields[name]) for name in ("envelope_id", "beneficiary", "result"))
    read = Receipt(fields["origin"], Outcome(fields["outcome"]), fields["position"], identifier, beneficiary, result)
    word = fields["origin"] << 208 | int.from_bytes(beneficiary) << 48 | fields["position"] << 8 | fields["outcome"]
    typehash = hash_independently(b"Receipt(uint256 receipt,bytes32 id,bytes32 result)")
    independent = typehash + word.to_bytes(32) + identifier + result
    assert read.encode() == encoding == independent
    assert decode(encoding) == read
    assert read.entry == hash_independently(encoding) == unhex(case["entry"])


@pytest.mark.parametrize("case", cases("receipt", "results"))
def test_result_is_the_hash_of_what_was_replied(case):
    data = unhex(case["bytes"])
    assert compute_result(data) == (hash_independently(data) if data else bytes(32)) == unhex(case["result"])


@pytest.mark.parametrize("case", cases("receipt", "invalid"))
def test_invalid_receipt_is_refused_for_its_reason(case):
    with pytest.raises(getattr(receipt, case["error"])) as raised:
        decode(unhex(case["encoding"]))
    assert raised.value.values
