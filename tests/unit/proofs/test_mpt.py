"""Trie proofs: the reference trie's answers are proved, and nothing else is."""

import json
import random
from pathlib import Path

import pytest
import trie as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.proofs import rlp
from comity.proofs.mpt import (
    EMPTY_CODE_HASH,
    EMPTY_ROOT,
    Account,
    ProofError,
    RootMismatch,
    verify_account,
    verify_proof,
    verify_storage,
)

# Few letters make shared prefixes, keys within keys, and nodes small enough to be embedded.
keys = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xFF]), min_size=1, max_size=4).map(bytes)
entries = st.dictionaries(keys, st.binary(min_size=1, max_size=40), min_size=1, max_size=12)


def build_trie(content):
    built = reference.HexaryTrie({})
    for key, value in content.items():
        built[key] = value
    return built


def build_proof(built, key):
    """The hashed nodes of the reference's proof: it lists embedded ones as well."""
    encoded = [rlp.encode(node) for node in built.get_proof(key)]
    return [node for position, node in enumerate(encoded) if position == 0 or len(node) >= 32]


def large_trie():
    generator = random.Random(7)
    content = {keccak(bytes([number])): generator.randbytes(generator.randint(1, 60)) for number in range(200)}
    return content, build_trie(content)


@settings(max_examples=300)
@given(entries, keys)
def test_every_key_has_the_reference_value_or_a_proof_of_absence(content, absent):
    built = build_trie(content)
    for key in (*content, absent):
        assert verify_proof(built.root_hash, key, build_proof(built, key)) == content.get(key)


@settings(max_examples=300)
@given(entries, keys, st.data())
def test_no_choice_of_genuine_nodes_proves_anything_false(content, key, data):
    built = build_trie(content)
    nodes = [node for other in (*content, key) for node in build_proof(built, other)]
    chosen = data.draw(st.lists(st.sampled_from(nodes), max_size=6))
    try:
        assert verify_proof(built.root_hash, key, chosen) == content.get(key)
    except Invalid:
        assert chosen != build_proof(built, key)


