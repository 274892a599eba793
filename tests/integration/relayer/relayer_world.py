"""A relayer in the tests' own process, with its store at hand."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

from comity.agents.assembly import build_relayer
from comity.bench.relay import Arena
from comity.devnet.devnet import derive_signer
from comity.store.port import Store
from comity.store.sqlite import SqliteStore
from comity.telemetry import Metrics

PATIENCE_SECONDS = 60


@asynccontextmanager
async def relaying(arena: Arena, *, expire: bool = False) -> AsyncIterator[Store]:
    """Run a relayer in this process and yield its store."""
    config = arena.devnet.config
    config = msgspec.structs.replace(config, relay=msgspec.structs.replace(config.relay, expire=expire))
    store = SqliteStore(None)
    relayer = build_relayer(config, derive_signer("relayer"), store, Metrics())
    task = asyncio.create_task(relayer.run())
    try:
        yield store
        assert not task.done(), "the relayer ended by itself"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        store.close()


async def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait for something in the relayer's store."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, "it never comes true"
        await asyncio.sleep(0.02)
