"""Logs and metrics of every agent: what an operator sees, and never a secret in it.

Logs go to stderr, events are `noun.verb` in the past tense, JSON unless stderr is a terminal. Every URL is cut to
scheme and host, because RPC URLs carry tokens in their user, path or query. Metrics are Prometheus, in base units,
labelled by chain and by the operator's name of a lane, never by an id.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

# the user's part ends at the last @ before the path, as a password may hold one
_URL: Final = re.compile(r"\b(https?|wss?)://(?:[^\s/?#]*@)?([^\s/?#@\"'<>]*)[^\s\"'<>)\]}]*", re.IGNORECASE)
_SECRET_NAME: Final = re.compile(
    r"secret|password|passphrase|private|mnemonic|token$|api_?key|authorization", re.IGNORECASE
)
_HIDDEN: Final = "***"


def configure_logging(*, level: str = "info", stream: TextIO | None = None, as_json: bool | None = None) -> None:
    """Send the logs of this process, those of its libraries too, to `stream` (stderr when None)."""
    out = stream or sys.stderr
    use_json = not out.isatty() if as_json is None else as_json
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact_event,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if use_json
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            # again at the end: a library's own traceback is only text by now
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact_event, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def redact_url(text: str) -> str:
    """Cut every URL in a text to its scheme and host."""
    return _URL.sub(lambda match: f"{match[1]}://{match[2]}", text)


def redact_event(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Hide secrets by name, cut URLs, and show bytes as hex."""
    return {name: _redact(str(name), value) for name, value in event.items()}


def _redact(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name):
        return _HIDDEN
    match value:
        case str():
            return redact_url(value)
        case bytes() | bytearray() | memoryview():
            return "0x" + bytes(value).hex()
        case Mapping():
            return {key: _redact(str(key), item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redact("", item) for item in value]
        case BaseException():
            return redact_url(f"{type(value).__name__}: {value}")
    return value


class Metrics:
    """The gauges and counters of one process; each instance has a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.backlog_age = self._gauge("backlog_age_seconds", "Age of the oldest undecided envelope.", "lane")
        self.backlog_envelopes = self._gauge("backlog_envelopes", "Undecided envelopes.", "lane")
        self.finality_lag = self._gauge("finality_lag_seconds", "Age of the newest final block.", "chain")
        self.signer_balance = self._gauge("signer_balance_wei", "What the signer has for gas.", "chain")
        self.nonce_gap = self._gauge("nonce_gap", "Transactions signed and not yet mined.", "chain")
        self.attested_nonce = self._gauge("attested_nonce", "Nonce of the newest word signed.", "lane", "direction")
        self.halted = self._gauge("halted", "1 while signing is stopped by evidence.", "lane", "direction")
        self.errors = Counter(
            "comity_errors", "Errors, by what was done about them.", ["agent", "branch"], registry=self.registry
        )

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"comity_{name}", documentation, labels, registry=self.registry)

    def count_error(self, agent: str, branch: str) -> None:
        """Count an error under the branch taken: a revert's branch, or the class of the error."""
        self.errors.labels(agent, branch).inc()


@contextmanager
def serve_metrics(metrics: Metrics, *, port: int, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve the metrics while inside, on loopback unless told otherwise; yields the port, chosen when 0."""
    server, thread = start_http_server(port, addr=host, registry=metrics.registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
