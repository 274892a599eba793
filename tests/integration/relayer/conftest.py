"""Devnets of two chains with a lane and a receiver; attestors and relayers are the tests' to start."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comity.bench.relay import Arena, build_arena
from comity.devnet.devnet import DevnetOptions


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
