"""`comity trace`: one envelope's story, stage by stage, and the next command when it is stuck."""

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from comity.cli.envelopes import IdentifierArgument, load, parse_hash, run_client
from comity.cli.output import ConfigFlag, JsonFlag, complete_step, emit, emit_json, show, show_result
from comity.core.errors import NotReady

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from comity.config import LoadedConfig
    from comity.core.types import Address
    from comity.sdk.client import Client
    from comity.sdk.trace import Trace

_COLOURS = {"executed": "green", "filled": "green", "failed": "red", "expired": "yellow", "cancelled": "yellow"}


def trace(*, identifier: IdentifierArgument, config: ConfigFlag = None, json: JsonFlag = False) -> None:
    """Tell where an envelope is; when stuck, why and the next command.

    Exit code 0 when it is decided, 6 when it is not.
    """
    from comity.sdk.trace import trace as build_trace

    named = parse_hash(identifier)
    loaded = load(config)

    async def run(client: "Client") -> None:
        story = await build_trace(client, named, start_attestor=build_advice(loaded))
        if json:
            emit_json(describe_trace(story))
        else:
            emit(render_trace(story))
        if story.outcome is None:
            raise typer.Exit(NotReady.exit_code)

    run_client(loaded, run)


def build_advice(loaded: "LoadedConfig") -> "Callable[[Address], str]":
    """Say how a member's attestor is started: a devnet's keys are here, elsewhere its operator has the key."""
    from comity.devnet.keys import find_key
    from comity.sdk.trace import advise_attestor

    def advise(member: "Address") -> str:
        key = find_key(loaded, member)
        return f"comity attest run --key {shlex.quote(_shorten_path(key))}" if key else advise_attestor(member)

    return advise


def _shorten_path(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def describe_trace(story: "Trace") -> dict[str, Any]:
    """A trace as JSON tells it."""
    return {
        "id": story.id,
        "lane": story.lane,
        "nonce": story.envelope.nonce,
        "outcome": story.outcome.name.lower() if story.outcome else None,
        "stages": [
            {
                "name": stage.name,
                "chain": stage.chain,
                "done": stage.is_done,
                "block": stage.block,
                "time": stage.time,
                **stage.details,
            }
            for stage in story.stages
        ],
        "obstacles": [
            {"why": obstacle.why, "next_steps": [complete_step(step, sys.argv) for step in obstacle.next_steps]}
            for obstacle in story.obstacles
        ],
    }


def render_trace(story: "Trace") -> "RenderableType":
    """Lay out a trace for people."""
    from rich.text import Text
    from rich.tree import Tree

    outcome = story.outcome.name.lower() if story.outcome else "undecided"
    head = Text.assemble((f"envelope 0x{story.id.hex()}", "bold"), f"\n{story.lane} · nonce {story.envelope.nonce} · ")
    tree = Tree(head.append(outcome, _COLOURS.get(outcome, "cyan")), guide_style="dim")
    for stage in story.stages:
        mark = ("✓ ", "green") if stage.is_done else ("… ", "yellow")
        lines = [line for line in _DESCRIBE[stage.name](stage.details) if line]
        block = "" if stage.block is None else f"  block {stage.block}"
        clock = "" if stage.time is None else f"  {datetime.fromtimestamp(stage.time, UTC):%H:%M:%S}"
        branch = Text.assemble(mark, (f"{stage.name:<11}", "bold"), f"{stage.chain}{block}{clock}")
        branch.append("".join(f"  {line}" if place == 0 else f"\n  {line}" for place, line in enumerate(lines)))
        tree.add(branch)
    for obstacle in story.obstacles:
        reason = Text(obstacle.why, style="yellow")
        for step in obstacle.next_steps:
            reason.append(f"\n→ {complete_step(step, sys.argv)}", "bold default")
        tree.add(reason)
    return tree


def _describe_dispatched(details: dict[str, Any]) -> list[str]:
    gas = "" if details["gas"] is None else f"gas {details['gas']:,}"
    return [gas, f"transaction {show(details['transaction'])}"]


def _describe_final(details: dict[str, Any]) -> list[str]:
    to_go = details["blocks_to_go"]
    return [f"by `{details['rule']}`" + (f": {to_go} block{'s' if to_go > 1 else ''} to go" if to_go else "")]


def _describe_attested(details: dict[str, Any]) -> list[str]:
    lines = []
    for found in details["verifiers"]:
        line = f"verifier {found['index']} ({found['set'] or 'not configured here'}): "
        if "proof_bytes" not in found:
            line += f"{found['signed']} of {found['members']} signed, {found['threshold']} needed"
        elif "signed" in found:
            line += f"{found['signed']} of {found['members']} signatures, {found['proof_bytes']} bytes"
        else:
            line += f"{found['proof_bytes']} bytes"
        lines.append(line)
    return lines


def _describe_delivered(details: dict[str, Any]) -> list[str]:
    run, gas = details["run"], details["gas"]
    paid = f"gas {gas:,}" if run == 1 else f"gas {details['gas_per_entry']:,}, of {gas:,} for {run} envelopes"
    return [paid, f"transaction {show(details['transaction'])}"]


def _describe_decided(details: dict[str, Any]) -> list[str]:
    lines = [details["outcome"] + (f": {details['reason']}" if details["reason"] else "")]
    if details["result"] and details["reason"] is None:
        lines.append(f"reply {show_result(details['result'])}")
    lines.append(f"receipt {details['receipt']}, for {show(details['beneficiary'])}")
    if details["outcome"] == "expired":
        lines.append(f"transaction {show(details['transaction'])}")
    return lines


_DESCRIBE: "dict[str, Callable[[dict[str, Any]], list[str]]]" = {
    "dispatched": _describe_dispatched,
    "final": _describe_final,
    "attested": _describe_attested,
    "delivered": _describe_delivered,
    "decided": _describe_decided,
}
