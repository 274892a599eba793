"""`comity demo`: a devnet, and envelopes of every kind over all of its lanes, shown while they go."""

import asyncio
import html
import re
import tempfile
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comity.cli.output import JsonFlag, build_table, emit, emit_json, get_console, show

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from comity.devnet.demo import Demo, Progress

_PICTURE_WIDTH = 96
_FRAMES = 8
"""A second, on a terminal."""
_COLOURS = {"executed": "green", "failed": "red", "expired": "yellow", "undecided": "cyan"}


def demo(
    *,
    chains: Annotated[
        int, typer.Option("--chains", metavar="N", min=2, max=6, help="Every ordered pair is a lane.")
    ] = 3,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Save the results as a picture.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the agents' logs on stderr.")] = False,
    json: JsonFlag = False,
) -> None:
    """Run a devnet and show envelopes of every kind on it.

    Exit code 0 only when every one of them came out as it must.
    """
    from comity.devnet.demo import run_demo
    from comity.devnet.devnet import DevnetOptions
    from comity.telemetry import configure_logging

    configure_logging(level="info" if verbose else "critical")
    screen = _Screen(get_console(stderr=json))
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
        _save_picture(svg, screen.picture)
    if done.unexpected:
        raise typer.Exit(1)


class _Screen:
    """Shows a demonstration: live on a terminal, else a line for each thing that happens."""

    def __init__(self, console: "Console") -> None:
        self.console = console
        self.picture: list[RenderableType] = []
        """What a picture of it shows: known at its end."""
        self._live: Live | None = None

    def __enter__(self) -> "_Screen":
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, state: "Demo") -> None:
        """Follow a demonstration from now on."""
        if not self.console.is_terminal:
            state.on_change = lambda entry: self.console.print(
                _describe_event(state, entry), markup=False, soft_wrap=True
            )
            return
        from rich.live import Live

        self._live = Live(
            console=self.console, get_renderable=lambda: _render_progress(state), refresh_per_second=_FRAMES
        )
        self._live.start()

    async def finish(self, state: "Demo") -> None:
        """Show the results and one whole trace."""
        from comity.cli.traces import render_trace
        from comity.devnet.demo import verify_apps
        from comity.sdk.trace import trace

        if self._live is not None:
            self._live.stop()
        else:
            emit(_render_progress(state), self.console)
        if not state.unexpected:
            await verify_apps(state)
        emit(_render_results(state), self.console)
        shown = _choose_for_trace(state)
        story = [render_trace(await trace(state.devnet.client, shown.sent.id))] if shown else []
        verdict = _render_verdict(state)
        for part in (*story, "", verdict):
            emit(part, self.console)
        self.picture = [_render_progress(state), *story, "", verdict]


def _save_picture(path: Path, parts: "list[RenderableType]") -> None:
    """Write the end of a demonstration as SVG, without the fonts that rich would load from elsewhere."""
    from rich.console import Console

    console = Console(record=True, width=_PICTURE_WIDTH, force_terminal=True, highlight=False, file=StringIO())
    for part in parts:
        console.print(part)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="comity demo"), flags=re.DOTALL)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_SPACED_TEXT.sub(_trim_text, svg))


_SPACED_TEXT = re.compile(
    r' x="([\d.]+)"( y="[\d.]+") textLength="([\d.]+)"([^>]*>)((?:&#160;)*)(.*?)((?:&#160;)*)</text>'
)
_SPACE = "&#160;"


def _trim_text(text: "re.Match[str]") -> str:
    """Place a text where its first letter is: some viewers drop the spaces around it."""
    x, y, length, rest, before, letters, after = text.groups()
    left, right = len(before) // len(_SPACE), len(after) // len(_SPACE)
    width = float(length) / max(1, left + right + len(html.unescape(letters)))
    x, length = f"{float(x) + left * width:.1f}", f"{float(length) - (left + right) * width:.1f}"
    return f' x="{x}"{y} textLength="{length}"{rest}{letters}</text>'


def _choose_for_trace(state: "Demo") -> "Progress | None":
    """The envelope with the most to tell: executed, with a reply."""
    decided = [entry for entry in state.progress.values() if entry.decision]
    replied = [entry for entry in decided if entry.is_expected and entry.decision and entry.decision.result]
    return max(replied, key=lambda entry: entry.scenario.expected.name == "EXECUTED", default=None)


def _render_progress(state: "Demo") -> "RenderableType":
    """A row for each kind of envelope: how it must end, and how many have."""
    from comity.devnet.demo import SCENARIOS, summarize

    table = build_table(f"{state.seconds:.1f} s · {state.note}")
    for column in ("", "envelopes", "sent", "waiting", "must be", "are", "blocks", "gas each"):
        table.add_column(column, justify="left" if column in ("", "envelopes", "must be") else "right")
    for scenario in SCENARIOS:
        summary = summarize([entry for entry in state.progress.values() if entry.scenario is scenario])
        done = summary.sent - summary.waiting
        mark = "[bold red]✗" if summary.unexpected else "[green]✓" if done and not summary.waiting else "[yellow]…"
        outcome = scenario.expected.name.lower()
        sent, waiting, right, blocks, gas = (
            show(count) if count else "·"
            for count in (summary.sent, summary.waiting, done - summary.unexpected, summary.blocks, summary.gas)
        )
        table.add_row(mark, scenario.name, sent, waiting, f"[{_COLOURS[outcome]}]{outcome}", right, blocks, gas)
    return table


def _render_results(state: "Demo") -> "RenderableType":
    """A row for each lane and outcome."""
    from comity.devnet.demo import group_results

    table = build_table("")
    for column in ("lane", "outcome", "envelopes", "latency in blocks", "longest", "gas each"):
        table.add_column(column, justify="left" if column in ("lane", "outcome") else "right")
    above = ""
    for (lane, outcome), summary in group_results(state.progress.values()).items():
        cells = (summary.sent, summary.blocks, summary.longest, summary.gas)
        table.add_row(lane if lane != above else "", f"[{_COLOURS.get(outcome, 'white')}]{outcome}", *map(show, cells))
        above = lane
    return table


def _render_verdict(state: "Demo") -> "RenderableType":
    from rich.text import Text

    counts = ", ".join(f"{count} {name}" for name, count in state.count_outcomes().items() if count)
    text = Text(f"{len(state.progress)} envelopes in {state.seconds:.1f} s: {counts}; ")
    if not state.unexpected:
        return text.append("every outcome is the expected one", "bold green")
    text.append(f"{len(state.unexpected)} not as expected", "bold red")
    for entry in state.unexpected:
        outcome = entry.decision.outcome.name.lower() if entry.decision else "undecided"
        text.append(f"\n{entry.sent.ends.name} #{entry.sent.envelope.nonce}, {entry.scenario.name}: {outcome}")
    return text


def _describe_event(state: "Demo", entry: Any) -> str:
    clock = f"{state.seconds:6.1f} s "
    if entry is None:
        return f"{clock} {state.note}"
    sent = entry.sent
    head = f"{clock} {sent.ends.name} #{sent.envelope.nonce}, {entry.scenario.name}:"
    if entry.decision is None:
        return f"{head} sent"
    outcome = entry.decision.outcome.name.lower()
    return f"{head} {outcome} after {entry.blocks} blocks, {entry.gas:,} gas"
