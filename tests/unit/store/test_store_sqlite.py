"""What only a file can suffer: locks, damage, full disks, other versions; twin of src/comity/store/sqlite.py."""

import sqlite3
from pathlib import Path

import pytest

from comity.core.errors import ComityError, ConfigError, Unavailable
from comity.store.sqlite import QUERIES, SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def test_rows_survive_reopening(path: Path) -> None:
    first = SqliteStore(path)
    first.save_cursor("follower", b"kept")
    first.close()
    second = SqliteStore(path)
    assert second.load_cursor("follower") == b"kept"
    second.close()


def test_commits_are_synced_to_the_disk(path: Path) -> None:
    store = SqliteStore(path)
    assert store._connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    assert store._connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    store.close()


def test_locked_database_is_unavailable_and_writes_nothing(path: Path) -> None:
    store = SqliteStore(path, lock_timeout=0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable, match="locked"):
        store.save_cursor("follower", b"lost")
    with pytest.raises(Unavailable, match="locked"), store.transaction():
        pytest.fail("entered a transaction without the lock")
    other.execute("ROLLBACK")
    other.close()
    assert store.load_cursor("follower") is None
    store.save_cursor("follower", b"kept")
    store.close()


def test_full_disk_is_unavailable_and_keeps_what_was_committed(path: Path) -> None:
    store = SqliteStore(path)
    store.save_cursor("follower", b"kept")
    pages = store._connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    store._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match="full"), store.transaction():  # noqa: PT012
        store.save_cursor("follower", b"moved")
        store.save_cursor("big", bytes(100_000))
    assert store.load_cursor("follower") == b"kept"
    store.close()


def test_damaged_file_is_unavailable(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(Unavailable, match="not a database"):
        SqliteStore(path)


@pytest.mark.parametrize(("nonce", "height"), [(5, 11), (6, 10)], ids=["equal nonce", "equal height"])
def test_database_itself_refuses_a_second_word(path: Path, nonce: int, height: int) -> None:
    SqliteStore(path).close()
    other = sqlite3.connect(path)
    insert = "INSERT INTO attested_words VALUES (zeroblob(32), 0, ?, randomblob(32), ?, zeroblob(32), 0)"
    other.execute(insert, (5, 10))
    with pytest.raises(sqlite3.IntegrityError):
        other.execute(insert, (nonce, height))
    other.close()


def test_another_version_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(ConfigError) as refused:
        SqliteStore(path)
    assert refused.value.values["found"] == 99


def test_errors_of_the_store_carry_a_next_step(path: Path) -> None:
    path.write_bytes(b"x" * 5000)
    with pytest.raises(ComityError) as raised:
        SqliteStore(path)
    assert raised.value.next_step


def test_every_named_query_is_used() -> None:
    source = (Path(__file__).parents[3] / "src/comity/store/sqlite.py").read_text()
    assert [name for name in QUERIES if f'"{name}"' not in source] == []
