"""What the compiler makes of the contracts: they fit, and storage is laid out as proofs expect."""

import pytest

from comity.chain.bindings import SNAPSHOTS_SLOT, WORDS_SLOT
from comity.compiler import find_source, load_artifact_of
from tests.static.repository import DEPLOYABLES, compile_with, count_immutables

MAX_CODE = 24_576
"""EIP-170."""

MAX_INITCODE = 2 * MAX_CODE
"""EIP-3860, constructor arguments included."""

LARGEST_ARGUMENTS = (6 + 1 + 32) * 32
"""Of any constructor: Attestation's, with 32 members."""

LANE_ENDS = ("Router", "Gate")


@pytest.mark.parametrize("source", DEPLOYABLES, ids=lambda path: path.stem)
def test_deployable_fits_what_a_chain_accepts(source):
    artifact, layout = compile_with(source, experimental_codegen=False)
    assert 0 < len(artifact.runtime) + count_immutables(layout) < MAX_CODE
    assert len(artifact.bytecode) + LARGEST_ARGUMENTS < MAX_INITCODE


@pytest.mark.parametrize("source", DEPLOYABLES, ids=lambda path: path.stem)
def test_deployable_is_built_as_these_tests_build_it(source):
    artifact, _ = compile_with(source, experimental_codegen=False)
    packaged = load_artifact_of(source)
    assert (packaged.bytecode, packaged.runtime, packaged.abi) == (artifact.bytecode, artifact.runtime, artifact.abi)


@pytest.mark.parametrize("name", LANE_ENDS)
def test_words_and_snapshots_stand_in_the_slots_that_verifiers_prove(name):
    _, layout = compile_with(find_source(name), experimental_codegen=False)
    storage = layout["storage_layout"]
    assert storage["words"] == {"slot": WORDS_SLOT, "n_slots": 1, "type": "HashMap[bytes32, uint256]"}
    nested = "HashMap[bytes32, HashMap[uint256, uint256]]"
    assert storage["snapshots"] == {"slot": SNAPSHOTS_SLOT, "n_slots": 1, "type": nested}
    assert (WORDS_SLOT, SNAPSHOTS_SLOT) == (0, 1)
