"""A signer signs exactly what eth-account would, and never shows its key."""

import copy
import json
import pickle
import traceback

import pytest
from coincurve import PublicKey
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from comity.chain.signer import LocalSigner, load_keystore
from comity.chain.transaction import compute_created_address, compute_signing_hash, compute_transaction_hash
from comity.core.errors import ConfigError, Invalid
from comity.core.keccak import keccak

KEY = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

numbers = st.integers(0, 2**64 - 1)


transactions = st.fixed_dictionaries(
    {name: st.integers(0, 2**64 - 1) for name in ("chainId", "nonce", "maxPriorityFeePerGas", "gas", "value")}
    | {"maxFeePerGas": st.integers(2**64, 2**96), "data": st.binary(max_size=200)}
    | {"to": st.binary(min_size=20, max_size=20) | st.none()}
)


@given(transactions)
def test_a_transaction_is_the_one_of_eth_account(transaction):
    expected = Account.sign_transaction({**transaction, "to": transaction["to"] or b"", "type": 2}, KEY)
    raw = LocalSigner(KEY).sign_transaction(transaction)
    assert raw == bytes(expected.raw_transaction)
    assert compute_transaction_hash(raw) == bytes(expected.hash)


@given(st.binary(min_size=32, max_size=32))
def test_a_signature_is_low_s_and_recovers_to_the_address(digest):
    signer = LocalSigner(KEY)
    r, s, v = signer.sign_digest(digest)
    assert 0 < s <= HALF_ORDER
    assert v in (27, 28)
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v - 27])
    public = PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=False)
    assert keccak(public[1:])[12:] == signer.address == bytes.fromhex(Account.from_key(KEY).address[2:])


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33)])
def test_only_a_digest_is_signed(digest):
    with pytest.raises(Invalid):
        LocalSigner(KEY).sign_digest(digest)


TRANSACTION = {
    "chainId": 1,
    "nonce": 0,
    "maxPriorityFeePerGas": 1,
    "maxFeePerGas": 2,
    "gas": 21000,
    "to": bytes(20),
    "value": 0,
    "data": b"",
}


@pytest.mark.parametrize(
    "change",
    [{"to": bytes(19)}, {"value": -1}, {"gasPrice": 1}],
    ids=["short address", "negative value", "unknown field"],
)
def test_a_malformed_transaction_is_not_signed(change):
    with pytest.raises(Invalid):
        compute_signing_hash(TRANSACTION | change)
    with pytest.raises(Invalid):
        compute_signing_hash({name: value for name, value in TRANSACTION.items() if name != "nonce"})


def test_the_address_of_a_created_contract():
    sender = bytes.fromhex("6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0")
    assert compute_created_address(sender, 0).hex() == "cd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"
    assert compute_created_address(sender, 1).hex() == "343c43a37d37dff08ae8c4a11544c718abb4fcf8"


@pytest.mark.parametrize("key", [b"", bytes(32), b"\xff" * 32, bytes(33)])
def test_what_is_no_key_is_refused_without_showing_it(key):
    with pytest.raises(ConfigError) as refused:
        LocalSigner(key)
    assert key.hex() not in str(refused.value) or not key


def test_the_key_is_never_shown_or_copied_out():
    signer = LocalSigner(KEY)
    assert KEY.hex() not in repr(signer)
    assert KEY.hex() not in str(signer)
    for copy_out in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copy_out(signer)


@pytest.fixture(scope="module")
def encrypted():
    return json.dumps(Account.encrypt(KEY, "correct horse", iterations=2, kdf="pbkdf2"))


@pytest.fixture
def keystore(tmp_path, encrypted):
    path = tmp_path / "key.json"
    path.write_text(encrypted)
    path.chmod(0o600)
    return path


def test_a_keystore_is_decrypted(keystore):
    assert load_keystore(keystore, "correct horse").address == LocalSigner(KEY).address
    assert load_keystore(str(keystore), "correct horse").address == LocalSigner(KEY).address


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o602])
def test_a_keystore_that_others_can_open_is_refused(keystore, mode):
    keystore.chmod(mode)
    with pytest.raises(ConfigError) as refused:
        load_keystore(keystore, "correct horse")
    assert "chmod 600" in refused.value.next_step


def test_a_wrong_password_is_named_and_not_shown(keystore):
    password = "incorrect " + "zebra"
    with pytest.raises(ConfigError, match="wrong keystore password") as refused:
        load_keystore(keystore, password)
    assert password not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 3}', '{"version": 3, "crypto": {}}', "\xff"])
def test_what_is_no_keystore_is_refused(keystore, content):
    keystore.write_text(content)
    with pytest.raises(ConfigError):
        load_keystore(keystore, "correct horse")


def test_a_missing_keystore_or_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError):
        load_keystore(tmp_path / "absent.json", "x")
    with pytest.raises(ConfigError):
        load_keystore(tmp_path, "x")
