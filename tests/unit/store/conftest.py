"""Every backend passes the same suite: add a class here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from comity.store.port import Store
from comity.store.sqlite import SqliteStore

BACKENDS: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda folder: SqliteStore(folder / "store.db"),
    "sqlite-memory": lambda folder: SqliteStore(None),
}


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = BACKENDS[request.param](tmp_path)
    yield opened
    opened.close()
