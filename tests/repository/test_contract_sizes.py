"""Every deployable compiles by both code generators where both can, and fits where chains put limits."""

from pathlib import Path

import pytest
from vyper.compiler.input_bundle import FilesystemInputBundle
from vyper.compiler.phases import CompilerData
from vyper.compiler.settings import OptimizationLevel, Settings, anchor_settings
from vyper.exceptions import CompilerPanic, StackTooDeep

from comity.compiler import CONTRACTS, EVM_VERSION, SEARCH_PATHS, load_artifact_of

DEPLOYABLES = sorted(CONTRACTS.rglob("[A-Z]*.vy"))
MODULES = sorted(path for path in CONTRACTS.rglob("*.vy") if path not in DEPLOYABLES)
MAX_RUNTIME = 24_576
"""EIP-170."""
MAX_CREATION = 49_152
"""EIP-3860, constructor arguments included."""
IMMUTABLES = 512
"""More than any contract's immutables and arguments take."""
TOO_DEEP = {"Gate"}
"""What the experimental code generator cannot compile."""


@pytest.mark.parametrize("source", DEPLOYABLES, ids=lambda path: path.stem)
def test_contract_fits_the_limits_of_chains(source: Path) -> None:
    artifact = load_artifact_of(source)
    assert len(artifact.runtime) + IMMUTABLES <= MAX_RUNTIME
    assert len(artifact.bytecode) + IMMUTABLES <= MAX_CREATION


@pytest.mark.parametrize("source", DEPLOYABLES, ids=lambda path: path.stem)
def test_experimental_code_generator_compiles(source: Path) -> None:
    bundle = FilesystemInputBundle(list(SEARCH_PATHS))
    settings = Settings(optimize=OptimizationLevel.GAS, evm_version=EVM_VERSION, experimental_codegen=True)
    with anchor_settings(settings):
        data = CompilerData(bundle.load_file(source), bundle, settings, no_bytecode_metadata=True)
        if source.stem in TOO_DEEP:
            with pytest.raises((StackTooDeep, CompilerPanic)):
                _ = data.bytecode_runtime
        else:
            assert 0 < len(data.bytecode_runtime) + IMMUTABLES <= MAX_RUNTIME


@pytest.mark.parametrize("source", [*DEPLOYABLES, *MODULES], ids=lambda path: path.stem)
def test_contract_says_what_it_is(source: Path) -> None:
    head = source.read_text().split('"""')[1]
    tags = ["@title", "@license", "@notice"]
    if source in DEPLOYABLES:
        tags += ["@custom:trust", "@custom:kill"]
    assert [tag for tag in tags if tag not in head] == []
