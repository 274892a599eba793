"""The attestor signs what is final and proved, and nothing else; twin of src/comity/agents/attestor/agent.py."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from keeper_chain import (
    CHAIN_ID,
    DEPTH,
    OTHER_CHAIN_ID,
    SET,
    SIGNERS,
    VERIFIER,
    FaultyProvider,
    KeeperChain,
    build_duty,
    load_nonces,
    load_signed,
    word,
)

from comity.agents.attestor import Attestor, Duty
from comity.core.checkpoint import Checkpoint
from comity.core.types import Direction
from comity.store.sqlite import SqliteStore
from comity.tiers.attestation import recover_signer

Build = Callable[..., Attestor]


async def test_attestor_signs_a_final_word_for_its_verifier_and_set(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    height = await chain.set_word(duty.id, word(1))
    await chain.finalize()
    await build().attest(CHAIN_ID)
    [record] = load_signed(store, duty)
    assert (record.attested.word, record.attested.height) == (word(1), height)
    assert (record.verify_chain, record.verifier, record.set_id) == (OTHER_CHAIN_ID, VERIFIER.address, SET.id)
    checkpoint = Checkpoint(duty.id, Direction.DISPATCHES, word(1))
    assert recover_signer(VERIFIER, checkpoint, SET, record.signature) == SIGNERS[0].address


async def test_attestor_waits_for_finality(chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build) -> None:
    await chain.set_word(duty.id, word(1))
    await chain.mine(DEPTH - 1)
    attestor = build()
    await attestor.attest(CHAIN_ID)
    assert load_signed(store, duty) == []
    await chain.mine()
    await attestor.attest(CHAIN_ID)
    assert load_nonces(store, duty) == [1]


async def test_receipts_are_attested_from_the_gate_for_the_origin(
    chain: KeeperChain, store: SqliteStore, build: Build
) -> None:
    receipts = build_duty(chain, Direction.RECEIPTS)
    await chain.set_word(receipts.id, word(1))
    await chain.finalize()
    await build([receipts]).attest(CHAIN_ID)
    [record] = load_signed(store, receipts)
    assert record.attested.direction == Direction.RECEIPTS


async def test_every_block_in_which_the_word_changed_is_signed(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    attestor = build()
    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    heights = {}
    for nonce in (2, 5, 6, 9):
        heights[nonce] = await chain.set_word(duty.id, word(nonce))
        await chain.mine(nonce)
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    assert load_nonces(store, duty) == [9, 6, 5, 2, 1]
    signed = {record.attested.nonce: record.attested.height for record in load_signed(store, duty)}
    assert {nonce: signed[nonce] for nonce in (2, 5, 6)} == {nonce: heights[nonce] for nonce in (2, 5, 6)}


async def test_late_starter_signs_the_newest_first_and_looks_back_a_bounded_way(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    for nonce in range(1, 8):
        await chain.set_word(duty.id, word(nonce))
    await chain.finalize()
    await build(max_backfill_blocks=3).attest(CHAIN_ID)
    assert load_nonces(store, duty) == [7, 6, 5]


async def test_late_starter_signs_the_newest_when_older_states_are_pruned(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build, providers: list[FaultyProvider]
) -> None:
    await chain.set_word(duty.id, word(1))
    await chain.set_word(duty.id, word(2))
    newest = await chain.rpc.fetch_block(await chain.set_word(duty.id, word(3)))
    await chain.finalize()

    def prune(method: str, params: list[Any], result: Any) -> Any:
        is_old = method == "eth_getProof" and params[2] != {"blockHash": "0x" + newest.hash.hex()}
        return RuntimeError("missing trie node") if is_old else result

    for provider in providers:
        provider.mutate = prune
    attestor = build()
    await attestor.attest(CHAIN_ID)
    assert load_nonces(store, duty) == [3]
    await chain.mine()
    for provider in providers:
        provider.mutate = None
    await attestor.attest(CHAIN_ID)
    assert load_nonces(store, duty) == [3]


async def test_snapshots_are_signed_so_that_old_entries_stay_provable(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    for nonce in (64, 128, 192):
        await chain.set_snapshot(duty.id, word(nonce, 9))
    await chain.set_word(duty.id, word(200))
    await chain.finalize()
    attestor = build(max_backfill_blocks=1)
    await attestor.attest(CHAIN_ID)
    assert load_nonces(store, duty) == [200, 192, 128, 64]
    assert [record.attested.snapshot for record in load_signed(store, duty)] == [False, True, True, True]
    await chain.set_snapshot(duty.id, word(256, 9))
    await chain.set_word(duty.id, word(257))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    assert load_nonces(store, duty)[:2] == [257, 256]


async def test_snapshot_of_another_nonce_is_not_signed(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    await chain.set_snapshot(duty.id, word(63), nonce=64)
    await chain.set_word(duty.id, word(70))
    await chain.finalize()
    await build().attest(CHAIN_ID)
    assert load_nonces(store, duty) == [70]


async def test_event_of_another_contract_brings_no_signature(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    attacker = await chain.deploy_keeper()
    await chain.set_word(duty.id, word(1), keeper=attacker)
    await chain.finalize()
    await build().attest(CHAIN_ID)
    assert load_signed(store, duty) == []


async def test_lane_that_is_not_open_has_nothing_to_sign(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    attestor = build()
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    await chain.set_word(duty.id, word(0))
    await chain.finalize()
    await attestor.attest(CHAIN_ID)
    assert load_signed(store, duty) == []


async def test_rotated_set_gets_signatures_over_what_the_old_one_signed(
    chain: KeeperChain, duty: Duty, store: SqliteStore, build: Build
) -> None:
    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    await build().attest(CHAIN_ID)
    rotated = replace(duty, attestation_set=replace(SET, epoch=2))
    await build([duty, rotated]).attest(CHAIN_ID)
    assert {(record.epoch, record.attested.nonce) for record in load_signed(store, duty)} == {(1, 1), (2, 1)}
