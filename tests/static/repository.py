"""The files of the project, and its contracts as the compiler sees them."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from vyper import ast as vyper_ast
from vyper.ast.parse import parse_to_ast
from vyper.compiler.input_bundle import FilesystemInputBundle
from vyper.compiler.output import build_abi_output, build_layout_output
from vyper.compiler.phases import CompilerData
from vyper.compiler.settings import OptimizationLevel, Settings, anchor_settings

from comity.compiler import CONTRACTS, EVM_VERSION, PACKAGE_ROOT, SEARCH_PATHS, Artifact

ROOT = Path(__file__).parents[2]
DEPLOYABLES = tuple(sorted(path for path in PACKAGE_ROOT.rglob("*.vy") if path.stem[0].isupper()))
PUBLIC = tuple(sorted(CONTRACTS.rglob("*.vy")))
"""Every source that other people's money depends on, modules and examples included."""


def list_files() -> list[Path]:
    """What git tracks, and what it would if everything were added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def name_of(path: Path) -> str:
    """A file by its path in the repository."""
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> Any:
    """The syntax tree of a Vyper source."""
    return parse_to_ast(path.read_text(), resolved_path=str(path))


def read_docstring(node: Any) -> str:
    """The docstring of a module or function, empty when there is none."""
    found = getattr(node, "doc_string", None)
    return "" if found is None else found.value


def list_external_functions(path: Path) -> list[Any]:
    """The external functions that a source itself defines."""
    functions = parse(path).get_children(vyper_ast.FunctionDef)
    return [function for function in functions if "external" in list_decorators(function)]


def list_decorators(function: Any) -> set[str]:
    """The names of a function's decorators."""
    return {decorator.id for decorator in function.decorator_list if hasattr(decorator, "id")}


@cache
def compile_with(source: Path, *, experimental_codegen: bool) -> tuple[Artifact, dict[str, Any]]:
    """A contract compiled as the package compiles it, but for the code generator; and its layout."""
    bundle = FilesystemInputBundle(list(SEARCH_PATHS))
    settings = Settings(
        optimize=OptimizationLevel.GAS, evm_version=EVM_VERSION, experimental_codegen=experimental_codegen
    )
    with anchor_settings(settings):
        data = CompilerData(bundle.load_file(source), bundle, settings, no_bytecode_metadata=True)
        artifact = Artifact(
            name=source.stem, abi=build_abi_output(data), bytecode=data.bytecode, runtime=data.bytecode_runtime
        )
        return artifact, build_layout_output(data)


def count_immutables(layout: dict[str, Any]) -> int:
    """Bytes that creation appends to the runtime code."""
    return _sum_lengths(layout.get("code_layout", {}))


def _sum_lengths(layout: dict[str, Any]) -> int:
    if isinstance(layout.get("length"), int):
        return layout["length"]
    return sum(_sum_lengths(part) for part in layout.values())