def test_proof_of_absence_of_a_neighbour_never_hides_a_present_key():
    content, built = large_trie()
    for key in list(content)[:40]:
        for nibble in range(64):
            neighbour = bytearray(key)
            neighbour[nibble // 2] ^= 0x10 if nibble % 2 == 0 else 0x01
            nodes = build_proof(built, bytes(neighbour))
            assert verify_proof(built.root_hash, bytes(neighbour), nodes) is None
            if nodes != build_proof(built, key):
                with pytest.raises(Invalid):
                    verify_proof(built.root_hash, key, nodes)


def mutate(generator, nodes):
    """One changed, missing, repeated, swapped, foreign or lengthened node."""
    mutated = list(nodes)
    place = generator.randrange(len(mutated))
    node = bytearray(mutated[place])
    kind = generator.randrange(8)
    if kind <= 2:
        node[generator.randrange(len(node))] ^= 1 << generator.randrange(8)
        mutated[place] = bytes(node)
    elif kind == 3:
        del mutated[place]
    elif kind == 4:
        mutated.insert(place, mutated[place])
    elif kind == 5:
        mutated.append(generator.choice(nodes))
    elif kind == 6:
        position = generator.randrange(len(node))
        mutated[place] = bytes(node[:position] + node[position + 1 :])
    else:
        position = generator.randrange(len(node) + 1)
        mutated[place] = bytes(node[:position] + generator.randbytes(1) + node[position:])
    return mutated


def test_four_thousand_mutations_of_valid_proofs_are_refused():
    generator = random.Random(11)
    content, built = large_trie()
    present, absent = list(content), [keccak(bytes([number, 1])) for number in range(50)]
    for _ in range(4000):
        key = generator.choice(present if generator.random() < 0.7 else absent)
        nodes = build_proof(built, key)
        mutated = mutate(generator, nodes)
        assert mutated != nodes
        with pytest.raises(Invalid):
            verify_proof(built.root_hash, key, mutated)


def test_the_empty_trie_proves_absence_by_its_empty_node_or_none():
    assert verify_proof(EMPTY_ROOT, b"key", []) is None
    assert verify_proof(EMPTY_ROOT, b"key", [b"\x80"]) is None
    with pytest.raises(ProofError):
        verify_proof(EMPTY_ROOT, b"key", [b"\x80", b"\x80"])
    with pytest.raises(ProofError):
        verify_proof(keccak(b"another"), b"key", [])
    with pytest.raises(ProofError):
        verify_proof(bytes(32), b"key", [])


def test_a_wrong_root_is_named():
    content, built = large_trie()
    key = next(iter(content))
    with pytest.raises(RootMismatch) as refused:
        verify_proof(bytes(32), key, build_proof(built, key))
    assert refused.value.values["expected"] == bytes(32)
    assert refused.value.values["computed"] == built.root_hash


def prove(*items, key=b"\x12", rest=()):
    """Verify under a root that holds this very node, as no honest trie does."""
    node = rlp.encode(list(items))
    return verify_proof(keccak(node), key, [node, *rest])


@pytest.mark.parametrize("prefix", range(256))
def test_of_all_path_prefixes_only_the_canonical_one_leads_to_the_value(prefix):
    """0x20 spells the even path 12; 0x3n the odd path n12, which no key of whole bytes has at the root."""
    try:
        value = prove(bytes([prefix]) + b"\x12", b"value")
    except Invalid:
        assert prefix >= 0x40 or prefix & 0xF0 in (0x00, 0x10) or 0x20 < prefix < 0x30
        return
    assert value == (b"value" if prefix == 0x20 else None)
    assert prefix == 0x20 or 0x30 <= prefix < 0x40 or 0x10 <= prefix < 0x20


def test_an_odd_path_carries_its_first_nibble_in_the_prefix():
    branch = [b""] * 17
    branch[1] = [b"\x32", b"value"]
    assert prove(*branch, key=b"\x12") == b"value"
    branch[1] = [b"\x33", b"value"]
    assert prove(*branch, key=b"\x12") is None


LONG_LEAF = rlp.encode([b"\x32", b"v" * 40])
BRANCH = rlp.encode([b"", b"", [b"\x20", b"v" * 20], *[b""] * 14])


@pytest.mark.parametrize(
    ("items", "rest", "why"),
    [
        ((b"\x20\x12", b""), (), "a leaf without a value"),
        ((b"\x20\x12", [b"value"]), (), "a leaf whose value is a list"),
        ((b"", b"value"), (), "an empty path"),
        (([b"\x20"], b"value"), (), "a path that is a list"),
        ((b"\x40\x12", b"value"), (), "an unknown prefix"),
        ((b"\x21\x12", b"value"), (), "an even leaf with a padding nibble"),
        ((b"\x01\x12", keccak(BRANCH)), (BRANCH,), "an even extension with a padding nibble"),
        ((b"\x00", keccak(BRANCH)), (BRANCH,), "an extension that shares nothing"),
        ((b"\x11", keccak(LONG_LEAF)), (LONG_LEAF,), "an extension to a leaf"),
        ((b"\x11", b""), (), "an extension to nothing"),
        ((b"\x11", b"\x01" * 31), (), "a reference of 31 bytes"),
        ((b"\x11", b"\x01" * 33), (), "a reference of 33 bytes"),
        ((b"\x20\x12", b"value", b""), (), "three items"),
        ((), (), "no items"),
        ((*[b""] * 16,), (), "sixteen items"),
        ((b"", [b"\x32", b"v" * 40], *[b""] * 15), (), "an embedded node that is too large"),
        ((b"", keccak(b"\xc3\x32\x81\x99"), *[b""] * 15), (b"\xc3\x32\x81\x99",), "a hashed node that is too small"),
        ((b"", keccak(LONG_LEAF), *[b""] * 15), (), "a node that is missing"),
        ((b"", keccak(LONG_LEAF), *[b""] * 15), (LONG_LEAF, LONG_LEAF), "a node too many"),
        ((b"", keccak(LONG_LEAF), *[b""] * 15), (BRANCH,), "another node"),
    ],
)
def test_a_malformed_node_proves_nothing_even_under_its_own_root(items, rest, why):
    with pytest.raises(Invalid):
        prove(*items, rest=rest)


@pytest.mark.parametrize("length", [1, 31, 33])
def test_a_reference_that_is_no_hash_is_named(length):
    with pytest.raises(ProofError, match="reference has 32 bytes"):
        prove(b"\x11", b"\x01" * length)


def test_the_well_formed_siblings_of_those_nodes_do_prove():
    assert prove(b"\x20\x12", b"value") == b"value"
    assert prove(b"\x11", keccak(BRANCH), rest=(BRANCH,)) == b"v" * 20
    assert prove(b"", keccak(LONG_LEAF), *[b""] * 15, rest=(LONG_LEAF,)) == b"v" * 40
    assert prove(b"", [b"\x32", b"value"], *[b""] * 15) == b"value"


def test_a_branch_value_is_a_byte_string():
    assert prove(*[b""] * 16, b"value", key=b"") == b"value"
    assert prove(*[b""] * 17, key=b"") is None
    with pytest.raises(ProofError):
        prove(*[b""] * 16, [b"value"], key=b"")


def leaf_of(key, value):
    node = rlp.encode([b"\x20" + keccak(key), value])
    return keccak(node), [node]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (rlp.encode(b"\x01"), 1),
        (rlp.encode(b"\xff" * 32), 2**256 - 1),
        (rlp.encode(b"\x00"), None),
        (rlp.encode(b"\x00\x01"), None),
        (rlp.encode(b""), None),
        (rlp.encode(b"\x01" * 33), None),
        (rlp.encode([b"\x01"]), None),
        (b"\x81\x01", None),
        (b"\x01\x01", None),
    ],
)
def test_a_storage_word_is_canonical_and_never_a_stored_zero(value, word):
    root, nodes = leaf_of((5).to_bytes(32, "big"), value)
    if word is None:
        with pytest.raises(Invalid):
            verify_storage(root, 5, nodes)
    else:
        assert verify_storage(root, 5, nodes) == word
        assert verify_storage(root, (5).to_bytes(32, "big"), nodes) == word
        assert verify_storage(root, 6, nodes) == 0


