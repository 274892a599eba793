"""`comity demo`: a devnet, and envelopes of every kind over all of its lanes, shown while they go."""

import asyncio
import re
import tempfile
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comity.cli.output import JsonFlag, build_table, emit_json, get_console

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from comity.devnet.demo import Demo, Progress

_SVG_WIDTH = 110
_MARKS = {"executed": "green", "failed": "red", "expired": "yellow", "undecided": "cyan"}


def demo(
    *,
    chains: Annotated[int, typer.Option("--chains", min=2, max=6, help="Chains; every ordered pair is a lane.")] = 3,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Save what was shown as a picture.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the agents' logs on stderr.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show executed, failed, expired, dependent, retried and held envelopes; exit 0 only if each is as it must be."""
    from comity.devnet.demo import run_demo
    from comity.devnet.devnet import DevnetOptions
    from comity.telemetry import configure_logging

    configure_logging(level="info" if verbose else "critical")
    screen = _build_screen(json, svg)
    with tempfile.TemporaryDirectory(prefix="comity-demo-") as folder, screen:
        done = asyncio.run(run_demo(Path(folder), DevnetOptions(chains=chains), screen.show, screen.finish))
    if json:
        emit_json(
            {
                "envelopes": len(done.progress),
                "outcomes": done.count_outcomes(),
                "unexpected": len(done.unexpected),
                "seconds": round(done.seconds, 1),
            }
        )
    if svg is not None:
        screen.save(svg)
    if done.unexpected:
        raise typer.Exit(1)


class _Screen:
    """Shows a demonstration: live on a terminal, else a line for each thing that happens; a picture shows the end."""

    def __init__(self, console: "Console", *, live: bool, picture: bool = False) -> None:
        from rich.live import Live

        self.console = console
        self._picture = picture
        self._live = Live(console=console, refresh_per_second=8) if live else None

    def __enter__(self) -> "_Screen":
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, state: "Demo") -> None:
        """Follow a demonstration from now on."""
        if self._live is not None:
            self._live.start()

        def follow(entry: "Progress | None") -> None:
            if self._live is not None:
                self._live.update(_render_progress(state))
            elif not self._picture:
                self.console.print(_describe_event(state, entry), markup=False)

        state.on_change = follow

    async def finish(self, state: "Demo") -> None:
        """Show the results and one whole trace."""
        from comity.cli.traces import print_trace
        from comity.devnet.demo import verify_apps
        from comity.sdk.trace import trace

        if self._live is not None:
            self._live.stop()
        if self._picture:
            self.console.print(_render_progress(state))
        if not state.unexpected:
            await verify_apps(state)
        self.console.print(_render_results(state))
        for entry in state.unexpected:
            outcome = entry.decision.outcome.name.lower() if entry.decision else "undecided"
            self.console.print(f"unexpected: {entry.scenario.name} on {entry.sent.ends.name}: {outcome}", markup=False)
        shown = _choose_for_trace(state)
        if shown is not None:
            print_trace(await trace(state.devnet.client, shown.sent.id), self.console)
        counts = ", ".join(f"{count} {name}" for name, count in state.count_outcomes().items() if count)
        verdict = "every outcome is the expected one" if not state.unexpected else "not as expected"
        self.console.print(f"{len(state.progress)} envelopes in {state.seconds:.1f} s: {counts}; {verdict}")

    def save(self, path: Path) -> None:
        """Write what was shown as SVG."""
        svg = self.console.export_svg(title="comity demo")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without the fonts that rich would load from elsewhere.
        path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


def _choose_for_trace(state: "Demo") -> "Progress | None":
    """The envelope with the most to tell: executed, with a reply."""
    decided = [entry for entry in state.progress.values() if entry.decision]
    replied = [entry for entry in decided if entry.is_expected and entry.decision and entry.decision.result]
    return max(replied, key=lambda entry: entry.scenario.expected.name == "EXECUTED", default=None)


def _build_screen(json: bool, svg: Path | None) -> _Screen:
    from rich.console import Console

    if svg is not None:
        console = Console(record=True, width=_SVG_WIDTH, force_terminal=True, highlight=False, file=StringIO())
        return _Screen(console, live=False, picture=True)
    console = Console(stderr=True, highlight=False) if json else get_console()
    return _Screen(console, live=console.is_terminal)


def _render_progress(state: "Demo") -> "RenderableType":
    from comity.devnet.demo import SCENARIOS

    table = build_table(f"{state.seconds:5.1f} s · {state.note}")
    for column in ("scenario", "sent", "under way", "as expected", "unexpected"):
        table.add_column(column, justify="left" if column == "scenario" else "right")
    for scenario in SCENARIOS:
        entries = [entry for entry in state.progress.values() if entry.scenario is scenario]
        decided = [entry for entry in entries if entry.decision is not None]
        good = sum(entry.decision.outcome is scenario.expected for entry in decided if entry.decision)
        row = (len(entries), len(entries) - len(decided), good, len(decided) - good)
        table.add_row(scenario.name, *(str(count) if count else "·" for count in row))
    return table


def _describe_event(state: "Demo", entry: Any) -> str:
    clock = f"{state.seconds:6.1f} s "
    if entry is None:
        return f"{clock} {state.note}"
    sent = entry.sent
    head = f"{clock} {sent.ends.name} #{sent.envelope.nonce}"
    if entry.decision is None:
        return f"{head} sent: {entry.scenario.name}"
    outcome = entry.decision.outcome.name.lower()
    return f"{head} {outcome} after {entry.blocks} blocks, {entry.gas:,} gas: {entry.scenario.name}"


def _render_results(state: "Demo") -> "RenderableType":
    from comity.devnet.demo import group_results

    table = build_table("outcomes")
    for column in ("lane", "outcome", "envelopes", "blocks, median", "blocks, longest", "gas, median"):
        table.add_column(column, justify="left" if column in ("lane", "outcome") else "right")
    for lane, outcome, *numbers in group_results(list(state.progress.values())):
        colour = _MARKS.get(outcome, "white")
        table.add_row(lane, f"[{colour}]{outcome}[/{colour}]", *(f"{number:,}" for number in numbers))
    return table
