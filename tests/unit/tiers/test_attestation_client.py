"""Some attestors lie, flood, stall or are gone: the others still count; twin of tiers/attestation_client.py."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import aiohttp
import msgspec
import pytest
from aiohttp import web
from attestors import LANE, ROTATED, SET, SIGNERS, STRANGER, VERIFIER, a_checkpoint, an_attestation

from comity.core.attestation import AttestationsTooFew
from comity.core.errors import Unavailable
from comity.core.types import Direction, Lane
from comity.tiers.attestation import Attestation, Equivocation, verify_proof
from comity.tiers.attestation_client import AttestationClient, AttestationEntry, AttestationPage

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        application = web.Application()
        application.router.add_get("/{path:.*}", handler)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.01)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def to_entry(attestation: Attestation) -> AttestationEntry:
    return AttestationEntry(
        nonce=attestation.checkpoint.nonce,
        word=hex(attestation.checkpoint.word),
        height=1,
        block_hash="0x" + "00" * 32,
        snapshot=False,
        chain_id=str(VERIFIER.chain_id),
        verifier="0x" + VERIFIER.address.hex(),
        set_id=hex(attestation.set_id),
        epoch=7,
        signer="0x" + attestation.signer.hex(),
        signature="0x" + attestation.signature.hex(),
    )


def encode_page(*entries: AttestationEntry) -> bytes:
    return msgspec.json.encode(AttestationPage("0x" + LANE.hex(), 0, list(entries)))


def answer_entries(*entries: AttestationEntry) -> Handler:
    return answer_raw(encode_page(*entries))


def answer(*attestations: Attestation) -> Handler:
    return answer_entries(*map(to_entry, attestations))


def answer_raw(body: bytes, status: int = 200, **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    return handler


async def stall(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def flood(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"[" * 65536)


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.01)


def with_fields(**fields: object) -> Handler:
    """The third member's attestation, with something changed."""
    good = to_entry(an_attestation(SIGNERS[2], a_checkpoint(3)))
    return answer_entries(msgspec.structs.replace(good, **fields))


STRANGERS_SET = replace(SET, members=tuple(sorted((*SET.members, STRANGER.address))))
STRANGERS = an_attestation(STRANGER, a_checkpoint(3), STRANGERS_SET).signature

BYZANTINE: dict[str, Handler] = {
    "not json": answer_raw(b"<html>"),
    "not text": answer_raw(b"\xff\xfe"),
    "deep json": answer_raw(b"[" * 100_000),
    "another shape": answer_raw(b'{"attestations": 5}'),
    "error": answer_raw(b"{}", 500),
    "flood": flood,
    "drip": drip,
    "stall": stall,
    "another lane": answer(an_attestation(SIGNERS[2], replace(a_checkpoint(3), lane=Lane(b"\x12" * 32)))),
    "another direction": answer(an_attestation(SIGNERS[2], replace(a_checkpoint(3), direction=Direction.RECEIPTS))),
    "too long": answer_raw(encode_page(to_entry(an_attestation(SIGNERS[2], a_checkpoint(3)))) + b" " * 20_000),
    "signature of all ones": with_fields(signature="0x" + "ff" * 64),
    "signature too short": with_fields(signature="0x00"),
    "signature not hex": with_fields(signature="zz"),
    "signature of a stranger": with_fields(signature="0x" + STRANGERS.hex()),
    "word of another nonce": with_fields(word=hex(a_checkpoint(9).word)),
    "word of 300 bits": with_fields(word=hex(2**300)),
    "word below zero": with_fields(word="-0x5"),
    "word not a number": with_fields(word="five"),
    "zero word": with_fields(word="0x0"),
    "set not a number": with_fields(set_id=""),
    "chain of many digits": with_fields(chain_id="9" * 5000),
    "verifier not hex": with_fields(verifier="0x0"),
    "another verifier": with_fields(verifier="0x" + "0b" * 20),
}


@pytest.mark.parametrize("fault", BYZANTINE)
async def test_byzantine_attestor_neither_counts_nor_breaks_the_others(serve: Serve, fault: str) -> None:
    bad = await serve(BYZANTINE[fault])
    honest = [await serve(answer(an_attestation(signer, a_checkpoint(3)))) for signer in SIGNERS[:2]]
    bounds = {"timeout": 0.5, "straggler": 0.05, "max_answer_bytes": 16_384}
    async with AttestationClient([bad, *honest], VERIFIER, [SET], **bounds) as client:
        checkpoint, proof = await client.fetch_proof(LANE, Direction.DISPATCHES)
        assert checkpoint == a_checkpoint(3)
        verify_proof(VERIFIER, checkpoint, SET, proof)
    async with AttestationClient([bad, honest[0]], VERIFIER, [SET], **bounds) as client:
        with pytest.raises(AttestationsTooFew):
            await client.fetch_proof(LANE, Direction.DISPATCHES)


async def test_redirect_is_not_followed(serve: Serve) -> None:
    elsewhere = await serve(answer(an_attestation(SIGNERS[1], a_checkpoint(3))))
    urls = [await serve(answer_raw(b"", 302, Location=elsewhere))]
    urls += [await serve(answer(an_attestation(SIGNERS[0], a_checkpoint(3))))]
    async with AttestationClient(urls, VERIFIER, [SET]) as client:
        with pytest.raises(AttestationsTooFew):
            await client.fetch_proof(LANE, Direction.DISPATCHES)