def test_a_storage_slot_has_32_bytes():
    root, nodes = leaf_of(b"\x05", rlp.encode(b"\x01"))
    with pytest.raises(ProofError):
        verify_storage(root, b"\x05", nodes)


ADDRESS = b"\xaa" * 20


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([b"\x01", b"", EMPTY_ROOT], "three fields"),
        ([b"\x01", b"", EMPTY_ROOT, EMPTY_CODE_HASH, b""], "five fields"),
        ([b"\x00", b"", EMPTY_ROOT, EMPTY_CODE_HASH], "a nonce with a leading zero"),
        ([b"\x01" * 9, b"", EMPTY_ROOT, EMPTY_CODE_HASH], "a nonce beyond 64 bits"),
        ([b"", b"\x01" * 33, EMPTY_ROOT, EMPTY_CODE_HASH], "a balance beyond 256 bits"),
        ([b"", b"", EMPTY_ROOT[:31], EMPTY_CODE_HASH], "a short storage root"),
        ([b"", b"", EMPTY_ROOT, EMPTY_CODE_HASH + b"\x00"], "a long code hash"),
        ([b"", b"", [EMPTY_ROOT], EMPTY_CODE_HASH], "a nested storage root"),
        (b"account", "no list"),
    ],
)
def test_a_malformed_account_is_refused(fields, why):
    root, nodes = leaf_of(ADDRESS, rlp.encode(fields))
    with pytest.raises(Invalid):
        verify_account(root, ADDRESS, nodes)


def test_an_account_is_read_or_proved_absent():
    root, nodes = leaf_of(ADDRESS, rlp.encode([b"\x07", b"\x01\x00", EMPTY_ROOT, EMPTY_CODE_HASH]))
    assert verify_account(root, ADDRESS, nodes) == Account(7, 256, EMPTY_ROOT, EMPTY_CODE_HASH)
    assert verify_account(root, b"\xbb" * 20, nodes) is None


def test_recorded_sepolia_proof_is_accepted(mpt_vectors: Path):
    answer = json.loads((mpt_vectors / "sepolia_storage_proof.json").read_text())
    nodes = [bytes.fromhex(node[2:]) for node in answer["accountProof"]]
    address = bytes.fromhex(answer["address"][2:])
    account = verify_account(keccak(nodes[0]), address, nodes)
    assert account is not None
    assert account.storage_root.hex() == answer["storageHash"][2:]
    assert account.code_hash.hex() == answer["codeHash"][2:]
    [slot] = answer["storageProof"]
    slot_nodes = [bytes.fromhex(node[2:]) for node in slot["proof"]]
    assert verify_storage(account.storage_root, int(slot["key"], 16), slot_nodes) == int(slot["value"], 16)
    generator = random.Random(3)
    for _ in range(500):
        with pytest.raises(Invalid):
            verify_storage(account.storage_root, int(slot["key"], 16), mutate(generator, slot_nodes))


def _to_bytes(text):
    return bytes.fromhex(text[2:]) if text[:2] == "0x" else text.encode()


@pytest.mark.parametrize("name", ["trieanyorder", "trietest", "trieanyorder_secureTrie", "hex_encoded_securetrie_test"])
def test_official_tries_prove_each_entry(mpt_vectors: Path, name):
    vectors = json.loads((mpt_vectors / f"ethereum_tests/TrieTests/{name}.json").read_text())
    for vector in vectors.values():
        given_entries = vector["in"].items() if isinstance(vector["in"], dict) else vector["in"]
        content: dict[bytes, bytes] = {}
        for key, value in given_entries:
            path = keccak(_to_bytes(key)) if "secure" in name.lower() else _to_bytes(key)
            content.pop(path, None)
            if value is not None:
                content[path] = _to_bytes(value)
        built, root = build_trie(content), bytes.fromhex(vector["root"][2:])
        for key, value in content.items():
            assert verify_proof(root, key, build_proof(built, key)) == value
        assert verify_proof(root, b"no such key", build_proof(built, b"no such key")) is None
