"""How bytes reach a provider: HTTP, WebSocket or a local IPC socket, picked by the URL.

Trusts nobody: answers are bounded in size, redirects are refused, and an error never shows more of a URL than its
host, because the rest of it is often a token.
"""

import asyncio
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
import msgspec

from comity.chain.codec import decode_json
from comity.core.errors import ConfigError

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_READ_BYTES = 256 * 1024
_RETRIED_STATUS = 429


class TransportFailed(Exception):
    """The provider did not answer this attempt; another may succeed. Never leaves `chain.rpc`."""


class TransportRefused(Exception):
    """The provider will refuse every attempt: a bad token, a wrong path, an answer beyond bounds."""


class Transport(Protocol):
    """One request body in, one answer body out."""

    async def exchange(self, body: bytes) -> bytes:
        """Raises: TransportFailed, TransportRefused."""
        ...

    async def close(self) -> None:
        """Release the connection; a later `exchange` opens another."""
        ...


def build_transport(url: str) -> tuple[Transport, str]:
    """The transport for `url`, and the name by which errors may call it.

    Raises: ConfigError.
    """
    parts = urlsplit(url)
    if parts.scheme in ("http", "https", "ws", "wss"):
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host:
            raise ConfigError("provider URL has no valid host", scheme=parts.scheme)
        name = f"{host}:{port}" if port else host
        return (HttpTransport(url) if parts.scheme.startswith("http") else WebSocketTransport(url)), name
    path = url.removeprefix("ipc://") if parts.scheme == "ipc" else url
    if parts.scheme not in ("ipc", "") or not path:
        raise ConfigError(
            "unknown kind of provider URL",
            scheme=parts.scheme,
            next_step="write http(s)://…, ws(s)://…, ipc://… or the path of an IPC socket",
        )
    return IpcTransport(path), f"ipc:{path}"


class HttpTransport:
    """JSON-RPC over HTTP POST, any number of requests at once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def exchange(self, body: bytes) -> bytes:
        """Raises: TransportFailed, TransportRefused."""
        if self._session is None:
            # The caller's deadline governs; aiohttp's own would cut a long batch short.
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        headers = {"content-type": "application/json"}
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                answer = await _read_bounded(response.content)
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TransportFailed(type(error).__name__) from None
        if status == _RETRIED_STATUS or status >= 500:
            raise TransportFailed(f"HTTP {status}")
        if status != 200 and not answer.lstrip().startswith((b"{", b"[")):
            raise TransportRefused(f"HTTP {status}")
        return answer

    async def close(self) -> None:
        """Close the connection pool."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


class WebSocketTransport:
    """JSON-RPC over a WebSocket, one request at a time: batch for throughput."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def exchange(self, body: bytes) -> bytes:
        """Raises: TransportFailed."""
        async with self._lock:
            answered = False
            try:
                if self._socket is None:
                    self._session = aiohttp.ClientSession()
                    self._socket = await self._session.ws_connect(self._url, max_msg_size=MAX_ANSWER_BYTES)
                await self._socket.send_str(body.decode())
                message = await self._socket.receive()
                if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    raise TransportFailed(f"websocket {message.type.name.lower()}")
                answered = True
                return message.data.encode() if isinstance(message.data, str) else bytes(message.data)
            except (aiohttp.ClientError, OSError) as error:
                raise TransportFailed(type(error).__name__) from None
            finally:
                # An answer that comes after its request was given up must not be taken for the next one's.
                if not answered:
                    await self.close()

    async def close(self) -> None:
        """Close the socket."""
        session, self._session, self._socket = self._session, None, None
        if session is not None:
            await session.close()


class IpcTransport:
    """JSON-RPC over a Unix socket, one request at a time: batch for throughput."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, body: bytes) -> bytes:
        """Raises: TransportFailed, TransportRefused."""
        async with self._lock:
            answered = False
            try:
                if self._streams is None:
                    self._streams = await asyncio.open_unix_connection(self._path)
                reader, writer = self._streams
                writer.write(body)
                await writer.drain()
                answer = await _read_json(reader)
                answered = True
                return answer
            except OSError as error:
                raise TransportFailed(type(error).__name__) from None
            finally:
                if not answered:
                    await self.close()

    async def close(self) -> None:
        """Close the socket."""
        if self._streams is not None:
            (_, writer), self._streams = self._streams, None
            writer.close()


async def _read_bounded(stream: aiohttp.StreamReader) -> bytes:
    chunks, size = [], 0
    async for chunk in stream.iter_any():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise TransportRefused("answer too large")
        chunks.append(chunk)
    return b"".join(chunks)


async def _read_json(reader: asyncio.StreamReader) -> bytes:
    """Read one JSON object or array; nodes do not agree on a delimiter, so it ends where it first parses."""
    answer = bytearray()
    while True:
        chunk = await reader.read(_READ_BYTES)
        if not chunk:
            raise TransportFailed("connection closed")
        answer += chunk
        if len(answer) > MAX_ANSWER_BYTES:
            raise TransportRefused("answer too large")
        if chunk.rstrip().endswith((b"}", b"]")) and _is_json(answer):
            return bytes(answer)


def _is_json(text: bytearray) -> bool:
    try:
        decode_json(text)
    except msgspec.ValidationError:
        raise TransportRefused("answer nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