async def test_one_member_at_two_attestors_counts_once(serve: Serve) -> None:
    urls = [await serve(answer(an_attestation(SIGNERS[0], a_checkpoint(3)))) for _ in range(2)]
    async with AttestationClient(urls, VERIFIER, [SET]) as client:
        with pytest.raises(AttestationsTooFew):
            await client.fetch_proof(LANE, Direction.DISPATCHES)


async def test_stalling_attestor_is_not_waited_for_once_there_are_enough(serve: Serve) -> None:
    urls = [await serve(stall)]
    urls += [await serve(answer(an_attestation(signer, a_checkpoint(3)))) for signer in SIGNERS[:2]]
    async with AttestationClient(urls, VERIFIER, [SET], timeout=60, straggler=0.01) as client:
        checkpoint, _ = await asyncio.wait_for(client.fetch_proof(LANE, Direction.DISPATCHES), 10)
    assert checkpoint == a_checkpoint(3)


async def test_no_answer_at_all_is_unavailable(serve: Serve) -> None:
    urls = [await serve(answer_raw(b"", 503)), "http://127.0.0.1:1"]
    async with AttestationClient(urls, VERIFIER, [SET], timeout=5) as client:
        with pytest.raises(Unavailable):
            await client.fetch_attestations(LANE, Direction.DISPATCHES)


async def test_words_outside_the_asked_nonces_are_dropped(serve: Serve) -> None:
    attestations = [an_attestation(signer, a_checkpoint(nonce)) for signer in SIGNERS for nonce in (2, 3, 4)]
    async with AttestationClient([await serve(answer(*attestations))], VERIFIER, [SET]) as client:
        checkpoint, _ = await client.fetch_proof(LANE, Direction.DISPATCHES, min_nonce=3, max_nonce=3)
        assert checkpoint == a_checkpoint(3)
        assert [word for word, _ in await client.fetch(LANE, Direction.DISPATCHES, 3)] == [
            a_checkpoint(3).word,
            a_checkpoint(4).word,
        ]


async def test_request_names_lane_direction_bounds_and_order(serve: Serve) -> None:
    asked: list[str] = []

    async def record(request: web.Request) -> web.StreamResponse:
        asked.append(request.path_qs)
        return await answer()(request)

    async with AttestationClient([await serve(record)], VERIFIER, [SET]) as client:
        await client.fetch(LANE, Direction.DISPATCHES, 7)
    assert asked == [f"/v1/attestations/0x{LANE.hex()}/0?min_nonce=7&max_nonce=1099511627775&limit=256&order=oldest"]


async def test_during_a_rotation_the_newest_set_that_signed_is_used(serve: Serve) -> None:
    old = [an_attestation(signer, a_checkpoint(nonce)) for signer in SIGNERS for nonce in (3, 4)]
    new = [an_attestation(signer, a_checkpoint(3), ROTATED) for signer in SIGNERS]
    async with AttestationClient([await serve(answer(*old, *new))], VERIFIER, [ROTATED, SET]) as client:
        [(first, first_proof), (second, second_proof)] = await client.fetch(LANE, Direction.DISPATCHES, 1)
    assert (first, second) == (a_checkpoint(3).word, a_checkpoint(4).word)
    verify_proof(VERIFIER, a_checkpoint(3), ROTATED, first_proof)
    verify_proof(VERIFIER, a_checkpoint(4), SET, second_proof)


async def test_quorum_that_equivocates_is_raised(serve: Serve) -> None:
    both = [an_attestation(signer, a_checkpoint(3, each)) for signer in SIGNERS for each in (5, 6)]
    async with AttestationClient([await serve(answer(*both))], VERIFIER, [SET]) as client:
        with pytest.raises(Equivocation):
            await client.fetch_proof(LANE, Direction.DISPATCHES)


async def test_hanging_attestor_delays_one_fetch_without_a_quorum_and_not_the_next(serve: Serve) -> None:
    asked: list[str] = []

    async def hang(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return await stall(request)

    urls = [await serve(hang), await serve(answer(an_attestation(SIGNERS[0], a_checkpoint(3))))]
    async with AttestationClient(urls, VERIFIER, [SET], timeout=0.2, straggler=0.01) as client:
        with pytest.raises(AttestationsTooFew):
            await client.fetch_proof(LANE, Direction.DISPATCHES)
        client._timeout = aiohttp.ClientTimeout(total=None)
        await client.close()
        with pytest.raises(AttestationsTooFew):
            await asyncio.wait_for(client.fetch_proof(LANE, Direction.DISPATCHES), 10)
    assert len(asked) == 2


async def test_attestor_that_hung_counts_again_once_it_answers(serve: Serve) -> None:
    is_hanging = True

    async def recover(request: web.Request) -> web.StreamResponse:
        return await (stall if is_hanging else answer(an_attestation(SIGNERS[1], a_checkpoint(3))))(request)

    urls = [await serve(recover), await serve(answer(an_attestation(SIGNERS[0], a_checkpoint(3))))]
    async with AttestationClient(urls, VERIFIER, [SET], timeout=0.2, straggler=5) as client:
        with pytest.raises(AttestationsTooFew):
            await client.fetch_proof(LANE, Direction.DISPATCHES)
        is_hanging = False
        checkpoint, _ = await client.fetch_proof(LANE, Direction.DISPATCHES)
    assert checkpoint == a_checkpoint(3)


async def test_closed_client_opens_another_session(serve: Serve) -> None:
    async with AttestationClient([await serve(answer())], VERIFIER, [SET]) as client:
        assert await client.fetch_attestations(LANE, Direction.DISPATCHES) == []
        await client.close()
        assert await client.fetch_attestations(LANE, Direction.DISPATCHES) == []
