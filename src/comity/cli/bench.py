"""`comity bench`: exact gas, and the relayer's pace."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from comity.cli.output import JsonFlag, emit_json, emit_table, quiet_logs

app = typer.Typer(help="Measure gas and the relayer's pace.", no_args_is_help=True)

_SNAPSHOT = Path("tests/gas/snapshot.json")


@app.command()
def gas(
    *,
    json: JsonFlag = False,
    check: Annotated[bool, typer.Option("--check", help="Fail unless every figure equals the snapshot.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Write the snapshot.")] = False,
    snapshot: Annotated[Path, typer.Option(metavar="FILE", help="The committed figures.")] = _SNAPSHOT,
) -> None:
    """Gas of dispatch and deliver: whole transactions; for runs, per message."""
    if check and not snapshot.is_file():
        raise typer.BadParameter(f"{snapshot} does not exist: name it by --snapshot, or run in the project's folder")
    from comity.bench import gas as bench_gas

    quiet_logs()
    figures = asyncio.run(bench_gas.measure())
    if update:
        bench_gas.save_snapshot(figures, snapshot)
    if json:
        emit_json(figures)
    else:
        emit_table("gas per message", ("path", "gas"), list(figures.items()))
    if check:
        bench_gas.check(figures, snapshot)


@app.command()
def relay(
    *,
    count: Annotated[
        list[int] | None, typer.Option("--count", metavar="N", min=1, help="Envelopes; may be given again.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """The relayer's pace over a backlog: envelopes a second, processor time, memory."""
    from comity.bench import relay as bench_relay

    quiet_logs()
    figures = asyncio.run(bench_relay.run_relay_bench(tuple(count) if count else bench_relay.COUNTS))
    if json:
        emit_json(figures)
        return
    runs = figures["runs"]
    columns = tuple(runs[0])
    emit_table("relayer", columns, [[run[column] for column in columns] for run in runs])
