"""Compiled contracts: cached by content, the same bytes every time, and packaged artifacts that match their sources."""

import shutil
from pathlib import Path

import pytest

from comity import compiler
from comity.compiler import (
    CONTRACTS,
    compile_solidity,
    compile_vyper,
    decode_artifact,
    encode_artifact,
    find_source,
    load_artifact,
    load_artifact_of,
)
from comity.core.errors import ConfigError, Invalid

MODULE = "X: constant(uint256) = {value}\n"
CONTRACT = "import module\n@external\ndef x() -> uint256:\n    return module.X\n"
CODE_LIMIT = 24_576


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMITY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "module.vy").write_text(MODULE.format(value=1))
    path = tmp_path / "Contract.vy"
    path.write_text(CONTRACT)
    return path


def test_an_unchanged_source_is_not_compiled_again(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_artifact_of(source)
    monkeypatch.setattr(compiler, "compile_vyper", lambda _: pytest.fail("compiled again"))
    assert load_artifact_of(source) == first


def test_a_changed_import_is_compiled_again(source: Path) -> None:
    first = load_artifact_of(source)
    (source.parent / "module.vy").write_text(MODULE.format(value=2))
    assert load_artifact_of(source).runtime != first.runtime


def test_a_damaged_cache_is_compiled_again(source: Path) -> None:
    first = load_artifact_of(source)
    for cached in (source.parent / "cache").rglob("*.json"):
        cached.write_text("{")
    assert load_artifact_of(source) == first


def test_the_folder_does_not_change_the_bytecode(source: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("Contract.vy", "module.vy"):
        shutil.copy(source.parent / name, elsewhere / name)
    assert compile_vyper(elsewhere / "Contract.vy").bytecode == compile_vyper(source).bytecode


def test_a_source_that_does_not_compile_is_named(source: Path) -> None:
    source.write_text("@external\ndef x() -> uint256:\n    return nothing\n")
    with pytest.raises(Invalid, match=r"Contract\.vy does not compile"):
        load_artifact_of(source)


def test_an_artifact_survives_encoding(source: Path) -> None:
    artifact = load_artifact_of(source)
    assert decode_artifact(encode_artifact(artifact)) == artifact


def test_an_unknown_contract_is_refused() -> None:
    with pytest.raises(ConfigError):
        find_source("Nothing")


@pytest.mark.parametrize("name", sorted(path.stem for path in CONTRACTS.rglob("[A-Z]*.vy")))
def test_every_deployable_fits_the_code_limit(name: str) -> None:
    assert len(load_artifact(name).runtime) <= CODE_LIMIT


@pytest.mark.skipif(shutil.which("node") is None, reason="the Solidity compiler needs Node")
@pytest.mark.parametrize(
    "name", [path.stem for path in CONTRACTS.rglob("*.sol") if path.with_suffix(".sol.json").exists()]
)
def test_packaged_solidity_artifacts_match_their_sources(name: str) -> None:
    node_modules = Path(__file__).resolve().parents[2] / "node_modules"
    assert load_artifact(name) == compile_solidity(find_source(name), node_modules)
