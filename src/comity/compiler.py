"""Compiled contracts: the Vyper sources in this package, compiled on first use and cached by their content.

The compiler, its settings and the sources fix every byte, so two machines build the same bytecode and no network is
needed. Solidity sources are for tests and examples only; their artifacts ship next to them, because users have no
Solidity compiler.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from comity.core.errors import ConfigError, Invalid

PACKAGE_ROOT = Path(__file__).resolve().parent
CONTRACTS = PACKAGE_ROOT / "contracts"
SEARCH_PATHS = (PACKAGE_ROOT.parent,)
"""What `from comity.contracts import …` is resolved against."""

EVM_VERSION = "prague"
SETTINGS_TAG = f"vyper-0.4.3-{EVM_VERSION}-gas-v1"
"""Part of the cache key: change it with any setting that changes bytecode."""


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """One deployable contract."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    """Creation code, without constructor arguments."""
    runtime: bytes
    """Deployed code before immutables are appended."""
    sources: dict[str, str] = {}
    """Path, relative to the contract's search root, to SHA-256 of each source it was compiled from."""


def compute_cache_root() -> Path:
    """Return the directory for compiled artifacts: COMITY_CACHE, else the XDG cache."""
    override = os.environ.get("COMITY_CACHE")
    if override:
        return Path(override)
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "comity"


def find_source(name: str) -> Path:
    """Return the source of a contract named by its file stem, such as `Gate`."""
    for suffix in (".vy", ".sol"):
        found = sorted(CONTRACTS.rglob(f"{name}{suffix}"))
        if found:
            return found[0]
    raise ConfigError(f"no contract named {name}", next_step="comity doctor", directory=str(CONTRACTS))


def load_artifact(name: str) -> Artifact:
    """Return a contract of this package, compiling it when its sources changed since the last time."""
    return load_artifact_of(find_source(name))


def load_artifact_of(source: Path) -> Artifact:
    """Return the artifact of any Vyper source, or the packaged artifact of a Solidity one."""
    if source.suffix == ".sol":
        return _load_packaged(source)
    cached = _cache_path(source)
    artifact = _load_cached(cached)
    if artifact is not None:
        return artifact
    with _locked(cached.with_suffix(".lock")):
        artifact = _load_cached(cached)
        if artifact is None:
            artifact = compile_vyper(source)
            _save(cached, artifact)
    return artifact


def load_artifacts(names: Iterable[str]) -> dict[str, Artifact]:
    """Return several artifacts; those not cached are compiled side by side, each in its own process."""
    sources = {name: find_source(name) for name in names}
    missing = [name for name, path in sources.items() if path.suffix == ".vy" and not _is_cached(path)]
    if len(missing) > 1:
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            list(pool.map(_compile_in_subprocess, missing))
    return {name: load_artifact_of(path) for name, path in sources.items()}


def compile_vyper(source: Path) -> Artifact:
    """Compile one Vyper source with the project's settings."""
    from vyper.compiler.input_bundle import FilesystemInputBundle
    from vyper.compiler.output import build_abi_output
    from vyper.compiler.output_bundle import OutputBundle
    from vyper.compiler.phases import CompilerData
    from vyper.compiler.settings import OptimizationLevel, Settings, anchor_settings
    from vyper.exceptions import VyperException

    roots = _search_roots(source)
    bundle = FilesystemInputBundle(list(roots))
    settings = Settings(optimize=OptimizationLevel.GAS, evm_version=EVM_VERSION)
    try:
        with anchor_settings(settings):
            data = CompilerData(bundle.load_file(source), bundle, settings, no_bytecode_metadata=True)
            artifact = Artifact(
                name=source.stem,
                abi=build_abi_output(data),
                bytecode=data.bytecode,
                runtime=data.bytecode_runtime,
                sources={
                    str(entry.resolved_path): _digest(entry.resolved_path)
                    for entry in OutputBundle(data).source_codes.values()
                },
            )
    except VyperException as error:
        raise Invalid(f"{source.name} does not compile: {error}") from error
    return artifact


