"""What an attestor tells over HTTP: how it is, and what it signed.

Trusts no caller: only GET, short lines and headers, no body, every parameter by its exact form, bounded pages; and no
caller learns more of a failure than its kind. Spec: spec/verification.md, "Attestation".
Twin: tiers/attestation_client.py.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog
from aiohttp import web

from comity.agents.attestor.duty import Duty
from comity.core.errors import Unavailable
from comity.core.lane import MAX_NONCE
from comity.core.types import Address, ChainId, Direction, Hash32, Lane
from comity.store.port import AttestationRecord, Store
from comity.tiers.attestation_client import MAX_PAGE, AttestationEntry, AttestationPage

MAX_LINE_BYTES: Final = 2048
MAX_FIELD_BYTES: Final = 2048
KEEPALIVE_SECONDS: Final = 15.0
MAX_CONNECTIONS: Final = 256
"""Beyond them callers are hung up on, so that they never use up the sockets by which the chains are asked."""
SHUTDOWN_SECONDS: Final = 1.0
_LANE: Final = re.compile(r"0x[0-9a-f]{64}")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,12}")
_PARAMETERS: Final = frozenset({"min_nonce", "max_nonce", "limit", "order"})
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class ChainHealth:
    """How far an attestor has come on a chain."""

    name: str
    """CAIP-2."""
    final_height: int | None = None
    final_hash: Hash32 | None = None
    error: str | None = "not asked yet"
    """Why the last round signed nothing; None when it went well."""
    is_halted: bool = False
    """Whether it waits for the operator: this is another chain than configured, or without its contracts."""


class AttestorApi:
    """The server. `port` 0 lets the system choose; it is known once serving."""

    def __init__(
        self,
        store: Store,
        duties: Sequence[Duty],
        signer: Address,
        health: Mapping[ChainId, ChainHealth],
        *,
        host: str,
        port: int,
    ) -> None:
        self._store = store
        self._served = {(duty.id, duty.direction) for duty in duties}
        self._signer = signer
        self._health = health
        self._host = host
        self.port = port

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self._host}:{self.port}"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Serve while inside."""
        application = web.Application(middlewares=[_answer_errors], client_max_size=1)
        application.router.add_get("/v1/health", self._answer_health, allow_head=False)
        application.router.add_get("/v1/attestations/{lane}/{direction}", self._answer_attestations, allow_head=False)
        runner = web.AppRunner(
            application,
            access_log=None,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            keepalive_timeout=KEEPALIVE_SECONDS,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        await runner.setup()
        try:
            accept = _bound_connections(runner)
            with closing(await asyncio.get_running_loop().create_server(accept, self._host, self.port)) as listener:
                self.port = listener.sockets[0].getsockname()[1]
                log.info("api.started", url=self.url)
                yield
        finally:
            await runner.cleanup()

    async def _answer_health(self, request: web.Request) -> web.Response:
        halts = self._store.load_halts()
        is_halted = bool(halts) or any(chain.is_halted for chain in self._health.values())
        is_well = not is_halted and all(chain.error is None for chain in self._health.values())
        body = {
            "status": "halted" if is_halted else "ok" if is_well else "waiting",
            "signer": "0x" + self._signer.hex(),
            "chains": {
                chain.name: {
                    "final_height": chain.final_height,
                    "final_hash": None if chain.final_hash is None else "0x" + chain.final_hash.hex(),
                    "error": chain.error,
                }
                for chain in self._health.values()
            },
            "halts": [
                {
                    "lane": "0x" + halt.lane.hex(),
                    "direction": int(halt.direction),
                    "reason": halt.reason,
                    "halted_at": halt.halted_at,
                }
                for halt in halts
            ],
        }
        return _respond(body, 200 if is_well else 503)

    async def _answer_attestations(self, request: web.Request) -> web.Response:
        lane, direction = _parse_lane(request.match_info["lane"]), _parse_direction(request.match_info["direction"])
        query = _parse_query(request)
        if (lane, direction) not in self._served:
            raise web.HTTPNotFound(reason="this lane is not attested here")
        if any((halt.lane, halt.direction) == (lane, direction) for halt in self._store.load_halts()):
            raise web.HTTPServiceUnavailable(reason="halted")
        records = self._store.load_attestations(
            lane,
            direction,
            min_nonce=_parse_number(query, "min_nonce", 0, MAX_NONCE, default=0),
            max_nonce=_parse_number(query, "max_nonce", 0, MAX_NONCE, default=MAX_NONCE),
            limit=_parse_number(query, "limit", 1, MAX_PAGE, default=MAX_PAGE),
            oldest_first=_parse_order(query),
        )
        return _respond(AttestationPage("0x" + lane.hex(), int(direction), [_to_entry(record) for record in records]))


class _HangUp(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _bound_connections(runner: web.AppRunner) -> Callable[[], asyncio.BaseProtocol]:
    server = runner.server
    assert server
    return lambda: server() if len(server.connections) < MAX_CONNECTIONS else _HangUp()


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.can_read_body:
        return _respond({"error": "no body is read"}, 413)
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _respond({"error": error.reason}, error.status)
    except Unavailable as error:
        log.error("request.failed", path=request.path, error=error)
        return _respond({"error": "unavailable"}, 503)
    except Exception as error:
        log.exception("request.failed", path=request.path, error=error)
        return _respond({"error": "internal error"}, 500)


def _respond(body: object, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json", headers=_HEADERS
    )


def _parse_lane(text: str) -> Lane:
    if not _LANE.fullmatch(text):
        raise web.HTTPBadRequest(reason="a lane is 0x and 64 lower-case hex digits")
    return Lane(bytes.fromhex(text[2:]))


def _parse_direction(text: str) -> Direction:
    if text not in ("0", "1"):
        raise web.HTTPBadRequest(reason="a direction is 0 (dispatches) or 1 (receipts)")
    return Direction(int(text))


def _parse_query(request: web.Request) -> Mapping[str, str]:
    query = request.query
    if len(query) != len(set(query)) or not _PARAMETERS.issuperset(query):
        raise web.HTTPBadRequest(reason="parameters are min_nonce, max_nonce, limit and order, each once")
    return query


def _parse_number(query: Mapping[str, str], name: str, lowest: int, highest: int, *, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not lowest <= int(text) <= highest:
        raise web.HTTPBadRequest(reason=f"{name} is a decimal number from {lowest} to {highest}")
    return int(text)


def _parse_order(query: Mapping[str, str]) -> bool:
    order = query.get("order", "newest")
    if order not in ("newest", "oldest"):
        raise web.HTTPBadRequest(reason="order is newest or oldest")
    return order == "oldest"


def _to_entry(record: AttestationRecord) -> AttestationEntry:
    return AttestationEntry(
        nonce=record.attested.nonce,
        word=hex(record.attested.word),
        height=record.attested.height,
        block_hash="0x" + record.attested.block_hash.hex(),
        snapshot=record.attested.snapshot,
        chain_id=str(record.verify_chain),
        verifier="0x" + record.verifier.hex(),
        set_id=hex(record.set_id),
        epoch=record.epoch,
        signer="0x" + record.signer.hex(),
        signature="0x" + record.signature.hex(),
    )
