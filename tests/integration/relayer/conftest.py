"""Devnets of two chains with a lane and a receiver; attestors and relayers are the tests' to start."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from comity.agents.assembly import build_relayer
from comity.bench.relay import Arena, build_arena
from comity.devnet.devnet import DevnetOptions, derive_signer
from comity.store.port import Store
from comity.store.sqlite import SqliteStore
from comity.telemetry import Metrics

PATIENCE_SECONDS = 60


@pytest.fixture
async def arena(tmp_path: Path) -> AsyncIterator[Arena]:
    """Blocks come quickly, and each transaction has one of its own."""
    options = DevnetOptions(chains=2, block_seconds=0.5, instant=True, attestors=2, threshold=2)
    async with build_arena(tmp_path / "devnet", options) as built:
        yield built


@pytest.fixture
async def slow_arena(tmp_path: Path) -> AsyncIterator[Arena]:
    """Between transactions no block comes soon, so that a reorg can be made before anything is final."""
    options = DevnetOptions(chains=2, block_seconds=8, instant=True, attestors=2, threshold=2)
    async with build_arena(tmp_path / "devnet", options) as built:
        yield built


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