def compile_solidity(source: Path, node_modules: Path) -> Artifact:
    """Compile one Solidity source with the npm compiler; for maintainers, who then commit the artifact."""
    request = {
        "language": "Solidity",
        "sources": {source.name: {"content": source.read_text()}},
        "settings": {
            "evmVersion": EVM_VERSION,
            "optimizer": {"enabled": True, "runs": 1_000_000},
            "viaIR": True,
            "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
            "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
        },
    }
    command = ["node", str(node_modules / "solc" / "solc.js"), "--standard-json"]
    command += ["--base-path", str(source.parent), "--include-path", str(node_modules)]
    done = subprocess.run(command, input=msgspec.json.encode(request), capture_output=True, check=True)
    answer = msgspec.json.decode(done.stdout[done.stdout.index(b"{") :])
    errors = [entry["formattedMessage"] for entry in answer.get("errors", []) if entry["severity"] == "error"]
    if errors:
        raise Invalid(f"{source.name} does not compile: {errors[0]}")
    contract = answer["contracts"][source.name][source.stem]
    return Artifact(
        name=source.stem,
        abi=contract["abi"],
        bytecode=bytes.fromhex(contract["evm"]["bytecode"]["object"]),
        runtime=bytes.fromhex(contract["evm"]["deployedBytecode"]["object"]),
    )


def save_solidity(source: Path, node_modules: Path) -> Path:
    """Compile a Solidity source and write its artifact next to it."""
    target = source.with_suffix(".sol.json")
    artifact = compile_solidity(source, node_modules)
    target.write_bytes(msgspec.json.format(encode_artifact(artifact), indent=2) + b"\n")
    return target


def encode_artifact(artifact: Artifact) -> bytes:
    """Encode an artifact as JSON with hexadecimal code."""
    return msgspec.json.encode(
        {
            "name": artifact.name,
            "abi": artifact.abi,
            "bytecode": "0x" + artifact.bytecode.hex(),
            "runtime": "0x" + artifact.runtime.hex(),
            "sources": artifact.sources,
        }
    )


def decode_artifact(encoded: bytes) -> Artifact:
    """Decode what `encode_artifact` wrote."""
    fields = msgspec.json.decode(encoded)
    for key in ("bytecode", "runtime"):
        fields[key] = bytes.fromhex(fields[key].removeprefix("0x"))
    return Artifact(**fields)


def _load_packaged(source: Path) -> Artifact:
    path = source.with_suffix(".sol.json")
    if not path.exists():
        raise ConfigError(f"{path.name} is missing", next_step="make artifacts")
    return decode_artifact(path.read_bytes())


def _search_roots(source: Path) -> tuple[Path, ...]:
    inside = source.is_relative_to(PACKAGE_ROOT.parent)
    return SEARCH_PATHS if inside else (source.parent, *SEARCH_PATHS)


def _cache_path(source: Path) -> Path:
    tag = hashlib.sha256(SETTINGS_TAG.encode() + str(source).encode() + source.read_bytes()).hexdigest()[:32]
    return compute_cache_root() / "artifacts" / f"{source.stem}-{tag}.json"


def _is_cached(source: Path) -> bool:
    return _load_cached(_cache_path(source)) is not None


def _load_cached(path: Path) -> Artifact | None:
    """Return the cached artifact if every file that it was compiled from is unchanged."""
    try:
        artifact = decode_artifact(path.read_bytes())
        unchanged = all(_digest(Path(name)) == digest for name, digest in artifact.sources.items())
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return artifact if unchanged else None


def _save(path: Path, artifact: Artifact) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(encode_artifact(artifact))
    partial.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _compile_in_subprocess(name: str) -> None:
    done = subprocess.run([sys.executable, "-m", "comity.compiler", name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Invalid(f"{name} does not compile: {done.stderr.strip()}")


def main(names: list[str]) -> None:
    """Compile the named contracts into the cache; all deployables when none is named."""
    for name in names or sorted(path.stem for path in CONTRACTS.rglob("[A-Z]*.vy")):
        load_artifact(name)


if __name__ == "__main__":
    main(sys.argv[1:])
