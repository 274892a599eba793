"""Attestors cheat: one of four changes nothing, two can only withhold, and the trace says whose signatures miss."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import pytest
from aiohttp import web

from comity.core.attestation import AttestationSet
from comity.core.checkpoint import Checkpoint
from comity.core.types import Direction, Outcome, Word
from comity.devnet.devnet import derive_signer
from comity.sdk.trace import trace
from comity.tiers.attestation import AttestationVerifier, sign_checkpoint
from comity.tiers.attestation_client import AttestationEntry, AttestationPage
from tests.integration.stack.crew import Crew, open_crew, open_relayer, with_attestors
from tests.integration.stack.world import DESTINATION, FINALIZED_DEPTH, MAIN, World

MEMBERS, THRESHOLD = 4, 3
HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
ORDER: Final = 2 * HALF_ORDER + 1
MEGABYTE: Final = 1 << 20

Cheat = Callable[["BadAttestor", web.Request], Awaitable[web.StreamResponse]]


class BadAttestor:
    """A member of the set that has its key, and answers as it likes."""

    def __init__(self, world: World, index: int, cheat: Cheat) -> None:
        self.signer = derive_signer(f"{MAIN} attestor", index)
        self.set = world.config.sets[MAIN].attestation_set
        self.true_word = Word(0)
        self.broken: Exception | None = None
        """A mistake of the cheat itself, which must not pass for an attestor that is down."""
        self._world = world
        self._cheat = cheat

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._cheat(self, request)
        except Exception as error:
            self.broken = error
            raise

    def build_entry(
        self, word: Word, *, attestation_set: AttestationSet | None = None, signature: bytes | None = None
    ) -> AttestationEntry:
        """An attestation, with this member's own signature unless another is given."""
        chain = self._world.config.chains[DESTINATION]
        verifier = AttestationVerifier(chain.id, chain.verifier_addresses[0], development=True)
        signed_for = attestation_set or self.set
        checkpoint = Checkpoint(self._world.lane, Direction.DISPATCHES, word)
        told = signature or sign_checkpoint(self.signer, verifier, checkpoint, signed_for)
        return AttestationEntry(
            nonce=word >> 216,
            word=hex(word),
            height=1,
            block_hash="0x" + bytes(32).hex(),
            snapshot=False,
            chain_id=str(verifier.chain_id),
            verifier="0x" + verifier.address.hex(),
            set_id=hex(signed_for.id),
            epoch=signed_for.epoch,
            signer="0x" + self.signer.address.hex(),
            signature="0x" + told.hex(),
        )

    def respond(self, *entries: AttestationEntry) -> web.Response:
        page = AttestationPage("0x" + self._world.lane.hex(), 0, list(entries))
        return web.Response(body=msgspec.json.encode(page), content_type="application/json")


