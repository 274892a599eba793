"""A Solidity app on unmodified OpenZeppelin contracts: compiled here, equal to what ships, and called across chains."""

import json
from pathlib import Path

import pytest

from comity.chain.bindings import encode_call
from comity.compiler import CONTRACTS, Artifact, compile_solidity, load_artifact
from comity.core.interop_address import InteropAddress
from comity.core.keccak import keccak
from comity.core.types import Outcome
from tests.integration.stack.crew import Crew, SteppedRelayer
from tests.integration.stack.world import CHAIN_IDS, ORIGIN, SENDER, World

ROOT = Path(__file__).parents[3]
NODE_MODULES = ROOT / "node_modules"
SOURCE = CONTRACTS / "examples/Notebook.sol"

pytestmark = pytest.mark.skipif(not NODE_MODULES.is_dir(), reason="node_modules is absent: run `npm ci`")


@pytest.fixture(scope="module")
def compiled() -> Artifact:
    return compile_solidity(SOURCE, NODE_MODULES)


def test_openzeppelin_is_the_pinned_release_and_unmodified() -> None:
    installed = json.loads((NODE_MODULES / "@openzeppelin/contracts/package.json").read_text())
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]["node_modules/@openzeppelin/contracts"]
    assert installed["version"] == locked["version"]
    assert installed["version"].startswith("5.7.")
    assert locked["integrity"].startswith("sha512-"), "npm checks every byte against it"
    assert "@openzeppelin/contracts/crosschain/ERC7786Recipient.sol" in SOURCE.read_text()


def test_shipped_artifact_is_what_the_compiler_gives(compiled: Artifact) -> None:
    shipped = load_artifact("Notebook")
    assert compiled.bytecode == shipped.bytecode
    assert compiled.runtime == shipped.runtime
    assert compiled.abi == shipped.abi


async def test_an_app_compiled_here_takes_an_envelope(
    compiled: Artifact, world: World, crew: Crew, relayer: SteppedRelayer
) -> None:
    notebook = await world.deploy_app(compiled)
    sent = await world.dispatch("grüße".encode(), receiver=notebook)
    await world.origin.mine(2)
    await crew.attest()
    await relayer.work()
    assert await world.fetch_outcomes(sent.id) == [Outcome.EXECUTED]
    sender = InteropAddress.from_evm(CHAIN_IDS[ORIGIN], SENDER.address).encode()
    answer = await world.destination.rpc.eth_call(notebook, encode_call("notes(bytes32)", keccak(sender)))
    length = int.from_bytes(answer[32:64], "big")
    assert answer[64 : 64 + length].decode() == "grüße"


async def test_the_app_refuses_everybody_but_its_gate(compiled: Artifact, world: World) -> None:
    notebook = await world.deploy_app(compiled)
    sender = InteropAddress.from_evm(CHAIN_IDS[ORIGIN], SENDER.address).encode()
    call = encode_call("receiveMessage(bytes32,bytes,bytes)", bytes(32), sender, b"forged")
    with pytest.raises(Exception, match="execution reverted"):
        await world.destination.rpc.eth_call(notebook, call, sender=SENDER.address)
    await world.destination.rpc.eth_call(notebook, call, sender=world.gate)
