"""`comity deploy`: what the configuration asks for and the chains lack, shown or done."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comity.cli.output import ConfigFlag, JsonFlag, YesFlag, emit_json, emit_table, quiet_logs
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
            if apply and not is_complete(steps):
                _confirm(steps, yes=yes, non_interactive=non_interactive, json=json)
                load_artifacts(["Authority", "Gate", "Router", "Attestation"])
                await deployment.apply()
                steps = await deployment.plan()
            _emit(steps, json)
            if apply and not is_complete(steps):
                raise NotReady("announced acts wait for the owner's delay", next_step="comity deploy --apply")

    asyncio.run(run())


def _confirm(steps: "list[Step]", *, yes: bool, non_interactive: bool, json: bool) -> None:
    if yes:
        return
    import sys

    if non_interactive or json or not sys.stdin.isatty():
        raise ConfigError("deploying needs a yes", next_step="comity deploy --apply --yes")
    _emit(steps, False)
    typer.confirm("Do what is missing?", abort=True, err=True)


def _emit(steps: "list[Step]", as_json: bool) -> None:
    if as_json:
        emit_json({"steps": [{"chain": s.chain, "what": s.what, "state": str(s.state), "due": s.due} for s in steps]})
    else:
        emit_table("", ("chain", "step", "state"), [[step.chain, step.what, str(step.state)] for step in steps])
