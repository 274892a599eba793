"""`comity attest run` and `comity relay run`: one agent in this process until it is told to stop."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from comity.cli.output import ConfigFlag, JsonFlag, emit_json

if TYPE_CHECKING:
    from comity.config import LoadedConfig
    from comity.core.types import Address

attest_app = typer.Typer(help="Attest the words of lanes in final blocks.", no_args_is_help=True)
relay_app = typer.Typer(help="Deliver and expire envelopes.", no_args_is_help=True)

KeyFlag = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Key file, instead of the configured one.")]
ListenFlag = Annotated[str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where to serve.")]
DataFlag = Annotated[Path | None, typer.Option("--data", metavar="FILE", help="The store, instead of the default.")]
MetricsFlag = Annotated[
    int | None, typer.Option("--metrics-port", metavar="PORT", help="Serve Prometheus metrics on loopback.")
]

_DEFAULT_LISTEN = "127.0.0.1:8547"


@attest_app.command("run")
def attest_run(
    *,
    key: KeyFlag = None,
    listen: ListenFlag = None,
    data: DataFlag = None,
    metrics_port: MetricsFlag = None,
    config: ConfigFlag = None,
    json: JsonFlag = False,
) -> None:
    """Sign what is final, and serve the signatures."""
    from comity.agents.assembly import build_attestor, build_quorum, find_set
    from comity.sdk.keys import load_signer

    loaded = _load(config)
    signer = load_signer(key or loaded.resolve_key(loaded.config.attest.key, "attest.key"))
    named = find_set(loaded.config, signer.address)
    host, port = _split(listen or loaded.config.attest.listen or _find_listen(loaded, named, signer.address))

    def build(stack: Any, store: Any, metrics: Any) -> Any:
        quorums = {name: build_quorum(chain) for name, chain in loaded.config.chains.items()}
        for quorum in quorums.values():
            stack.push_async_callback(quorum.close)
        return build_attestor(loaded.config, quorums, signer, store, metrics, listen=(host, port))

    _announce({"agent": "attestor", "signer": signer.address, "set": named, "listen": f"{host}:{port}"}, json)
    _run(data or loaded.data / f"attestor-{signer.address.hex()}.sqlite", metrics_port, build)


@relay_app.command("run")
def relay_run(
    *,
    key: KeyFlag = None,
    data: DataFlag = None,
    metrics_port: MetricsFlag = None,
    config: ConfigFlag = None,
    json: JsonFlag = False,
) -> None:
    """Deliver envelopes on every configured lane."""
    from comity.agents.assembly import build_relayer
    from comity.sdk.keys import load_signer

    loaded = _load(config)
    signer = load_signer(key or loaded.resolve_key(loaded.config.relay.key, "relay.key"))

    def build(_stack: Any, store: Any, metrics: Any) -> Any:
        return build_relayer(loaded.config, signer, store, metrics)

    _announce({"agent": "relayer", "signer": signer.address, "lanes": len(loaded.config.list_lanes())}, json)
    _run(data or loaded.data / f"relayer-{signer.address.hex()}.sqlite", metrics_port, build)


def _run(data: Path, metrics_port: int | None, build: Any) -> None:
    from contextlib import AsyncExitStack

    from comity.agents.runner import run_agents
    from comity.store.sqlite import SqliteStore
    from comity.telemetry import Metrics, configure_logging, serve_metrics

    configure_logging()
    metrics = Metrics()
    data.parent.mkdir(parents=True, exist_ok=True)

    async def inside() -> None:
        async with AsyncExitStack() as stack:
            if metrics_port is not None:
                stack.enter_context(serve_metrics(metrics, port=metrics_port))
            store = SqliteStore(data)
            stack.callback(store.close)
            await run_agents([build(stack, store, metrics)], metrics)

    asyncio.run(inside())


def _announce(fields: dict[str, Any], as_json: bool) -> None:
    """Say on stdout what runs; the rest of its life is in the log, on stderr."""
    if as_json:
        emit_json(fields)
        return
    text = " · ".join(f"{name} {'0x' + v.hex() if isinstance(v, bytes) else v}" for name, v in fields.items())
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _load(config: str | None) -> "LoadedConfig":
    from comity.config import load_config

    return load_config(Path(config) if config else None)


def _find_listen(loaded: "LoadedConfig", set_name: str, member: "Address") -> str:
    """The loopback address that the set names for this member: elsewhere, a proxy may stand before it."""
    url = urlsplit(loaded.config.sets[set_name].find_url(member) or "")
    return url.netloc if url.scheme == "http" and url.hostname in ("127.0.0.1", "localhost") else _DEFAULT_LISTEN


def _split(listen: str) -> tuple[str, int]:
    from comity.core.errors import ConfigError

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError("an address to listen on is host:port", listen=listen)
    return host, int(port)
