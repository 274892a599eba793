"""The command line: `comity --help` names every command; exit codes 0 ok, 1 error, 2 usage, 3 config, 4 unreachable,
5 reverted, 6 still pending.

Nothing heavy is imported before a command runs.
"""

import sys
from collections.abc import Sequence
from typing import Any, Final

import typer
from typer.exceptions import TyperException

from comity.cli import agents, bench, chains, decode, demo, dev, doctor, envelopes, policies, traces
from comity.cli.output import emit_error, emit_json
from comity.core.errors import ComityError

INTERRUPTED_EXIT: Final = 130

app = typer.Typer(
    name="comity",
    help="Have a contract's logic executed on another chain, and know the outcome.",
    epilog="Exit codes: 0 ok, 1 error, 2 usage, 3 configuration, 4 unreachable, 5 reverted, 6 still pending.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.add_typer(dev.app, name="dev")
app.command("doctor")(doctor.doctor)
app.command("deploy")(chains.deploy)
app.add_typer(policies.app, name="policy")
app.command("send")(envelopes.send)
app.command("trace")(traces.trace)
app.command("expire")(envelopes.expire)
app.command("decode")(decode.decode)
app.add_typer(agents.attest_app, name="attest")
app.add_typer(agents.relay_app, name="relay")
app.add_typer(bench.app, name="bench")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Without the standalone mode an exit code is returned.
        sys.exit(app(args=given, prog_name="comity", standalone_mode=False))
    except TyperException as error:
        sys.exit(_refuse_usage(error, as_json="--json" in given))
    except typer.Abort:
        sys.exit(1)
    except ComityError as error:
        emit_error(error, given)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_EXIT)
    except Exception as error:
        if "--json" in given:
            emit_json({"error": type(error).__name__, "message": str(error), "next_step": None, "exit_code": 1})
        raise


def _refuse_usage(error: Any, *, as_json: bool) -> int:
    """Say which argument is wrong, with the command's usage."""
    error.show()
    if as_json:
        message = error.format_message()
        emit_json({"error": "Usage", "message": message, "next_step": None, "exit_code": error.exit_code})
    return int(error.exit_code)
