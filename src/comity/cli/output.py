"""What commands print: data on stdout, the rest on stderr, JSON when asked, colour only where it is welcome."""

import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from comity.core.errors import ComityError, Unavailable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_PLAIN_WIDTH = 160
"""Columns where there is no terminal to ask."""

_LABEL_WIDTH = 14

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
ConfigFlag = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="Read this comity.toml instead of the nearest one.")
]
YesFlag = Annotated[bool, typer.Option("--yes", help="Answer yes; without a terminal nothing else does.")]


def get_console(*, stderr: bool = False) -> "Console":
    """Return the console for data, or for the story; rich honours NO_COLOR and the absence of a terminal."""
    from rich.console import Console

    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(highlight=False, stderr=stderr, width=None if is_terminal else _PLAIN_WIDTH)


def quiet_logs() -> None:
    """Keep the libraries silent: a command tells by itself what went wrong."""
    from comity.telemetry import configure_logging

    configure_logging(level="critical")


def emit_json(value: Any) -> None:
    """Print one JSON document on a line: bytes as hex, sets as lists."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(_to_plain(value)).decode() + "\n")
    sys.stdout.flush()


def emit_error(error: ComityError, arguments: Sequence[str] = ()) -> None:
    """Say what went wrong, with the values that disagreed, and the next command."""
    step = complete_step(_choose_step(error), arguments)
    if "--json" in arguments:
        emit_json(
            {
                "error": type(error).__name__,
                "message": error.message,
                "values": error.values,
                "next_step": step or None,
                "exit_code": error.exit_code,
            }
        )
    lines = [f"error: {error.message}"]
    # What a reason was decoded from says nothing more.
    hidden = {"data"} if error.values.get("reason") else set()
    values = {name: value for name, value in error.values.items() if value != "" and name not in hidden}
    width = max(map(len, values), default=0)
    lines += [f"       {name.ljust(width)}  {_show_value(value)}" for name, value in values.items()]
    if step:
        lines.append(f"next:  {step}")
    sys.stderr.write("\n".join(lines) + "\n")


def exit_after_output(error: ComityError) -> NoReturn:
    """Exit with an error's code, and say it on stderr only: stdout has the data already."""
    emit_error(error, [argument for argument in sys.argv if argument != "--json"])
    raise typer.Exit(error.exit_code)


def _choose_step(error: ComityError) -> str:
    """Providers that do not answer or disagree are the doctor's business."""
    if isinstance(error, Unavailable) and (not error.next_step or "answers" in error.values):
        return "comity doctor"
    return error.next_step or ""


def complete_step(step: str, arguments: Sequence[str]) -> str:
    """Give a suggested command the --config that this one was given."""
    for place, argument in enumerate(arguments):
        name, _, inline = argument.partition("=")
        if name == "--config" and "comity " in step:
            path = inline or next(iter(arguments[place + 1 :]), "")
            return f"{step} --config {shlex.quote(path)}"
    return step


def emit_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; numbers are right-aligned."""
    table = build_table(title)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(show(cell) for cell in row))
    emit(table)


def emit_fields(fields: dict[str, Any]) -> None:
    """Print names and values, one on each line."""
    width = max(_LABEL_WIDTH, *map(len, fields))
    for name, value in fields.items():
        sys.stdout.write(f"{name.replace('_', ' ').rjust(width)}  {_show_value(value)}\n")
    sys.stdout.flush()


def emit(content: "RenderableType", console: "Console | None" = None) -> None:
    """Print what rich has laid out; without a terminal, no line ends in spaces."""
    console = console or get_console()
    if console.is_terminal:
        console.print(content)
        return
    with console.capture() as capture:
        console.print(content)
    console.file.write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n")
    console.file.flush()


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
    return "–" if value is None else str(value)


def show_time(seconds: int) -> str:
    """Write Unix seconds as people read them."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def show_result(result: bytes) -> str:
    """Write what a receiver replied: in hex, and as the number or text that it looks like."""
    number = int.from_bytes(result, "big")
    if len(result) == 32 and number < 1 << 64:
        return f"{show(result)} ({number:,})"
    if result and all(32 <= byte < 127 for byte in result):
        return f"{show(result)} ({result.decode()})"
    return show(result)


def _show_value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_show_value(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(_show_value, value))
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else show(value)


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
