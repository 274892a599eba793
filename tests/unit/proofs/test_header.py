"""A header is believed only when its fields hash to its block hash."""

import hashlib
import json
from pathlib import Path

import pytest
import trie as reference

from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.proofs import rlp
from comity.proofs.header import HashMismatch, HeaderError, compute_block_hash, verify_header

EMPTY_TRIE = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"

# Ethereum's own first block.
GENESIS = {
    "parentHash": "0x" + "00" * 32,
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + "00" * 20,
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": EMPTY_TRIE,
    "receiptsRoot": EMPTY_TRIE,
    "logsBloom": "0x" + "00" * 256,
    "difficulty": "0x400000000",
    "number": "0x0",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": "0x" + "00" * 32,
    "nonce": "0x0000000000000042",
    "hash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
}
FORK_FIELDS = {
    "baseFeePerGas": "0x7",
    "withdrawalsRoot": EMPTY_TRIE,
    "blobGasUsed": "0x20000",
    "excessBlobGas": "0x0",
    "parentBeaconBlockRoot": "0x" + "11" * 32,
    "requestsHash": "0x" + "22" * 32,
}


def rehashed(header):
    return header | {"hash": "0x" + compute_block_hash(header).hex()}


def test_the_first_block_verifies():
    header = verify_header(GENESIS)
    assert header.number == 0
    assert header.hash.hex() == GENESIS["hash"][2:]
    assert header.state_root.hex() == GENESIS["stateRoot"][2:]
    assert header.receipts_root.hex() == EMPTY_TRIE[2:]


@pytest.mark.parametrize("present", [0, 1, 2, 5, 6])
def test_each_fork_has_its_prefix_of_fields_and_each_field_counts(present):
    fields = dict(list(FORK_FIELDS.items())[:present])
    header = rehashed(GENESIS | fields)
    assert verify_header(header).hash.hex() == header["hash"][2:]
    for name in set(header) - {"hash"}:
        changed = "0x" + ("01" if header[name][-2:] != "01" else "02")
        altered = header | {name: header[name][:-2] + changed[2:] if len(header[name]) > 4 else changed}
        with pytest.raises(HashMismatch):
            verify_header(altered)
    for name in fields:
        with pytest.raises(HeaderError):
            verify_header({key: value for key, value in header.items() if key != name})


@pytest.mark.parametrize("missing", [{"baseFeePerGas"}, {"withdrawalsRoot"}, {"excessBlobGas"}, {"blobGasUsed"}])
def test_no_fork_skips_a_field(missing):
    with pytest.raises(HeaderError, match="no fork"):
        compute_block_hash(GENESIS | {name: value for name, value in FORK_FIELDS.items() if name not in missing})


@pytest.mark.parametrize("present", [3, 4])
def test_no_fork_has_only_some_of_the_fields_that_cancun_added(present):
    with pytest.raises(HeaderError, match="no fork"):
        compute_block_hash(GENESIS | dict(list(FORK_FIELDS.items())[:present]))


def test_a_null_field_of_a_later_fork_is_absent():
    assert verify_header(GENESIS | dict.fromkeys(FORK_FIELDS)).number == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("parentHash", "0x" + "00" * 31),
        ("miner", "0x" + "00" * 21),
        ("nonce", "0x42"),
        ("logsBloom", "0x"),
        ("stateRoot", "not hex"),
        ("number", "0xzz"),
        ("number", 0),
        ("timestamp", None),
        ("hash", "0x" + "00" * 33),
    ],
)
def test_a_malformed_field_is_named(name, value):
    with pytest.raises(HeaderError) as refused:
        verify_header(GENESIS | {name: value})
    assert refused.value.values["field"] == name


def test_recorded_mainnet_header_verifies(mpt_vectors: Path):
    header = json.loads((mpt_vectors / "mainnet_block_11408438/header11408438.json").read_text())
    assert verify_header(header).number == 11408438
    with pytest.raises(HashMismatch):
        verify_header(header | {"timestamp": "0x5fceb101"})


def test_of_the_altered_blocks_only_the_good_one_verifies(mpt_vectors: Path):
    verdicts = {}
    for path in (mpt_vectors / "altered_blocks").iterdir():
        try:
            verify_header(json.loads(path.read_text()))
            verdicts[path.name] = True
        except HashMismatch:
            verdicts[path.name] = False
    assert len(verdicts) == 4
    assert [name for name, good in verdicts.items() if good] == ["post-shanghai-success_data.json"]


def test_official_block_with_all_transaction_types_verifies(mpt_vectors: Path):
    path = mpt_vectors / "ethereum_tests/blockWithAllTransactionTypes.json"
    [suite] = json.loads(path.read_text()).values()
    names = {"uncleHash": "sha3Uncles", "coinbase": "miner", "bloom": "logsBloom"}
    names |= {"transactionsTrie": "transactionsRoot", "receiptTrie": "receiptsRoot"}
    for official in (suite["genesisBlockHeader"], suite["blocks"][0]["blockHeader"]):
        header = {names.get(name, name): value for name, value in official.items()}
        assert verify_header(header).hash.hex() == official["hash"][2:]


def build_root(values):
    built = reference.HexaryTrie({})
    for position, value in enumerate(values):
        built[rlp.encode(rlp.from_int(position))] = value
    return "0x" + built.root_hash.hex()


def to_header(message):
    """The header that an execution client makes of an engine payload."""
    payload, sidecar = message["payload"], message["sidecar"]
    withdrawals = []
    for withdrawal in payload["withdrawals"]:
        numbers = {name: rlp.from_int(int(withdrawal[name], 16)) for name in ("index", "validatorIndex", "amount")}
        address = bytes.fromhex(withdrawal["address"][2:])
        withdrawals.append(rlp.encode([numbers["index"], numbers["validatorIndex"], address, numbers["amount"]]))
    requests = [bytes.fromhex(request[2:]) for request in sidecar["prague"]["fields"]["requests"]]
    requests_hash = hashlib.sha256(b"".join(hashlib.sha256(request).digest() for request in requests))
    renamed = {
        "sha3Uncles": "0x" + keccak(b"\xc0").hex(),
        "miner": payload["feeRecipient"],
        "transactionsRoot": build_root([bytes.fromhex(raw[2:]) for raw in payload["transactions"]]),
        "difficulty": "0x0",
        "number": payload["blockNumber"],
        "mixHash": payload["prevRandao"],
        "nonce": "0x" + "00" * 8,
        "withdrawalsRoot": build_root(withdrawals),
        "parentBeaconBlockRoot": sidecar["cancun"]["fields"]["parent_beacon_block_root"],
        "requestsHash": "0x" + requests_hash.hexdigest(),
        "hash": payload["blockHash"],
    }
    return payload | renamed


def test_headers_rebuilt_from_recorded_prague_payloads_verify(mpt_vectors: Path):
    paths = list((mpt_vectors / "hoodi_prague_payloads").iterdir())
    assert len(paths) == 3
    for path in paths:
        header = to_header(json.loads(path.read_text())["newPayload"])
        assert verify_header(header).hash.hex() == header["hash"][2:]
        with pytest.raises(Invalid):
            verify_header(header | {"requestsHash": "0x" + "00" * 32})
