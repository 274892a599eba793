"""The compiler's experimental code generator as a second opinion: what it compiles behaves as the shipped bytecode does."""

import pytest
from vyper.exceptions import StackTooDeep

from comity.chain.bindings import decode_result
from comity.compiler import find_source, load_artifact
from comity.core.checkpoint import Checkpoint
from comity.core.lane import compute_seed, compute_word
from comity.core.types import Address, Direction, Outcome
from comity.devnet import deploy
from tests.contracts.world import ATTESTATION, ORIGIN, SENDER, Sent, attest, build_world, decided, dispatched
from tests.static.repository import DEPLOYABLES, compile_with

REFUSED = {"Gate": (StackTooDeep, "`_deliver` keeps more variables alive at once than the generator can reach or spill")}
"""What the experimental generator of vyper 0.4.3 does not compile, how it says so, and why."""

COMPILED = tuple(source for source in DEPLOYABLES if source.stem not in REFUSED)
POLICY = 1 << ATTESTATION


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


async def run_delivery(monkeypatch, load):
    """Send two messages to guestbooks, one of them closed, and deliver both in one run under a real attestation."""
    used = []

    def load_and_note(name):
        used.append(name)
        return load(name)

    with monkeypatch.context() as patch:
        patch.setattr(deploy, "load_artifact", load_and_note)
        async with build_world() as world:
            chain, gate = world.destination, world.target.gate
            books = []
            for is_open in (True, False):
                book = await deploy.create(chain, load_and_note("Guestbook"), gate=gate, is_open=is_open)
                await chain.act(book, "set_peer(uint256,address,uint256)", ORIGIN, SENDER, POLICY)
                books.append(book)
            sent = Sent(world.lane)
            for book, payload in zip(books, (b"?", b"never read"), strict=True):
                calldata = world.encode_dispatch(Address(book), payload=payload, policy=POLICY, return_policy=POLICY)
                receipt = await world.origin.send(world.source.router, calldata, sender=SENDER)
                sent.add_encoded(dispatched(receipt))
            word = await world.origin.read(world.source.router, "words(bytes32)", world.lane)
            proof = attest(Checkpoint(world.lane, Direction.DISPATCHES, word), world.attestation)
            delivered = await world.deliver(sent.run(proofs={ATTESTATION: proof}))
            counts = [await chain.read(book, "count()") for book in books]
            return Delivered(set(used), sent, word, decided(delivered), delivered.logs, counts, await world.word())


class Delivered:
    """What a run of two messages left behind."""

    def __init__(self, used, sent, word, outcomes, logs, counts, receipts):
        self.used = used
        self.sent = sent
        self.word = word
        self.outcomes = outcomes
        self.logs = [(log.address, log.topics, log.data) for log in logs]
        self.results = [decode_result(log).content for log in logs if len(log.topics) == 2 and len(log.data) > 32]
        self.counts = counts
        self.receipts = receipts


async def test_a_delivery_comes_out_the_same_under_both_generators(monkeypatch):
    experimental = {source.stem: compile_with(source, experimental_codegen=True)[0] for source in COMPILED}
    shipped = await run_delivery(monkeypatch, load_artifact)
    other = await run_delivery(monkeypatch, lambda name: experimental.get(name) or load_artifact(name))
    assert {"Router", "Authority", "Attestation", "Guestbook"} == other.used - set(REFUSED)

    assert [one.outcome for one in shipped.outcomes] == [Outcome.EXECUTED, Outcome.FAILED]
    assert shipped.counts == [1, 0]
    seed = compute_seed(shipped.sent.lane, Direction.DISPATCHES)
    assert shipped.word == compute_word(seed, 1, [one.id for one in shipped.outcomes])
    for name in ("word", "outcomes", "logs", "counts", "receipts"):
        assert getattr(other, name) == getattr(shipped, name), name
    assert other.sent.envelopes == shipped.sent.envelopes