async def withhold(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    return bad.respond()


async def refuse(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def never_answer(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return bad.respond()


async def answer_prose(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    return web.Response(text="[[[[ not what was asked for")


async def sign_garbage(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    signatures = (bytes(64), b"\xff" * 64, b"\x01" * 64, b"", b"\x01" * 63, b"\x01" * 4096)
    return bad.respond(*(bad.build_entry(bad.true_word, signature=each or b"\x00") for each in signatures))


async def sign_high(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    """The other signature of the same key, which the verifier refuses."""
    entry = bad.build_entry(bad.true_word)
    raw = bytes.fromhex(entry.signature[2:])
    tail = int.from_bytes(raw[32:])
    parity, low = tail >> 255, tail & (1 << 255) - 1
    flipped = raw[:32] + ((parity ^ 1) << 255 | (ORDER - low) % (1 << 255)).to_bytes(32)
    return bad.respond(bad.build_entry(bad.true_word, signature=flipped))


async def equivocate(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    """Another word of the same nonce first, and of later ones; then the true one."""
    lies = [Word((bad.true_word >> 216) + ahead << 216 | 666) for ahead in range(3)]
    return bad.respond(*map(bad.build_entry, (*lies, bad.true_word)))


async def sign_lies_only(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    return bad.respond(bad.build_entry(Word(bad.true_word ^ int.from_bytes(bad.signer.address))))


async def sign_for_other_epochs(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    """Sets that are no longer, or not yet."""
    return bad.respond(
        *(bad.build_entry(bad.true_word, attestation_set=replace(bad.set, epoch=epoch)) for epoch in (2, 3, 2**32 - 1))
    )


async def weaken_the_set(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    """The same members at a threshold of one, under a laxer rule of finality."""
    weaker = replace(bad.set, threshold=1)
    return bad.respond(
        *(bad.build_entry(bad.true_word, attestation_set=each) for each in (weaker, replace(weaker, finality=1)))
    )


async def serve_megabytes(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"lane":"')
    for _ in range(64):
        await response.write(b"0" * MEGABYTE)
    return response


async def flood(bad: BadAttestor, request: web.Request) -> web.StreamResponse:
    """A thousand words that never were."""
    return bad.respond(*(bad.build_entry(Word(n << 216 | 666)) for n in range(1, 257)))


CHEATS: Final[Sequence[Cheat]] = (
    withhold,
    refuse,
    never_answer,
    answer_prose,
    sign_garbage,
    sign_high,
    equivocate,
    sign_lies_only,
    sign_for_other_epochs,
    weaken_the_set,
    serve_megabytes,
    flood,
)


@asynccontextmanager
async def serve(bad: BadAttestor) -> AsyncIterator[str]:
    """The base URL of a bad attestor."""
    application = web.Application()
    application.router.add_get("/{path:.*}", bad.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
    assert bad.broken is None or isinstance(bad.broken, ConnectionError), bad.broken


@asynccontextmanager
async def open_mixed(
    world: World, folder: Path, cheats: Sequence[Cheat]
) -> AsyncIterator[tuple[Crew, list[BadAttestor]]]:
    """Bad attestors, asked first, beside the honest rest; the world's configuration names them all."""
    async with AsyncExitStack() as stack:
        bad = [BadAttestor(world, index, cheat) for index, cheat in enumerate(cheats)]
        urls = [await stack.enter_async_context(serve(each)) for each in bad]
        honest = await stack.enter_async_context(open_crew(world.config, folder, members=range(len(cheats), MEMBERS)))
        world.config = with_attestors(world.config, [*urls, *honest.urls])
        await world.client.adopt(world.config)
        yield honest, bad


def name_cheats(cheats: object) -> str:
    return "+".join(each.__name__ for each in cheats) if isinstance(cheats, tuple) else getattr(cheats, "__name__", "")


@pytest.mark.parametrize("cheat", CHEATS, ids=name_cheats)
@pytest.mark.threat("F14")
async def test_one_bad_attestor_of_four_stops_no_delivery(world: World, tmp_path: Path, cheat: Cheat) -> None:
    async with open_mixed(world, tmp_path, [cheat]) as (honest, [bad]):
        sent = await world.dispatch()
        bad.true_word = await world.fetch_word(Direction.DISPATCHES)
        await world.origin.mine(FINALIZED_DEPTH)
        await honest.attest()
        async with open_relayer(world.config, tmp_path / "relayer.sqlite") as relayer:
            await relayer.work()
            assert relayer.store.load_halts() == []
        assert await world.fetch_outcomes(sent.id) == [Outcome.EXECUTED]
        assert await world.count_entries() == 1


@pytest.mark.parametrize(
    "cheats",
    [
        (withhold, withhold),
        (sign_garbage, refuse),
        (sign_lies_only, sign_lies_only),
        (sign_for_other_epochs, weaken_the_set),
        (flood, serve_megabytes),
    ],
    ids=name_cheats,
)
@pytest.mark.threat("F14")
async def test_two_bad_attestors_of_four_deliver_nothing_and_the_trace_names_whose_signatures_miss(
    world: World, tmp_path: Path, cheats: Sequence[Cheat]
) -> None:
    async with open_mixed(world, tmp_path, cheats) as (honest, bad):
        sent = await world.dispatch()
        word = await world.fetch_word(Direction.DISPATCHES)
        for each in bad:
            each.true_word = word
        await world.origin.mine(FINALIZED_DEPTH)
        await honest.attest()
        async with open_relayer(world.config, tmp_path / "relayer.sqlite") as relayer:
            await relayer.work()
            row = relayer.store.load_dispatch(world.lane, 1)
        assert row is not None
        assert row.attempts == 0, "waiting for signatures costs no attempt"
        assert await world.fetch_outcomes(sent.id) == []

        found = await trace(world.client, sent.id)
        [obstacle] = found.obstacles
        assert f"{MEMBERS - len(bad)} of {THRESHOLD} signatures" in obstacle.why
        said = obstacle.why.partition("missing ")[2]
        assert {each.signer.address.hex() in said for each in bad} == {True}
        assert not any(signer.address.hex() in said for signer in honest.signers)
