"""What an attestor tells, and to what it does not listen; twin of src/comity/agents/attestor/api.py."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from keeper_chain import CHAIN_ID, SET, SIGNERS, VERIFIER, FaultyProvider, KeeperChain, word

from comity.agents.attestor import Attestor, Duty
from comity.agents.runner import run_agents
from comity.core.attestation import AttestationsTooFew
from comity.core.errors import Unavailable
from comity.core.types import Direction, Seconds
from comity.store.port import HaltRecord
from comity.store.sqlite import SqliteStore
from comity.tiers.attestation import verify_proof
from comity.tiers.attestation_client import MAX_PAGE, AttestationClient

Build = Callable[..., Attestor]


@asynccontextmanager
async def running(*attestors: Attestor) -> AsyncIterator[aiohttp.ClientSession]:
    """Run attestors as the runner does, once each has signed what there is."""
    for attestor in attestors:
        await attestor.attest(CHAIN_ID)
    task = asyncio.create_task(run_agents(attestors))
    async with aiohttp.ClientSession() as session:
        try:
            for attestor in attestors:
                while not attestor.api.port or any(chain.error for chain in attestor.health.values()):
                    assert not task.done(), await task
                    await asyncio.sleep(0.01)
            yield session
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def fetch(session: aiohttp.ClientSession, url: str, **options: Any) -> tuple[int, Any]:
    async with session.get(url, **options) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


@pytest.fixture
async def five_words(chain: KeeperChain, duty: Duty) -> Duty:
    for nonce in range(1, 6):
        await chain.set_word(duty.id, word(nonce))
    await chain.finalize()
    return duty


def path_of(duty: Duty) -> str:
    return f"/v1/attestations/0x{duty.id.hex()}/{int(duty.direction)}"


async def test_attestations_are_served_newest_first_in_bounded_pages(five_words: Duty, build: Build) -> None:
    attestor = build()
    async with running(attestor) as session:
        base = attestor.api.url + path_of(five_words)
        status, page = await fetch(session, base)
        assert status == 200
        assert [entry["nonce"] for entry in page["attestations"]] == [5, 4, 3, 2, 1]
        assert page["attestations"][0]["signer"] == "0x" + SIGNERS[0].address.hex()
        _, page = await fetch(session, base + "?min_nonce=2&max_nonce=4&limit=2")
        assert [entry["nonce"] for entry in page["attestations"]] == [4, 3]
        _, page = await fetch(session, base + "?min_nonce=2&limit=2&order=oldest")
        assert [entry["nonce"] for entry in page["attestations"]] == [2, 3]


@pytest.mark.parametrize(
    "query",
    [
        "min_nonce=-1",
        "min_nonce=01",
        "min_nonce=1e3",
        "min_nonce=%D9%A1",
        "min_nonce=1099511627776",
        "min_nonce=",
        "min_nonce=1&min_nonce=2",
        "limit=0",
        f"limit={MAX_PAGE + 1}",
        "order=random",
        "cursor=1",
    ],
)
async def test_malformed_parameter_is_refused(five_words: Duty, build: Build, query: str) -> None:
    attestor = build()
    async with running(attestor) as session:
        status, body = await fetch(session, f"{attestor.api.url}{path_of(five_words)}?{query}")
    assert status == 400
    assert list(body) == ["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/attestations/0x1234/0", 400),
        ("/v1/attestations/" + "0x" + "AB" * 32 + "/0", 400),
        ("/v1/attestations/0x" + "ab" * 32 + "/2", 400),
        ("/v1/attestations/0x" + "ab" * 32 + "/0", 404),
        ("/v1/attestations/..%2f..%2fetc/0", 400),
        ("/", 404),
    ],
)
async def test_malformed_or_unknown_path_is_refused(duty: Duty, build: Build, path: str, status: int) -> None:
    attestor = build()
    async with running(attestor) as session:
        assert (await fetch(session, attestor.api.url + path))[0] == status


async def test_other_methods_bodies_and_long_headers_are_refused(duty: Duty, build: Build) -> None:
    attestor = build()
    async with running(attestor) as session:
        url = attestor.api.url + "/v1/health"
        async with session.post(url) as response:
            assert response.status == 405
        async with session.get(url, data=b"x" * 10) as response:
            assert response.status == 413
        async with session.get(url, headers={"X-Long": "x" * 10_000}) as response:
            assert response.status == 400
        async with session.get(url + "?" + "x" * 10_000) as response:
            assert response.status in (400, 414)


async def test_failure_inside_shows_no_traceback(
    duty: Duty, build: Build, store: SqliteStore, monkeypatch: Any
) -> None:
    attestor = build()
    async with running(attestor) as session:

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("secret of the house")

        monkeypatch.setattr(store, "load_attestations", fail)
        async with session.get(attestor.api.url + path_of(duty)) as response:
            assert (response.status, await response.json()) == (500, {"error": "internal error"})


async def test_health_tells_heads_trouble_and_halts(
    duty: Duty, build: Build, store: SqliteStore, providers: list[FaultyProvider]
) -> None:
    attestor = build(poll_seconds=0.01)
    async with running(attestor) as session:
        url = attestor.api.url + "/v1/health"
        status, body = await fetch(session, url)
        assert (status, body["status"]) == (200, "ok")
        assert body["chains"]["eip155:31337"]["final_height"] > 0
        for provider in providers:
            provider.is_down = True
        while (status := (await fetch(session, url))[0]) == 200:
            pass
        _, body = await fetch(session, url)
        assert (status, body["status"]) == (503, "waiting")
        assert body["chains"]["eip155:31337"]["error"]
        store.save_halt(HaltRecord(duty.id, duty.direction, "a final block was replaced", "{}", Seconds(5)))
        status, body = await fetch(session, url)
        assert (status, body["status"]) == (503, "halted")
        assert body["halts"] == [
            {"lane": "0x" + duty.id.hex(), "direction": 0, "reason": "a final block was replaced", "halted_at": 5}
        ]


async def test_halted_lane_is_not_served(five_words: Duty, build: Build, store: SqliteStore) -> None:
    attestor = build()
    async with running(attestor) as session:
        store.save_halt(HaltRecord(five_words.id, Direction.DISPATCHES, "reorg", "{}", Seconds(5)))
        status, body = await fetch(session, attestor.api.url + path_of(five_words))
    assert (status, body) == (503, {"error": "halted"})


async def test_server_binds_loopback(duty: Duty, build: Build) -> None:
    attestor = build()
    async with running(attestor):
        assert attestor.api.url.startswith("http://127.0.0.1:")


async def test_two_of_three_attestors_give_a_relayer_its_proof(
    five_words: Duty, build: Build, store: SqliteStore, tmp_path: Path
) -> None:
    second_store = SqliteStore(tmp_path / "second.db")
    first, second = build(), build(signer=SIGNERS[1], store=second_store)
    async with running(first, second):
        urls = [first.api.url, second.api.url, "http://127.0.0.1:1"]
        async with AttestationClient(urls, VERIFIER, [SET]) as client:
            checkpoint, proof = await client.fetch_proof(five_words.id, Direction.DISPATCHES)
            assert checkpoint.word == word(5)
            verify_proof(VERIFIER, checkpoint, SET, proof)
            words = await client.fetch(five_words.id, Direction.DISPATCHES, 3)
            assert [held for held, _ in words] == [word(3), word(4), word(5)]
        async with AttestationClient(urls[:1], VERIFIER, [SET]) as client:
            with pytest.raises(AttestationsTooFew):
                await client.fetch_proof(five_words.id, Direction.DISPATCHES)
        async with AttestationClient(urls[2:], VERIFIER, [SET]) as client:
            with pytest.raises(Unavailable):
                await client.fetch_proof(five_words.id, Direction.DISPATCHES)
    second_store.close()


async def test_connections_beyond_the_most_are_hung_up_on(
    duty: Duty, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comity.agents.attestor.api.MAX_CONNECTIONS", 2)
    attestor = build()
    async with running(attestor) as session:
        idle = [await asyncio.open_connection("127.0.0.1", attestor.api.port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", attestor.api.port)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        for _, held in [*idle, (reader, writer)]:
            held.close()
            await held.wait_closed()
        async with asyncio.timeout(10):
            while True:
                try:
                    assert (await fetch(session, attestor.api.url + "/v1/health"))[0] == 200
                    break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.01)
