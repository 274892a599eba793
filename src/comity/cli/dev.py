"""`comity dev`: a devnet in the foreground or in the background, ended by exactly the process that was started."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from comity.cli.output import JsonFlag, emit_json, emit_table, get_console
from comity.core.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from comity.devnet.devnet import Devnet

app = typer.Typer(help="Run a devnet: chains, contracts, attestors and a relayer.", no_args_is_help=True)

STATE: Final = Path(".comity/dev.json")
FOLDER: Final = Path(".comity/dev")
LOG: Final = Path(".comity/dev.log")
READY_SECONDS: Final = 120
STOP_SECONDS: Final = 15

ChainsFlag = Annotated[int, typer.Option("--chains", help="Chains; every ordered pair is a lane.")]
BlockTimeFlag = Annotated[int, typer.Option("--block-time", min=1, help="Seconds between blocks.")]
InstantFlag = Annotated[bool, typer.Option("--instant", help="Mine each transaction at once, too.")]


@app.command()
def up(
    *,
    chains: ChainsFlag = 3,
    block_time: BlockTimeFlag = 1,
    instant: InstantFlag = False,
    background: Annotated[bool, typer.Option("--background", help="Return once it runs.")] = False,
    json: JsonFlag = False,
) -> None:
    """Start a devnet; the other commands find its comity.toml by themselves."""
    running = load_state()
    if running is not None:
        raise ConfigError("a devnet runs already", pid=running["pid"], next_step="comity dev down")
    if background:
        arguments = ["--chains", str(chains), "--block-time", str(block_time), *(["--instant"] if instant else [])]
        state = _start_in_background(arguments)
        _emit_state(state, json)
        return
    from comity.devnet.devnet import DevnetOptions
    from comity.telemetry import configure_logging

    configure_logging()
    options = DevnetOptions(chains=chains, block_seconds=block_time, instant=instant)
    asyncio.run(_run_in_foreground(options, json))


@app.command()
def down(*, json: JsonFlag = False) -> None:
    """End the devnet that `comity dev up` started, and no other process."""
    state = load_state()
    if state is None:
        _emit_down({"stopped": False}, json, "no devnet runs here")
        return
    pid = state["pid"]
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _is_same_process(state) and time.monotonic() < deadline:
        time.sleep(0.05)
    if _is_same_process(state):
        # Its chains die with it.
        os.kill(pid, signal.SIGKILL)
    STATE.unlink(missing_ok=True)
    _emit_down({"stopped": True, "pid": pid}, json, f"stopped {pid}")


@app.command()
def status(*, json: JsonFlag = False) -> None:
    """Show whether a devnet runs here, and how far its chains and attestors are."""
    state = load_state()
    if state is None:
        raise Unavailable("no devnet runs here", next_step="comity dev up")
    from comity.cli.doctor import inspect
    from comity.config import load_config

    report = asyncio.run(inspect(load_config(Path(state["config"]))))
    if json:
        emit_json({"pid": state["pid"], "config": state["config"], **report})
        return
    get_console().print(f"pid {state['pid']} · {state['config']}", markup=False)
    columns = ("check", "ok", "found")
    emit_table("", columns, [[row[name] for name in columns] for row in report["checks"]])


def load_state() -> dict[str, Any] | None:
    """Return what `dev up` wrote, if that very process still runs."""
    import msgspec

    try:
        state: dict[str, Any] = msgspec.json.decode(STATE.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return state if _is_same_process(state) else None


def _is_same_process(state: dict[str, Any]) -> bool:
    """A process id is used again; with its start time it names one process."""
    return bool(_read_start_time(state["pid"]) == state["started"])


def _read_start_time(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _save_state(devnet: "Devnet") -> dict[str, Any]:
    import msgspec

    state = {
        "pid": os.getpid(),
        "started": _read_start_time(os.getpid()),
        "config": str(devnet.loaded.path),
        "chains": {name: {"chain": c.chain, "rpc": c.rpc[0]} for name, c in devnet.config.chains.items()},
    }
    STATE.parent.mkdir(parents=True, exist_ok=True)
    partial = STATE.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(state))
    partial.replace(STATE)
    return state


async def _run_in_foreground(options: Any, json: bool) -> None:
    from comity.devnet.devnet import run_devnet

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with run_devnet(options, FOLDER.absolute()) as devnet:
        try:
            _emit_state(_save_state(devnet), json)
            while not stop.is_set():
                devnet.check()
                try:
                    await asyncio.wait_for(stop.wait(), 1.0)
                except TimeoutError:
                    continue
        finally:
            STATE.unlink(missing_ok=True)


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
            raise Unavailable("the devnet did not start", next_step=f"read {LOG}", exit_code=process.returncode)
        time.sleep(0.1)
    process.terminate()
    raise Unavailable("the devnet did not start in time", next_step=f"read {LOG}", seconds=READY_SECONDS)


def _emit_state(state: dict[str, Any], json: bool) -> None:
    if json:
        emit_json(state)
        return
    rows = [[name, chain["chain"], chain["rpc"]] for name, chain in state["chains"].items()]
    emit_table("devnet", ("name", "chain", "rpc"), rows)
    get_console().print(f"configuration {state['config']}\nend it with: comity dev down", markup=False)


def _emit_down(fields: dict[str, Any], json: bool, text: str) -> None:
    if json:
        emit_json(fields)
    else:
        get_console().print(text, markup=False)
