"""The compiler's experimental code generator, as a second opinion: what it compiles behaves as what is shipped."""

from dataclasses import dataclass

import pytest
from msgspec.structs import replace
from vyper.exceptions import StackTooDeep

from comity.chain.bindings import DECIDED, decode_decided
from comity.chain.codec import Log
from comity.compiler import find_source, load_artifact
from comity.core.checkpoint import Checkpoint
from comity.core.types import Direction, Outcome
from comity.devnet import deploy
from tests.contracts.world import ATTESTATION, ORIGIN, SENDER, Sent, attest, build_world, dispatched
from tests.static.repository import DEPLOYABLES, compile_with

REFUSED = {
    "Gate": (StackTooDeep, "`_deliver` keeps more variables alive at once than the generator can reach or spill")
}
"""What the experimental generator of vyper 0.4.3 does not compile, how it says so, and why."""

COMPILED = tuple(source for source in DEPLOYABLES if source.stem not in REFUSED)
POLICY = 1 << ATTESTATION
NO_HASH = bytes(32)
"""Hashes of blocks and transactions cover gas, which the generators do not share."""


@pytest.mark.parametrize("name", REFUSED)
def test_generator_still_refuses(name):
    error, _ = REFUSED[name]
    with pytest.raises(error):
        compile_with(find_source(name), experimental_codegen=True)


@pytest.mark.parametrize("source", COMPILED, ids=lambda path: path.stem)
def test_generator_gives_other_code_of_the_same_interface_and_storage(source):
    artifact, layout = compile_with(source, experimental_codegen=True)
    shipped, shipped_layout = compile_with(source, experimental_codegen=False)
    assert artifact.runtime != shipped.runtime
    assert artifact.abi == shipped.abi
    assert layout.get("storage_layout") == shipped_layout.get("storage_layout")


@dataclass(frozen=True)
class Delivered:
    """What a run of two messages left behind."""

    envelopes: list[bytes]
    dispatches: int
    """The word of the lane's dispatches."""
    receipts: int
    logs: list[Log]
    counts: list[int]


async def run_delivery(world, load):
    """Send two messages to guestbooks, one of them closed, and deliver both in one run under a real attestation."""
    chain, books = world.destination, []
    for is_open in (True, False):
        book = await deploy.create(chain, load("Guestbook"), gate=world.target.gate, is_open=is_open)
        await chain.act(book, "set_peer(uint256,address,uint256)", ORIGIN, SENDER, POLICY)
        books.append(book)
    sent = Sent(world.lane)
    for book, payload in zip(books, (b"?", b"never read"), strict=True):
        calldata = world.encode_dispatch(book, payload=payload, policy=POLICY, return_policy=POLICY)
        receipt = await world.origin.send(world.source.router, calldata, sender=SENDER)
        sent.add_encoded(dispatched(receipt))
    word = await world.origin.read(world.source.router, "words(bytes32)", world.lane)
    proof = attest(Checkpoint(world.lane, Direction.DISPATCHES, word), world.attestation)
    receipt = await world.deliver(sent.run(proofs={ATTESTATION: proof}))
    logs = [replace(log, block_hash=NO_HASH, transaction_hash=NO_HASH) for log in receipt.logs]
    return Delivered(
        sent.envelopes, word, await world.word(), logs, [await chain.read(book, "count()") for book in books]
    )


async def run_in_a_new_world(monkeypatch, load):
    """The same in a world whose contracts are loaded so; and the names of those."""
    names = set()

    def load_and_note(name):
        names.add(name)
        return load(name)

    with monkeypatch.context() as patch:
        patch.setattr(deploy, "load_artifact", load_and_note)
        async with build_world() as world:
            return await run_delivery(world, load_and_note), names


async def test_a_delivery_comes_out_the_same_under_both_generators(monkeypatch):
    experimental = {source.stem: compile_with(source, experimental_codegen=True)[0] for source in COMPILED}
    shipped, _ = await run_in_a_new_world(monkeypatch, load_artifact)
    other, names = await run_in_a_new_world(monkeypatch, lambda name: experimental.get(name) or load_artifact(name))
    assert names - REFUSED.keys() == {"Authority", "Router", "Attestation", "Guestbook"}

    outcomes = [decode_decided(log).outcome for log in shipped.logs if log.topics[0] == DECIDED]
    assert outcomes == [Outcome.EXECUTED, Outcome.FAILED]
    assert shipped.counts == [1, 0]
    assert other == shipped
