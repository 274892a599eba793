"""`comity dev`: a devnet in the foreground or in the background, ended by exactly the process that was started."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from comity.cli.output import JsonFlag, emit_json, emit_table, get_console, quiet_logs
from comity.core.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from comity.core.types import Address
    from comity.devnet.devnet import Devnet

app = typer.Typer(help="Run a devnet: chains, contracts, attestors and a relayer.", no_args_is_help=True)

STATE: Final = Path(".comity/dev.json")
FOLDER: Final = Path(".comity/dev")
LOG: Final = Path(".comity/dev.log")
READY_SECONDS: Final = 120
STOP_SECONDS: Final = 15
_LOG_LINES: Final = 5

ChainsFlag = Annotated[int, typer.Option("--chains", metavar="N", min=2, max=6, help="Every ordered pair is a lane.")]
BlockTimeFlag = Annotated[int, typer.Option("--block-time", metavar="SECONDS", min=1, help="Between blocks.")]
InstantFlag = Annotated[bool, typer.Option("--instant", help="Mine each transaction at once, too.")]
AgentsFlag = Annotated[
    bool, typer.Option("--agents/--no-agents", help="Run attestors and relayer, or leave them to you.")
]


@app.command()
def up(
    *,
    chains: ChainsFlag = 3,
    block_time: BlockTimeFlag = 1,
    instant: InstantFlag = False,
    agents: AgentsFlag = True,
    background: Annotated[bool, typer.Option("--background", help="Return once it runs.")] = False,
    json: JsonFlag = False,
) -> None:
    """Start a devnet, which the other commands find by themselves."""
    running = load_state()
    if running is not None:
        raise ConfigError("a devnet runs here already", pid=running["pid"], next_step="comity dev down")
    if background:
        arguments = ["--chains", str(chains), "--block-time", str(block_time)]
        arguments += [*(["--instant"] if instant else []), *([] if agents else ["--no-agents"])]
        _emit_state(_start_in_background(arguments), json)
        return
    from comity.devnet.devnet import DevnetOptions
    from comity.telemetry import configure_logging

    configure_logging()
    options = DevnetOptions(chains=chains, block_seconds=block_time, instant=instant)
    asyncio.run(_run_in_foreground(options, json, agents=agents))


@app.command()
def down(*, json: JsonFlag = False) -> None:
    """End the devnet that `dev up` started here, and nothing else."""
    state = load_state()
    if state is not None:
        _stop(state)
    STATE.unlink(missing_ok=True)
    # One that was killed could not do it.
    shutil.rmtree(FOLDER, ignore_errors=True)
    if json:
        emit_json({"stopped": state is not None} | ({"pid": state["pid"]} if state else {}))
    else:
        get_console().print(f"stopped {state['pid']}" if state else "no devnet runs here", markup=False)


@app.command()
def status(*, json: JsonFlag = False) -> None:
    """Show the devnet's chains and attestors, and how they are."""
    state = load_state()
    if state is None:
        # Whoever ends it clears the folder away.
        why = {"log": str(LOG)} if FOLDER.exists() else {}
        raise Unavailable("it ended by itself" if why else "no devnet runs here", next_step="comity dev up", **why)
    from comity.cli.doctor import inspect, print_checks
    from comity.config import load_config

    quiet_logs()
    checks = asyncio.run(inspect(load_config(Path(state["config"]))))
    is_well = all(row["ok"] for row in checks)
    if json:
        emit_json({"ok": is_well, **state, "checks": checks})
    else:
        _emit_state(state, json)
        print_checks(checks)
    if not is_well:
        raise typer.Exit(Unavailable.exit_code)


