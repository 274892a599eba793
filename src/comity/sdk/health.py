"""What an attestor says about itself: whether it works, and why not.

Trusts nobody: it is shown to people and decides nothing. Twin: agents/attestor/api.py.
"""

from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

TIMEOUT_SECONDS = 5.0
_MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Health:
    """An attestor's own account."""

    status: str
    """ok, waiting or halted."""
    signer: str
    why: str
    """What keeps it from signing; empty when nothing does."""


async def fetch_health(url: str) -> Health | None:
    """Ask an attestor how it is; None when it gives no usable answer."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session,
            session.get(f"{url.rstrip('/')}/v1/health", allow_redirects=False) as response,
        ):
            return _decode(await response.content.read(_MAX_BYTES))
    except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return None


def _decode(body: bytes) -> Health:
    said: dict[str, Any] = msgspec.json.decode(body)
    halts = [str(halt["reason"]) for halt in said["halts"]]
    errors = [f"{name}: {chain['error']}" for name, chain in said["chains"].items() if chain["error"]]
    return Health(str(said["status"]), str(said["signer"]), "; ".join(halts or errors))
