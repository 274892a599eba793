"""`comity deploy`: what the configuration asks for and the chains lack, shown or done."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comity.cli.output import (
    ConfigFlag,
    JsonFlag,
    YesFlag,
    complete_step,
    emit_json,
    emit_table,
    exit_after_output,
    quiet_logs,
    show_time,
)
from comity.core.errors import ConfigError, NotReady

if TYPE_CHECKING:
    from comity.devnet.plan import Step

NonInteractiveFlag = Annotated[bool, typer.Option("--non-interactive", help="Refuse instead of asking.")]


def deploy(
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Show what is missing, and do nothing.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Do what is missing; run it again after the delay.")] = False,
    yes: YesFlag = False,
    non_interactive: NonInteractiveFlag = False,
    config: ConfigFlag = None,
    json: JsonFlag = False,
) -> None:
    """Deploy contracts and open lanes, as comity.toml asks.

    Exit code 6 while announced acts wait for the owner's delay: run --apply again after it.
    """
    if plan == apply:
        raise typer.BadParameter("give one of --plan and --apply")
    from comity.compiler import load_artifacts
    from comity.config import load_config
    from comity.devnet.plan import Deployment, is_complete
    from comity.sdk.client import Client
    from comity.sdk.keys import load_signer

    quiet_logs()
    loaded = load_config(Path(config) if config else None)
    signer = load_signer(loaded.resolve_key(loaded.config.owner.key, "owner.key")) if apply else None

    async def run() -> None:
        async with Client(loaded.config) as client:
            deployment = Deployment(loaded, client, signer)
            steps = await deployment.plan()
            if apply and not is_complete(steps) and not _is_blocked(steps):
                _confirm(steps, yes=yes, non_interactive=non_interactive, json=json)
                load_artifacts(["Authority", "Gate", "Router", "Attestation"])
                await deployment.apply()
                steps = await deployment.plan()
            now = max([await chain.fetch_time() for chain in client.chains.values()])
            step = _find_next(steps, now, str(loaded.path))
            _emit(steps, json, step)
            if apply and step:
                waiting = NotReady("announced acts wait for the owner's delay", next_step=step)
                blocked = ConfigError("an address in the configuration is wrong", next_step=step)
                exit_after_output(blocked if _is_blocked(steps) else waiting)

    asyncio.run(run())


def _confirm(steps: "list[Step]", *, yes: bool, non_interactive: bool, json: bool) -> None:
    if yes:
        return
    if non_interactive or json or not sys.stdin.isatty():
        raise ConfigError("deploying needs a yes", next_step="comity deploy --apply --yes")
    _emit(steps, False, None)
    typer.confirm("Do what is missing?", abort=True, err=True)


def _is_blocked(steps: "list[Step]") -> bool:
    from comity.devnet.plan import State

    return any(step.state is State.BLOCKED for step in steps)


def _find_next(steps: "list[Step]", now: int, path: str) -> str | None:
    """The command that brings the deployment further; None when it is done."""
    from comity.devnet.plan import State, is_complete

    if is_complete(steps):
        return None
    if _is_blocked(steps):
        return f"correct the addresses in {path}: nothing stands there, or something else"
    waits = [max(0, step.due - now + 1) if step.due else 0 for step in steps if step.state is not State.DONE]
    return (f"sleep {max(waits)}; " if max(waits) else "") + "comity deploy --apply"


def _emit(steps: "list[Step]", as_json: bool, next_step: str | None) -> None:
    if as_json:
        rows = [{"chain": s.chain, "what": s.what, "state": str(s.state), "due": s.due} for s in steps]
        emit_json({"steps": rows, "next_step": complete_step(next_step, sys.argv) if next_step else None})
        return
    emit_table(
        "",
        ("chain", "step", "state"),
        [[s.chain, s.what, f"{s.state}, due {show_time(s.due)}" if s.due else str(s.state)] for s in steps],
    )
    if next_step:
        sys.stdout.write(f"next: {complete_step(next_step, sys.argv)}\n")