def load_state() -> dict[str, Any] | None:
    """Return what `dev up` wrote, if that very process still runs."""
    import msgspec

    try:
        state: dict[str, Any] = msgspec.json.decode(STATE.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return state if _is_same_process(state) else None


def _stop(state: dict[str, Any]) -> None:
    pid = state["pid"]
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _is_same_process(state) and time.monotonic() < deadline:
        time.sleep(0.05)
    if _is_same_process(state):
        # Its chains die with it.
        os.kill(pid, signal.SIGKILL)


def _is_same_process(state: dict[str, Any]) -> bool:
    """A process id is used again; with its start time it names one process."""
    return bool(_read_start_time(state["pid"]) == state["started"])


def _read_start_time(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _save_state(devnet: "Devnet", guestbooks: "dict[str, Address]", *, agents: bool) -> dict[str, Any]:
    import msgspec

    state = {
        "pid": os.getpid(),
        "started": _read_start_time(os.getpid()),
        "config": str(devnet.loaded.path),
        "agents": agents,
        "chains": {
            name: {"chain": chain.chain, "rpc": chain.rpc[0], "guestbook": "0x" + guestbooks[name].hex()}
            for name, chain in devnet.config.chains.items()
        },
    }
    STATE.parent.mkdir(parents=True, exist_ok=True)
    partial = STATE.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(state))
    partial.replace(STATE)
    return state


async def _run_in_foreground(options: Any, json: bool, *, agents: bool) -> None:
    from comity.devnet.devnet import run_devnet

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with run_devnet(options, FOLDER.absolute(), agents=False) as devnet:
            guestbooks = await _deploy_guestbooks(devnet)
            if agents:
                devnet.start_attestors()
                devnet.start_relayer()
            _emit_state(_save_state(devnet, guestbooks, agents=agents), json)
            while not stop.is_set():
                devnet.check()
                try:
                    await asyncio.wait_for(stop.wait(), 1.0)
                except TimeoutError:
                    continue
    finally:
        STATE.unlink(missing_ok=True)
    shutil.rmtree(FOLDER, ignore_errors=True)


async def _deploy_guestbooks(devnet: "Devnet") -> "dict[str, Address]":
    """A receiver on every chain, so that there is somebody to write to."""
    from comity.compiler import load_artifacts
    from comity.core.policy import Policy
    from comity.devnet.apps import GUESTBOOK, deploy_app

    await asyncio.to_thread(load_artifacts, [GUESTBOOK])
    chains = devnet.client.chains.values()
    async with devnet.instant_mining():
        policy = Policy(required=frozenset({0}))
        apps = await asyncio.gather(*(deploy_app(devnet, chain, GUESTBOOK, policy) for chain in chains))
    return dict(zip(devnet.client.chains, apps, strict=True))


def _start_in_background(arguments: list[str]) -> dict[str, Any]:
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "comity", "dev", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        state = load_state()
        if state is not None and state["pid"] == process.pid:
            return state
        if process.poll() is not None:
            said = LOG.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:]
            sys.stderr.write("\n".join(said) + "\n")
            raise Unavailable("the devnet did not start", next_step=f"read {LOG}", exit_code=process.returncode)
        time.sleep(0.1)
    process.terminate()
    raise Unavailable("the devnet did not start in time", next_step=f"read {LOG}", seconds=READY_SECONDS)


def _emit_state(state: dict[str, Any], json: bool) -> None:
    if json:
        emit_json(state)
        return
    columns = ("chain", "rpc", "guestbook")
    rows = [[name, *(chain[column] for column in columns)] for name, chain in state["chains"].items()]
    emit_table("", ("name", *columns), rows)
    first, second = list(state["chains"])[:2]
    book = state["chains"][second]["guestbook"]
    lines = [
        f"configuration  {os.path.relpath(state['config'])}, found by itself from this folder",
        f"try it         comity send {first} {second} {book} '? how many' --wait",
        "end it         comity dev down",
    ]
    if not state["agents"]:
        lines.insert(1, "agents         none yet: comity relay run, and the attestors that comity dev status names")
    get_console().print("\n".join(lines), markup=False, soft_wrap=True)
