"""Providers lie, lag and fail: one of three changes no outcome, and below the quorum nothing is signed at all."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stamina

from comity.chain.bindings import DISPATCHED, encode_call
from comity.compiler import load_artifact_of
from comity.config import Config
from comity.core.envelope import compute_id
from comity.core.errors import Unavailable
from comity.core.lane import compute_seed, extend_word, pack_word, unpack_word
from comity.core.types import Direction, Outcome
from comity.devnet import deploy
from comity.sdk.client import Message
from tests.integration.stack import proxy as lies
from tests.integration.stack.crew import Crew, open_crew, open_relayer, with_attestors, with_providers
from tests.integration.stack.proxy import ChaosProxy, open_proxies
from tests.integration.stack.world import (
    CHAIN_IDS,
    FINALIZED_DEPTH,
    ONLY_MAIN,
    ORIGIN,
    SENDER,
    Account,
    World,
    encode_draft,
    fork,
)

EXECUTED = [Outcome.EXECUTED]
DISPATCHES = Direction.DISPATCHES
Proxies = dict[str, list[ChaosProxy]]


@pytest.fixture(autouse=True)
def _no_backoff() -> Iterator[None]:
    """Retry at once; the number of attempts stays."""
    stamina.set_testing(True, attempts=100, cap=True)
    yield
    stamina.set_testing(False)


@pytest.fixture
async def proxies(world: World) -> AsyncIterator[Proxies]:
    """Three providers of each chain."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(open_proxies(chain.anvil.url)) for name, chain in world.chains.items()
        }


@pytest.fixture
def config(world: World, proxies: Proxies) -> Config:
    """What agents read by two of three; the test itself reads the chains directly."""
    config = world.config
    for name, served in proxies.items():
        config = with_providers(config, name, [each.url for each in served])
    return config


@pytest.fixture
async def watched_crew(config: Config, tmp_path: Path) -> AsyncIterator[Crew]:
    """Exactly as many attestors as must sign."""
    async with open_crew(config, tmp_path, members=range(3)) as opened:
        yield opened


def set_lie(proxies: Proxies, seat: int, lie: Any) -> None:
    """Have one provider of each chain tell a lie."""
    for served in proxies.values():
        kind = "garble" if lie in lies.TRANSPORT_LIES else "lie"
        setattr(served[seat], kind, lie)


async def deliver(world: World, config: Config, crew: Crew, path: Path) -> tuple[Any, ...]:
    """Dispatch, sign and let a relayer work; what came of it."""
    sent = await world.dispatch()
    await world.origin.mine(FINALIZED_DEPTH)
    failures = await crew.attest()
    async with open_relayer(with_attestors(config, crew.urls), path) as relayer:
        await relayer.work()
        head = relayer.store.load_dispatch(world.lane, sent.envelope.nonce)
        index = (sent.envelope.nonce, head.dispatch.accumulator) if head else None
    return sent, failures, index


def list_words(world: World, crew: Crew) -> set[int]:
    """What was signed of lanes that hold something."""
    return {each.attested.word for each in crew.load_signed(world, DISPATCHES) if each.attested.nonce}


@pytest.mark.parametrize("lie", [*lies.CONTENT_LIES, *lies.TRANSPORT_LIES], ids=lambda lie: lie.__name__)
@pytest.mark.threat("F16")
async def test_one_lying_provider_of_three_changes_no_outcome(
    world: World, config: Config, proxies: Proxies, watched_crew: Crew, *, tmp_path: Path, lie: Any
) -> None:
    set_lie(proxies, 2, lie)
    sent, failures, index = await deliver(world, config, watched_crew, tmp_path / "relayer.sqlite")
    word = await world.fetch_word(DISPATCHES)
    assert failures == []
    assert list_words(world, watched_crew) == {word}
    assert index == unpack_word(word)
    assert await world.fetch_outcomes(sent.id) == EXECUTED
    assert await world.count_entries() == 1


@pytest.mark.parametrize("lie", [*lies.CONTENT_LIES, *lies.TRANSPORT_LIES], ids=lambda lie: lie.__name__)
@pytest.mark.threat("F16")
async def test_a_lying_first_provider_brings_nothing_false_and_delays_at_most(
    world: World, config: Config, proxies: Proxies, watched_crew: Crew, *, tmp_path: Path, lie: Any
) -> None:
    set_lie(proxies, 0, lie)
    sent, failures, _ = await deliver(world, config, watched_crew, tmp_path / "relayer.sqlite")
    assert failures == []
    assert list_words(world, watched_crew) == {await world.fetch_word(DISPATCHES)}
    assert await world.fetch_outcomes(sent.id) in (EXECUTED, [])
    assert any(served[0].told for served in proxies.values())
    for served in proxies.values():
        served[0].be_honest()
    async with open_relayer(with_attestors(config, watched_crew.urls), tmp_path / "relayer.sqlite") as relayer:
        await relayer.work()
    assert await world.fetch_outcomes(sent.id) == EXECUTED
    assert await world.count_entries() == 1


