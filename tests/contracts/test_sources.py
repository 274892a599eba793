"""What must hold of the contracts' sources and code, found by the compiler: sizes, slots, tags, strings, a second generator."""

import re
from collections.abc import Iterator

import pytest
from vyper import ast as vyper_ast
from vyper.compiler import compile_from_file_input
from vyper.compiler.input_bundle import FilesystemInputBundle
from vyper.compiler.settings import OptimizationLevel, Settings

from comity.chain.bindings import REVERTS, SNAPSHOTS_SLOT, WORDS_SLOT, Branch, classify_revert
from comity.compiler import CONTRACTS, EVM_VERSION, SEARCH_PATHS, load_artifact

MAX_CODE = 24_576
SOURCES = sorted(CONTRACTS.rglob("*.vy"))
DEPLOYABLES = [path for path in SOURCES if path.stem[0].isupper()]
ENTRY_POINTS = {"Gate": ("deliver", "expire", "snapshot"), "Router": ("snapshot",)}
"""What agents call, whose reverts they must understand."""

NOT_YET_EXPERIMENTAL: frozenset[str] = frozenset()
"""Deployables that the experimental code generator cannot compile."""


def compile_output(source, *formats, experimental=False):
    bundle = FilesystemInputBundle(list(SEARCH_PATHS))
    settings = Settings(optimize=OptimizationLevel.GAS, evm_version=EVM_VERSION, experimental_codegen=experimental)
    return compile_from_file_input(
        bundle.load_file(source), input_bundle=bundle, settings=settings, output_formats=formats
    )


def named(paths):
    return {"argvalues": paths, "ids": [path.stem for path in paths]}


@pytest.mark.parametrize("source", **named(DEPLOYABLES))
def test_a_contract_fits_where_it_is_deployed(source):
    """EIP-170, immutables included: they stand behind the code, a word each."""
    layout = compile_output(source, "layout")["layout"].get("code_layout", {})
    assert len(load_artifact(source.stem).runtime) + count_bytes(layout) < MAX_CODE


def count_bytes(layout):
    """Bytes of the immutables, those of modules included."""
    return sum(each["length"] if "length" in each else count_bytes(each) for each in layout.values())


@pytest.mark.parametrize("name", ["Router", "Gate"])
def test_verifiers_find_words_and_snapshots_in_the_first_two_slots(name):
    [source] = [path for path in DEPLOYABLES if path.stem == name]
    layout = compile_output(source, "layout")["layout"]["storage_layout"]
    assert layout["words"]["slot"] == WORDS_SLOT == 0
    assert layout["snapshots"]["slot"] == SNAPSHOTS_SLOT == 1
    assert layout["words"]["type"] == "HashMap[bytes32, uint256]"
    assert layout["snapshots"]["type"] == "HashMap[bytes32, HashMap[uint256, uint256]]"


@pytest.mark.parametrize("source", **named(DEPLOYABLES))
def test_the_experimental_generator_compiles_a_contract_too(source):
    """A second opinion on the source. Its code is not used."""
    if source.stem in NOT_YET_EXPERIMENTAL:
        with pytest.raises(Exception, match=r"(?i)stack"):
            compile_output(source, "bytecode_runtime", experimental=True)
        return
    compiled = compile_output(source, "bytecode_runtime", experimental=True)["bytecode_runtime"]
    assert compiled != "0x" + load_artifact(source.stem).runtime.hex()


@pytest.mark.parametrize("source", **named(SOURCES))
def test_a_source_says_what_it_is_under_which_licence_and_whom_it_trusts(source):
    text = source.read_text()
    docstring = text.split('"""')[1]
    wanted = ["@title", "@license MIT", "@notice"]
    if source in DEPLOYABLES:
        wanted += ["@custom:trust", "@custom:kill"]
        assert "# pragma evm-version prague" in text
    assert [tag for tag in wanted if tag not in docstring] == []
    assert text.startswith("# pragma version 0.4.3\n")
    assert re.search(r"@title (\w+)", docstring)[1] == source.stem


# ------------------------------------------------------------------------------------------------ revert strings


class Sources:
    """The functions of a contract and of the modules that it uses, by module and name."""

    def __init__(self, name: str) -> None:
        [source] = [path for path in DEPLOYABLES if path.stem == name]
        self.functions: dict[tuple[str, str], vyper_ast.FunctionDef] = {}
        self.modules: dict[str, dict[str, str]] = {}
        self.root = source.stem
        self._load(source)

    def _load(self, source) -> None:
        if source.stem in self.modules:
            return
        tree = vyper_ast.parse_to_ast(source.read_text())
        aliases = self.modules[source.stem] = {}
        for function in tree.get_children(vyper_ast.FunctionDef):
            self.functions[source.stem, function.name] = function
        for statement in tree.get_children(vyper_ast.ImportFrom):
            found = sorted(CONTRACTS.rglob(f"{statement.name}.vy"))
            if found:
                aliases[statement.alias or statement.name] = statement.name
                self._load(found[0])

    def list_strings(self, module: str, function: str, seen: set[tuple[str, str]]) -> Iterator[str]:
        """Every string that a call of the function may revert with, its callees' included."""
        if (module, function) in seen or (module, function) not in self.functions:
            return
        seen.add((module, function))
        tree = self.functions[module, function]
        for statement in tree.get_descendants((vyper_ast.Assert, vyper_ast.Raise)):
            reason = statement.msg if isinstance(statement, vyper_ast.Assert) else statement.exc
            if isinstance(reason, vyper_ast.Str):
                yield reason.value
        for call in tree.get_descendants(vyper_ast.Call):
            if isinstance(call.func, vyper_ast.Attribute) and isinstance(call.func.value, vyper_ast.Name):
                owner = call.func.value.id
                callee = module if owner == "self" else self.modules[module].get(owner, "")
                yield from self.list_strings(callee, call.func.attr, seen)


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_agents_understand_every_revert_of_what_they_call(name):
    sources = Sources(name)
    strings = {text for entry in ENTRY_POINTS[name] for text in sources.list_strings(name, entry, set())}
    assert strings
    assert sorted(text for text in strings if text not in REVERTS) == []


def test_agents_know_no_revert_that_no_contract_has():
    everything = "".join(source.read_text() for source in SOURCES)
    assert sorted(text for text in REVERTS if f'"{text}"' not in everything) == []


def test_every_refusal_of_a_verifier_asks_for_another_proof():
    for text in Sources("Attestation").list_strings("Attestation", "verify", set()):
        assert classify_revert(text).branch is Branch.REPROVE


@pytest.mark.parametrize("source", **named(SOURCES))
def test_a_guard_says_why_or_that_nobody_honest_meets_it(source):
    """Each assert has a reason `part: what is wrong`, or is marked `# dev:`."""
    lines = source.read_text().splitlines()
    tree = vyper_ast.parse_to_ast(source.read_text())
    for statement in tree.get_descendants((vyper_ast.Assert, vyper_ast.Raise)):
        reason = statement.msg if isinstance(statement, vyper_ast.Assert) else statement.exc
        if isinstance(reason, vyper_ast.Str):
            assert re.fullmatch(r"[a-z_]+: .+", reason.value), reason.value
            assert len(reason.value) <= 64
        else:
            assert "# dev: " in lines[statement.end_lineno - 1], lines[statement.lineno - 1]
