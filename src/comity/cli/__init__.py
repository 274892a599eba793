"""The command line: `comity --help` names every command; exit codes 0 ok, 1 error, 2 usage, 3 config, 4 unreachable,
5 reverted, 6 still pending.

Nothing heavy is imported before a command runs.
"""

import sys
from collections.abc import Sequence

import typer

from comity.cli import agents, bench, chains, decode, demo, dev, doctor, envelopes
from comity.cli.output import emit_error
from comity.core.errors import ComityError

INTERRUPTED_EXIT = 130

app = typer.Typer(
    name="comity",
    help="Have a contract's logic executed on another chain, and know the outcome.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.add_typer(dev.app, name="dev")
app.command("deploy")(chains.deploy)
app.command("doctor")(doctor.doctor)
app.command("send")(envelopes.send)
app.command("trace")(envelopes.trace)
app.command("expire")(envelopes.expire)
app.add_typer(envelopes.policy_app, name="policy")
app.command("decode")(decode.decode)
app.add_typer(agents.attest_app, name="attest")
app.add_typer(agents.relay_app, name="relay")
app.add_typer(bench.app, name="bench")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=given, prog_name="comity")
    except ComityError as error:
        emit_error(error, as_json="--json" in given)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_EXIT)