@pytest.mark.parametrize("lie", [lies.forge_blocks, lies.forge_state_roots, lies.forget, lies.answer_503])
@pytest.mark.threat("F16")
async def test_below_the_quorum_nothing_is_signed_or_delivered_until_a_provider_returns(
    world: World, config: Config, proxies: Proxies, watched_crew: Crew, *, tmp_path: Path, lie: Any
) -> None:
    set_lie(proxies, 0, lie)
    set_lie(proxies, 1, lies.answer_403)
    sent, failures, index = await deliver(world, config, watched_crew, tmp_path / "relayer.sqlite")
    assert {type(failure) for failure in failures} == {Unavailable}
    assert len(failures) == 2 * len(watched_crew.attestors), "on either chain, each refuses"
    assert index is None
    assert list_words(world, watched_crew) == set()
    assert await world.fetch_outcomes(sent.id) == []

    for served in proxies.values():
        served[1].be_honest()
    assert await watched_crew.attest() == []
    async with open_relayer(with_attestors(config, watched_crew.urls), tmp_path / "second.sqlite") as relayer:
        for served in proxies.values():
            served[0].be_honest()
        await relayer.work()
    assert await world.fetch_outcomes(sent.id) == EXECUTED


@pytest.mark.parametrize("seat", range(3))
@pytest.mark.threat("F16")
async def test_a_provider_that_serves_a_fork_of_its_own_brings_no_signature_even_when_the_honest_are_killed(
    world: World, config: Config, proxies: Proxies, watched_crew: Crew, *, tmp_path: Path, seat: int
) -> None:
    """Everything that it says fits together: blocks, logs, receipts and proofs."""
    liar, *honest = (proxies[ORIGIN] * 2)[seat : seat + 3]
    draft = await world.client.draft(world.ends, SENDER.address, Message(receiver=world.app, payload=b"forged"))
    async with fork(world.origin) as forked:
        await forked.send(SENDER.address, world.router, encode_draft(draft))
        await forked.mine(FINALIZED_DEPTH)
        liar.upstream = forked.anvil.url
        for each in honest:
            each.garble = lies.answer_403
        assert {type(failure) for failure in await watched_crew.attest(CHAIN_IDS[ORIGIN])} == {Unavailable}
        assert list_words(world, watched_crew) == set()

        for each in honest:
            each.be_honest()
        sent, failures, index = await deliver(world, config, watched_crew, tmp_path / "relayer.sqlite")
        word = await world.fetch_word(DISPATCHES)
        assert failures == []
        assert list_words(world, watched_crew) == {word}
        assert index == unpack_word(word)
        assert await world.fetch_outcomes(sent.id) == EXECUTED
        assert await world.count_entries() == 1


@pytest.mark.parametrize("forged_nonce", [1, 2])
@pytest.mark.threat("B7")
@pytest.mark.threat("C9")
async def test_the_same_event_from_another_contract_is_neither_indexed_nor_signed(
    world: World, crew: Crew, tmp_path: Path, forged_nonce: int
) -> None:
    """The forged logs have the topics and the layout of a genuine one, and stand on both sides of it."""
    account = Account(world.origin, SENDER.address)
    forger = await deploy.create(account, load_artifact_of(Path(__file__).parent / "Forger.vy"))
    message = Message(receiver=world.app, policy=ONLY_MAIN, payload=b"genuine")
    draft = await world.client.draft(world.ends, forger, message)
    genuine = draft.encode()
    forged = replace(draft, nonce=forged_nonce, payload=b"forged").encode()
    signature = "dispatch_and_forge(address,bytes,bytes32,bytes32,bytes)"
    forge = encode_call(signature, world.router, encode_draft(draft), DISPATCHED, compute_id(forged), forged)
    receipt = await account.send(forger, forge)
    assert [(log.address, log.topics[1], log.data) for log in receipt.logs if log.topics[0] == DISPATCHED] == [
        (forger, compute_id(forged), forged),
        (world.router, compute_id(genuine), genuine),
        (forger, compute_id(forged), forged),
    ]

    await world.origin.mine(FINALIZED_DEPTH)
    assert await crew.attest() == []
    async with open_relayer(world.config, tmp_path / "relayer.sqlite") as relayer:
        await relayer.work()
        assert relayer.store.load_dispatch_head(world.lane) == 1
        assert relayer.store.load_dispatch_by_id(compute_id(genuine)) is not None
        assert relayer.store.load_dispatch_by_id(compute_id(forged)) is None
    assert list_words(world, crew) == {
        extend_word(pack_word(0, compute_seed(world.lane, DISPATCHES)), compute_id(genuine))
    }
    assert await world.fetch_outcomes(compute_id(genuine)) == EXECUTED
    assert await world.fetch_outcomes(compute_id(forged)) == []
