"""A local Anvil node as a context manager, for the devnet and the tests.

Trusts the binary that it finds. The node binds the loopback interface only, keeps its files in a directory of its own,
and dies with the process that started it.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from comity.core.errors import ConfigError, Unavailable

_PACKAGED = Path("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil")
_STARTED = "started.json"
_READY_SECONDS = 20.0
_PORT_ATTEMPTS = 5
_PR_SET_PDEATHSIG = 1
DEFAULT_GAS_LIMIT = 100_000_000


def find_anvil() -> Path:
    """The Anvil binary: `COMITY_ANVIL`, else `PATH`, else the npm package beside the project.

    Raises: ConfigError.
    """
    named = os.environ.get("COMITY_ANVIL")
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigError("COMITY_ANVIL names no executable", path=named, next_step="unset COMITY_ANVIL")
        return Path(named)
    if on_path := shutil.which("anvil"):
        return Path(on_path)
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents):
        if os.access(folder / _PACKAGED, os.X_OK):
            return folder / _PACKAGED
    raise ConfigError("anvil not found", next_step="run `npm ci` or `make setup`, or set COMITY_ANVIL to the binary")


class Anvil:
    """One chain. `async with Anvil(…)`, or `start()` and `stop()` from synchronous code.

    Its files lie in a directory of their own, in `folder` or else where the system keeps temporary files.
    """

    def __init__(
        self,
        chain_id: int,
        *,
        port: int = 0,
        block_time: float | None = None,
        slots_in_an_epoch: int = 1,
        timestamp: int | None = None,
        gas_limit: int = DEFAULT_GAS_LIMIT,
        extra_args: Sequence[str] = (),
        ipc: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.chain_id = chain_id
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self._ipc = ipc
        self._parent = folder
        self._folder: Path | None = None
        self._fixed_port = port
        self._arguments = [
            *("--silent", "--host", "127.0.0.1", "--hardfork", "prague", "--order", "fifo"),
            *("--chain-id", str(chain_id), "--gas-limit", str(gas_limit)),
            *("--slots-in-an-epoch", str(slots_in_an_epoch)),
            *(() if block_time is None else ("--block-time", str(block_time))),
            *(() if timestamp is None else ("--timestamp", str(timestamp))),
            *extra_args,
        ]

    @property
    def url(self) -> str:
        """The HTTP endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """The WebSocket endpoint."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def ipc_path(self) -> Path:
        """The IPC socket; there is one only with `ipc=True`."""
        if self._folder is None or not self._ipc:
            raise ConfigError("this node has no IPC socket", next_step="start it with ipc=True")
        return self._folder / "anvil.ipc"

    def start(self) -> Self:
        """Start the node and wait until it answers. Raises: ConfigError, Unavailable."""
        binary = find_anvil()
        self._folder = Path(tempfile.mkdtemp(prefix="comity-anvil-", dir=self._parent))
        try:
            for _ in range(_PORT_ATTEMPTS):
                self._launch(binary)
                if self._is_ready():
                    return self
                self._kill()
                if self._fixed_port:
                    break
            raise Unavailable("anvil did not start", port=self.port, said=self._read_log())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the node and remove its files; safe to call twice."""
        self._kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def __aenter__(self) -> Self:
        # In a thread, PR_SET_PDEATHSIG would fire when that thread ends: start here, where it lasts.
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self.stop))

    def _launch(self, binary: Path) -> None:
        assert self._folder is not None
        self.port = self._fixed_port or _find_free_port()
        (self._folder / _STARTED).unlink(missing_ok=True)
        arguments = [*self._arguments, "--port", str(self.port), "--cache-path", str(self._folder / "cache")]
        arguments += ["--config-out", str(self._folder / _STARTED)]
        if self._ipc:
            arguments += ["--ipc", str(self._folder / "anvil.ipc")]
        with (self._folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_build_death_signal(),  # noqa: PLW1509 - one system call, which takes no lock
            )

    def _is_ready(self) -> bool:
        """True once the node answers; False when it ended, as it does when another process took the port.

        An answer alone could be that other process's: the node writes its configuration only once the port is its own.
        """
        assert self.process is not None
        assert self._folder is not None
        until = time.monotonic() + _READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            if (self._folder / _STARTED).exists() and _answers(self.url) and (not self._ipc or self.ipc_path.exists()):
                return True
            time.sleep(0.01)
        return False

    def _kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()

    def _read_log(self) -> str:
        log = self._folder / "log" if self._folder is not None else None
        return log.read_text(errors="replace")[-500:].strip() if log is not None and log.exists() else ""


def start_anvil(chain_id: int, **options: Any) -> Anvil:
    """A started node for synchronous fixtures; end it with `.stop()`. Options as of `Anvil`."""
    return Anvil(chain_id, **options).start()


def _answers(url: str) -> bool:
    request = urllib.request.Request(  # noqa: S310 - our own loopback URL
        url,
        data=b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}',
        headers={"content-type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _build_death_signal() -> Callable[[], None] | None:
    """On Linux, have the kernel kill the node when its parent dies, however it dies."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
