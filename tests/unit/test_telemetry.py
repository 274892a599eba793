"""Logs say what happened and keep no secret; twin of src/comity/telemetry.py."""

import io
import json
import logging
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from comity.core.errors import Unavailable
from comity.telemetry import Metrics, configure_logging, redact_url, serve_metrics

SOURCE = Path(__file__).parents[2] / "src/comity"
TOKEN = "s3cr3t-t0ken"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    out = io.StringIO()
    configure_logging(stream=out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    "url",
    [
        f"https://node.example/v2/{TOKEN}",
        f"https://node.example?key={TOKEN}",
        f"wss://user:{TOKEN}@node.example:8546/ws",
        f"HTTP://{TOKEN}@node.example",
        f"https://node.example#{TOKEN}",
        f"https://user:p@{TOKEN}@node.example/x",
        f"https://user:{TOKEN}@p@node.example",
        f"https://user:{TOKEN}'p@node.example",
        f"https://node.example?key=a@{TOKEN}",
        f"https://node.example/a@{TOKEN}",
    ],
)
def test_no_part_of_a_url_but_its_host_is_logged(url: str, stream: io.StringIO) -> None:
    log = structlog.get_logger()
    try:
        raise Unavailable("provider failed", url=url)
    except Unavailable as error:
        log.exception("provider.failed", url=url, nested={"urls": [url]}, error=error)
    logging.getLogger("aiohttp.client").error("cannot connect to %s", url)
    assert TOKEN not in stream.getvalue()
    assert "node.example" in stream.getvalue()
    assert TOKEN not in redact_url(f"failed ({url})")


def test_a_url_cut_short_after_its_user_shows_nothing() -> None:
    assert redact_url(f"https://user:{TOKEN}@") == "https://"


def test_traceback_of_a_library_is_redacted_too(stream: io.StringIO) -> None:
    try:
        raise OSError(f"https://node.example/v2/{TOKEN}")
    except OSError:
        logging.getLogger("library").exception("failed")
    assert "OSError" in stream.getvalue()
    assert TOKEN not in stream.getvalue()


@pytest.mark.parametrize("name", ["api_key", "private_key", "password", "rpc_token", "Authorization"])
def test_value_with_a_secret_name_is_hidden(name: str, stream: io.StringIO) -> None:
    structlog.get_logger().info("config.loaded", **{name: TOKEN, "inside": {name: TOKEN}})
    assert TOKEN not in stream.getvalue()


def test_logs_are_json_lines_off_a_terminal_with_bytes_as_hex(stream: io.StringIO) -> None:
    structlog.get_logger().bind(lane=b"\x01\x02").warning("word.signed", nonce=3)
    [line] = lines(stream)
    assert (line["event"], line["level"], line["lane"], line["nonce"]) == ("word.signed", "warning", "0x0102", 3)
    assert line["timestamp"].endswith("Z")


def test_every_event_is_a_noun_and_a_verb() -> None:
    call = re.compile(r"\blog\.(?:debug|info|warning|error|exception|critical)\(\s*f?\"([^\"]*)\"")
    events = [event for path in SOURCE.rglob("*.py") for event in call.findall(path.read_text())]
    assert events
    assert [event for event in events if not re.fullmatch(r"[a-z_]+\.[a-z_]+", event)] == []


def test_metrics_are_served_on_loopback() -> None:
    metrics = Metrics()
    metrics.backlog_age.labels("one->two").set(7)
    metrics.count_error("attestor", "unavailable")
    with serve_metrics(metrics, port=0) as port:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    assert 'comity_backlog_age_seconds{lane="one->two"} 7.0' in text
    assert 'comity_errors_total{agent="attestor",branch="unavailable"} 1.0' in text
