"""NatSpec: a source alone says what a contract is, whom it trusts and how it is stopped."""

import re

import pytest
from vyper import ast as vyper_ast

from tests.static.repository import (
    DEPLOYABLES,
    PUBLIC,
    ROOT,
    list_decorators,
    list_external_functions,
    name_of,
    parse,
    read_docstring,
)

EVERY_SOURCE = ("@title", "@license", "@notice")
DEPLOYABLE = ("@custom:trust", "@custom:kill")
SOURCES = tuple(sorted(path for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.vy")))


def read_tags(text):
    """The tags of a docstring that say something."""
    return set(re.findall(r"^\s*(@[\w:]+) +\S", text, re.MULTILINE))


def is_getter(function):
    """Whether a function only reads one thing."""
    is_view = bool(list_decorators(function) & {"view", "pure"})
    return is_view and len(function.body) == 1 and isinstance(function.body[0], vyper_ast.Return)


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_source_says_what_it_is(source):
    missing = set(EVERY_SOURCE) - read_tags(read_docstring(parse(source)))
    assert missing == set()


@pytest.mark.parametrize("source", DEPLOYABLES, ids=name_of)
def test_deployable_says_whom_it_trusts_and_how_it_is_stopped(source):
    docstring = read_docstring(parse(source))
    assert set(DEPLOYABLE) - read_tags(docstring) == set()
    assert re.search(rf"@title {source.stem}\n", docstring), "the title is the contract's name"


@pytest.mark.parametrize("source", sorted({*PUBLIC, *DEPLOYABLES}), ids=name_of)
def test_external_function_says_what_it_does_unless_it_is_a_getter(source):
    silent = [
        function.name
        for function in list_external_functions(source)
        if not is_getter(function) and not read_tags(read_docstring(function)) & {"@notice", "@param", "@return"}
    ]
    assert silent == []


@pytest.mark.parametrize("source", sorted({*PUBLIC, *DEPLOYABLES}), ids=name_of)
def test_documented_parameters_exist(source):
    for function in parse(source).get_children(vyper_ast.FunctionDef):
        named = re.findall(r"@param +(\w+)", read_docstring(function))
        assert set(named) <= {argument.arg for argument in function.args.args}, function.name
