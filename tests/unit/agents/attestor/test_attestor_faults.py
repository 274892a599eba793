"""Providers lie, lag and fail, chains change the past: no wrong signature, ever; twin of agents/attestor/witness.py."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from keeper_chain import (
    CHAIN_ID,
    DEPTH,
    SET,
    SIGNERS,
    FaultyProvider,
    KeeperChain,
    build_duty,
    load_nonces,
    load_signed,
    word,
)

from comity.agents.attestor import AttestedChain, Attestor, Duty
from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import Rpc
from comity.core.errors import ConfigError, NotReady, Unavailable
from comity.core.finality import SAFE, FinalityRule
from comity.core.keccak import keccak
from comity.core.types import Address, Seconds
from comity.proofs import rlp
from comity.proofs.header import compute_block_hash
from comity.store.port import HaltRecord
from comity.store.sqlite import SqliteStore
from comity.telemetry import Metrics

Build = Callable[..., Attestor]
LIE = word(666, 666)


def forge_value(method: str, params: list[Any], result: Any) -> Any:
    """Another value in the answer, with the true nodes."""
    if method == "eth_getProof":
        result["storageProof"][0]["value"] = hex(LIE)
    return result


def forge_storage_node(method: str, params: list[Any], result: Any) -> Any:
    """Another value in the leaf of the trie."""
    if method == "eth_getProof":
        *nodes, leaf = result["storageProof"][0]["proof"]
        result["storageProof"][0]["proof"] = [*nodes, leaf[:-2] + ("00" if leaf[-2:] != "00" else "01")]
    return result


def forge_absence(method: str, params: list[Any], result: Any) -> Any:
    """A proof of another slot, in which there is nothing."""
    if method == "eth_getProof":
        result["storageProof"] = []
    return result


def forge_account(method: str, params: list[Any], result: Any) -> Any:
    if method == "eth_getProof":
        result["storageHash"] = "0x" + "11" * 32
        result["accountProof"] = result["accountProof"][:-1]
    return result


def forge_storage_trie(method: str, params: list[Any], result: Any) -> Any:
    """A well-formed storage trie that holds the lie, under the true proof of the account."""
    if method == "eth_getProof":
        [slot] = params[1]
        path = b"\x20" + keccak(bytes.fromhex(slot[2:]))
        leaf = rlp.encode([path, rlp.encode(rlp.from_int(LIE))])
        result["storageHash"] = "0x" + keccak(leaf).hex()
        result["storageProof"] = [{"key": slot, "value": hex(LIE), "proof": ["0x" + leaf.hex()]}]
    return result


def forge_state_trie(method: str, params: list[Any], result: Any) -> Any:
    """The same, under an account that is proved by a trie of its own."""
    if method == "eth_getProof":
        result = forge_storage_trie(method, params, result)
        account = [b"\x01", b"", bytes.fromhex(result["storageHash"][2:]), bytes.fromhex(result["codeHash"][2:])]
        path = b"\x20" + keccak(bytes.fromhex(params[0][2:]))
        result["accountProof"] = ["0x" + rlp.encode([path, rlp.encode(account)]).hex()]
    return result


def answer_nonsense(method: str, params: list[Any], result: Any) -> Any:
    return {"key": 1} if method == "eth_getProof" else result


def overflow_key(method: str, params: list[Any], result: Any) -> Any:
    if method == "eth_getProof":
        result["storageProof"][0]["key"] = "0x1" + "00" * 40
    return result


def forge_header(method: str, params: list[Any], result: Any) -> Any:
    """A block that hashes well and never was."""
    if method == "eth_getBlockByNumber":
        result["stateRoot"] = "0x" + "22" * 32
        result["hash"] = "0x" + compute_block_hash(result).hex()
    return result


def forge_state_root(method: str, params: list[Any], result: Any) -> Any:
    """The true hash over a false state root."""
    if method == "eth_getBlockByNumber":
        result["stateRoot"] = "0x" + "22" * 32
    return result


def exaggerate_head(method: str, params: list[Any], result: Any) -> Any:
    return hex(int(result, 16) + DEPTH) if method == "eth_blockNumber" else result


def lag(method: str, params: list[Any], result: Any) -> Any:
    return hex(int(result, 16) - 1) if method == "eth_blockNumber" else result


@pytest.mark.parametrize(
    "lie",
    [
        forge_value,
        forge_storage_node,
        forge_absence,
        forge_account,
        forge_storage_trie,
        forge_state_trie,
        answer_nonsense,
        overflow_key,
        forge_header,
        forge_state_root,
        exaggerate_head,
        lag,
    ],
)
async def test_one_lying_provider_of_three_changes_nothing(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build, *, providers: list[FaultyProvider], lie: Any
) -> None:
    height = await chain.set_word(duty.id, word(1))
    await chain.finalize()
    providers[0].mutate = lie
    await build().attest(CHAIN_ID)
    [record] = load_signed(store, duty)
    assert (record.attested.word, record.attested.height) == (word(1), height)


@pytest.mark.parametrize(
    "lie",
    [
        forge_storage_node,
        forge_absence,
        forge_account,
        forge_storage_trie,
        forge_state_trie,
        answer_nonsense,
        overflow_key,
    ],
)
async def test_no_signature_when_every_provider_lies_about_the_state(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build, *, providers: list[FaultyProvider], lie: Any
) -> None:
    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    for provider in providers:
        provider.mutate = lie
    with pytest.raises(Unavailable, match="no provider proves"):
        await build().attest(CHAIN_ID)
    assert load_signed(store, duty) == []


async def test_claimed_value_is_never_believed(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build, providers: list[FaultyProvider]
) -> None:
    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    for provider in providers:
        provider.mutate = forge_value
    await build().attest(CHAIN_ID)
    assert load_nonces(store, duty) == [1]


@pytest.mark.parametrize("lie", [forge_header, forge_state_root])
async def test_no_failover_below_the_quorum_when_the_honest_are_killed(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build, *, providers: list[FaultyProvider], lie: Any
) -> None:
    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    providers[0].mutate = lie
    providers[1].is_down = True
    with pytest.raises(Unavailable):
        await build().attest(CHAIN_ID)
    assert load_signed(store, duty) == []


async def test_two_providers_down_stop_the_attestor_until_one_returns(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build, providers: list[FaultyProvider]
) -> None:
    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    attestor = build()
    providers[0].is_down = providers[1].is_down = True
    with pytest.raises(Unavailable):
        await attestor.attest(CHAIN_ID)
    assert load_signed(store, duty) == []
    providers[0].is_down = False
    await attestor.attest(CHAIN_ID)
    assert load_nonces(store, duty) == [1]


async def test_quorum_of_stale_heads_delays_and_never_goes_back(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build, providers: list[FaultyProvider]
) -> None:
    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    attestor = build()
    await attestor.attest(CHAIN_ID)
    providers[0].mutate = providers[1].mutate = lag
    with pytest.raises(NotReady, match="behind"):
        await attestor.attest(CHAIN_ID)
    assert store.load_halts() == []
    await chain.set_word(duty.id, word(2))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    assert load_nonces(store, duty) == [1]
    await chain.mine()
    await attestor.attest(CHAIN_ID)
    assert load_nonces(store, duty) == [2, 1]


@pytest.mark.parametrize("depth", range(1, DEPTH + 1))
async def test_reorg_within_finality_orphans_no_signature(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build, depth: int
) -> None:
    attestor = build()
    await chain.set_word(duty.id, word(1))
    await chain.mine(DEPTH - 1)
    await chain.set_word(duty.id, word(2, accumulator=99))
    await attestor.attest(CHAIN_ID)
    await chain.reorg(depth)
    await chain.set_word(duty.id, word(2))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    assert store.load_halts() == []
    signed = {record.attested.nonce: record.attested.word for record in load_signed(store, duty)}
    assert signed == {1: word(1), 2: word(2)}


async def test_reorg_deeper_than_finality_halts_the_lane_with_evidence(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    metrics = Metrics()
    attestor = build(metrics=metrics)
    height = await chain.set_word(duty.id, word(1))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    orphan = (await chain.rpc.fetch_block(height)).hash
    await chain.reorg(DEPTH + 1)
    await chain.set_word(duty.id, word(1, accumulator=99))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    [halt] = store.load_halts()
    assert (halt.lane, halt.reason) == (duty.id, "a final block was replaced")
    known = json.loads(halt.evidence)["known"]
    assert known == {"height": height, "block_hash": "0x" + orphan.hex(), "word": hex(word(1))}
    assert metrics.registry.get_sample_value("comity_halted", {"lane": duty.name, "direction": "dispatches"}) == 1

    await chain.set_word(duty.id, word(3))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    assert [record.attested.word for record in load_signed(store, duty)] == [word(1)]


@pytest.mark.parametrize(
    "contradiction", [word(5, accumulator=99), word(4), word(0)], ids=["other accumulator", "backwards", "emptied"]
)
async def test_word_that_contradicts_a_signed_one_halts_the_lane(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build, contradiction: Any
) -> None:
    attestor = build()
    await chain.set_word(duty.id, word(5))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    await chain.set_word(duty.id, contradiction)
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    [halt] = store.load_halts()
    assert json.loads(halt.evidence)["found"]["word"] == hex(contradiction)
    assert [record.attested.word for record in load_signed(store, duty)] == [word(5)]


async def test_contradiction_between_two_final_blocks_halts_the_lane(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    attestor = build()
    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    for held in (word(9), word(3)):
        await chain.set_word(duty.id, held)
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    assert len(store.load_halts()) == 1
    assert word(9) not in [record.attested.word for record in load_signed(store, duty)]


async def test_snapshot_that_contradicts_a_signed_word_halts_the_lane(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    attestor = build()
    await chain.set_word(duty.id, word(64))
    await chain.set_snapshot(duty.id, word(64))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    rotated = replace(duty, attestation_set=replace(SET, epoch=2))
    await chain.set_snapshot(duty.id, word(64, accumulator=99))
    await chain.set_word(duty.id, word(70))
    await chain.finalize()
    await build([rotated]).attest(CHAIN_ID)
    assert len(store.load_halts()) == 1
    assert word(64, accumulator=99) not in [record.attested.word for record in load_signed(store, duty)]


async def test_halted_lane_is_not_signed_until_an_operator_clears_it(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    store.save_halt(HaltRecord(duty.id, duty.direction, "an earlier reorg", "{}", Seconds(5)))
    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    attestor = build()
    await attestor.attest(CHAIN_ID)
    assert load_signed(store, duty) == []
    store.clear_halt(duty.id, duty.direction)
    await attestor.attest(CHAIN_ID)
    assert load_nonces(store, duty) == [1]


async def test_halt_of_one_lane_leaves_the_others_at_work(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    other = build_duty(chain)
    attestor = build([duty, other])
    await chain.set_word(duty.id, word(5))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    await chain.set_word(duty.id, word(4))
    await chain.set_word(other.id, word(1))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    assert [halt.lane for halt in store.load_halts()] == [duty.id]
    assert load_nonces(store, other) == [1]


async def test_locked_store_signs_nothing(chain: KeeperChain, duty: Duty, build: Build, tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    locked = SqliteStore(path, lock_timeout=0)
    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    attestor = build(store=locked)
    with pytest.raises(Unavailable, match="store"):
        await attestor.attest(CHAIN_ID)
    other.execute("ROLLBACK")
    other.close()
    assert load_signed(locked, duty) == []
    await attestor.attest(CHAIN_ID)
    assert load_nonces(locked, duty) == [1]
    locked.close()


async def test_providers_of_another_chain_are_refused(
    duty: Duty, build: Build, providers: list[FaultyProvider]
) -> None:
    for provider in providers:
        provider.mutate = lambda method, params, result: "0x1" if method == "eth_chainId" else result
    with pytest.raises(ConfigError, match="another chain"):
        await build().verify_identity(CHAIN_ID)


async def test_address_without_a_contract_is_refused(chain: KeeperChain, duty: Duty, build: Build) -> None:
    await build().verify_identity(CHAIN_ID)
    chain_without = replace(chain, keeper=Address(b"\x0c" * 20))
    with pytest.raises(ConfigError, match="no contract"):
        await build([build_duty(chain_without)]).verify_identity(CHAIN_ID)


def wrong_lane(duty: Duty) -> Duty:
    return replace(duty, lane=replace(duty.lane, lane=type(duty.lane.lane)(bytes(32))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (wrong_lane, "not the hash"),
        (lambda duty: replace(duty, verifier=replace(duty.verifier, chain_id=CHAIN_ID)), "wrong chain"),
        (lambda duty: replace(duty, attestation_set=replace(SET, finality=SAFE.code)), "finality"),
        (lambda duty: replace(duty, attestation_set=replace(SET, members=SET.members[1:])), "not a member"),
    ],
)
async def test_duty_that_contradicts_its_configuration_is_refused(
    duty: Duty, build: Build, change: Callable[[Duty], Duty], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build([change(duty)])


async def test_single_provider_is_refused_but_for_development(
    duty: Duty, store: SqliteStore, chain: KeeperChain
) -> None:
    quorum = ProviderQuorum([Rpc(chain.url)], 1)
    attested = AttestedChain("eip155:31337", CHAIN_ID, quorum, FinalityRule.from_code(SET.finality))
    with pytest.raises(ConfigError, match="not a quorum"):
        Attestor([attested], [duty], SIGNERS[0], store)
    development = replace(duty, verifier=replace(duty.verifier, development=True))
    Attestor([attested], [development], SIGNERS[0], store)
    await quorum.close()
