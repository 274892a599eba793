"""What commands print: data on stdout, the rest on stderr, JSON when asked, colour only where it is welcome."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comity.core.errors import ComityError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_PLAIN_WIDTH = 160
"""Columns where there is no terminal to ask."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
ConfigFlag = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="Read this comity.toml instead of the nearest one.")
]
YesFlag = Annotated[bool, typer.Option("--yes", help="Answer yes; without a terminal nothing else does.")]


def get_console() -> "Console":
    """Return the console for data; rich honours NO_COLOR and the absence of a terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    return Console(highlight=False, width=width)


def emit_json(value: Any) -> None:
    """Print one JSON object: bytes as hex, sets as lists."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(_to_plain(value)).decode() + "\n")
    sys.stdout.flush()


def emit_error(error: ComityError, as_json: bool) -> None:
    """Say what went wrong and the next command."""
    if as_json:
        emit_json(
            {
                "error": type(error).__name__,
                "message": str(error),
                "values": error.values,
                "next_step": error.next_step,
                "exit_code": error.exit_code,
            }
        )
    sys.stderr.write(f"error: {error}\n")
    if error.next_step:
        sys.stderr.write(f"next:  {error.next_step}\n")


def emit_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; numbers are right-aligned."""
    table = build_table(title)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(show(cell) for cell in row))
    get_console().print(table)


def build_table(title: str) -> "Table":
    """Return an empty table in the one style of all commands."""
    from rich import box
    from rich.table import Table

    return Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def show(value: object) -> str:
    """Write a value as people read it."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def shorten(value: bytes) -> str:
    """Write the first and last bytes of an id."""
    text = value.hex()
    return f"0x{text[:8]}…{text[-6:]}"


def _to_plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {str(_to_plain(key)): _to_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_to_plain(inner) for inner in value]
    if isinstance(value, int) and not -(2**53) < value < 2**53:
        return str(value)
    return value
