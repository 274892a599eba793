"""What befalls one chain leaves the attestor's other chains at work; twin of agents/attestor/agent.py."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from keeper_chain import (
    CHAIN_ID,
    FINALITY,
    OTHER_CHAIN_ID,
    SIGNERS,
    FaultyProvider,
    KeeperChain,
    build_duty,
    load_nonces,
    word,
)
from structlog.testing import capture_logs

from comity.agents.attestor import AttestedChain, Attestor, Duty
from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import Rpc, RpcError
from comity.core.errors import ComityError, Invalid, Rejected, Unavailable
from comity.core.types import ChainId, Direction
from comity.store.sqlite import SqliteStore

NAME, OTHER_NAME = "eip155:31337", "eip155:31338"


@pytest.fixture
async def attestor(
    chain: KeeperChain, duty: Duty, store: SqliteStore, providers: list[FaultyProvider]
) -> AsyncIterator[Attestor]:
    """Attests two chains, of which the other is served by this one's providers: a wrong identity."""
    other = build_duty(chain)
    away = replace(other, direction=Direction.RECEIPTS, verifier=replace(duty.verifier, chain_id=CHAIN_ID))
    quorum = ProviderQuorum([Rpc(provider.url, timeout=5, retries=0) for provider in providers], 2)
    chains = [
        AttestedChain(NAME, CHAIN_ID, quorum, FINALITY),
        AttestedChain(OTHER_NAME, OTHER_CHAIN_ID, quorum, FINALITY),
    ]
    yield Attestor(chains, [duty, away], SIGNERS[0], store, poll_seconds=0.01)
    await quorum.close()


@asynccontextmanager
async def running(attestor: Attestor) -> AsyncIterator[None]:
    task = asyncio.create_task(attestor.run())
    try:
        async with asyncio.timeout(30):
            yield
        assert not task.done(), await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


async def wait_for_nonce(store: SqliteStore, duty: Duty, nonce: int) -> None:
    await wait_until(lambda: nonce in load_nonces(store, duty))


async def test_wrong_identity_of_one_chain_halts_it_alone_and_is_logged_once(
    chain: KeeperChain, duty: Duty, store: SqliteStore, attestor: Attestor
) -> None:
    with capture_logs() as logs:
        async with running(attestor), aiohttp.ClientSession() as session:
            for nonce in (1, 2):
                await chain.set_word(duty.id, word(nonce))
                await chain.finalize()
                await wait_for_nonce(store, duty, nonce)
            async with session.get(attestor.api.url + "/v1/health") as response:
                body = await response.json()
    assert (response.status, body["status"]) == (503, "halted")
    assert body["chains"][OTHER_NAME]["error"] == "the providers serve another chain"
    assert body["chains"][NAME]["error"] is None
    assert [line["log_level"] for line in logs if line["event"] == "chain.halted"] == ["error"]


@pytest.mark.parametrize(
    "failure",
    [
        Invalid("a header is false"),
        Rejected("execution reverted"),
        RpcError("header not found", code=-32000),
        Unavailable("no answer"),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_failure_of_one_chain_is_borne_and_ends_no_other(
    chain: KeeperChain,
    duty: Duty,
    store: SqliteStore,
    attestor: Attestor,
    *,
    failure: ComityError,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verify_identity, rounds = attestor.verify_identity, 0

    async def fail(chain_id: ChainId) -> None:
        nonlocal rounds
        if chain_id == CHAIN_ID:
            return await verify_identity(chain_id)
        rounds += 1
        raise failure

    monkeypatch.setattr(attestor, "verify_identity", fail)
    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    async with running(attestor):
        await wait_for_nonce(store, duty, 1)
        await wait_until(lambda: rounds >= 3)
    assert attestor.health[OTHER_CHAIN_ID].error == failure.message
    assert not attestor.health[OTHER_CHAIN_ID].is_halted


async def test_chain_is_attested_again_once_its_identity_is_right(
    chain: KeeperChain, duty: Duty, store: SqliteStore, attestor: Attestor, providers: list[FaultyProvider]
) -> None:
    def lie(method: str, params: list[Any], result: Any) -> Any:
        return "0x1" if method == "eth_chainId" else result

    await chain.set_word(duty.id, word(1))
    await chain.finalize()
    for provider in providers:
        provider.mutate = lie
    async with running(attestor):
        await wait_until(lambda: attestor.health[CHAIN_ID].is_halted)
        assert load_nonces(store, duty) == []
        for provider in providers:
            provider.mutate = None
        await wait_for_nonce(store, duty, 1)


async def test_failure_of_one_duty_leaves_the_others_of_its_chain_signed(
    chain: KeeperChain, duty: Duty, store: SqliteStore, attestor: Attestor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = build_duty(chain)
    monkeypatch.setattr(attestor, "_duties", (duty, sound))
    await chain.set_word(sound.id, word(1))
    await chain.finalize()
    attest = attestor._attest

    async def fail(each: Duty, *rest: Any) -> None:
        if each is duty:
            raise Invalid("nobody expected this")
        await attest(each, *rest)

    monkeypatch.setattr(attestor, "_attest", fail)
    with pytest.raises(Invalid):
        await attestor.attest(CHAIN_ID)
    assert load_nonces(store, sound) == [1]


async def test_refused_proof_is_logged_once_until_it_changes(
    chain: KeeperChain, duty: Duty, attestor: Attestor, providers: list[FaultyProvider]
) -> None:
    def lie(method: str, params: list[Any], result: Any) -> Any:
        return result | {"accountProof": result["accountProof"][1:]} if method == "eth_getProof" else result

    def lie_otherwise(method: str, params: list[Any], result: Any) -> Any:
        return result | {"storageProof": []} if method == "eth_getProof" else result

    await chain.finalize()
    with capture_logs() as logs:
        for told in (lie, lie, None, lie, lie_otherwise, lie_otherwise):
            providers[0].mutate = told
            await chain.mine()
            await attestor.attest(CHAIN_ID)
    assert [line["host"] for line in logs if line["event"] == "proof.refused"] == [
        providers[0].url.removeprefix("http://")
    ] * 3
