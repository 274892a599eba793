"""The embedded backend: SQLite in WAL mode with synchronous=FULL, so that what was promised survives a power cut.

Trusts the file system to keep its word on fsync. Spec: spec/lane.md. Twins: port.py; the SQL is in queries.sql.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, CursorResult, Row, TextClause, create_engine, exc, text

from comity.core.errors import ConfigError, Invalid, Unavailable
from comity.core.types import Address, ChainId, Direction, EnvelopeId, Hash32, Lane, Seconds
from comity.store import rows
from comity.store.port import (
    AttestationRecord,
    AttestedWord,
    DeliveryRecord,
    DispatchRecord,
    HaltRecord,
    LaneRecord,
    ReceiptRecord,
    TransactionRecord,
    TransactionState,
)

SCHEMA_VERSION: Final = 1
LOCK_TIMEOUT_SECONDS: Final = 2
PAGE_ROWS: Final = 256

Record = TypeVar("Record")
Numbered = TypeVar("Numbered", DispatchRecord, ReceiptRecord)


def load_queries(sql: str) -> dict[str, TextClause]:
    """Split a file of `-- name: x` sections into named statements."""
    parts = re.split(r"^-- name: (\w+)\n", sql, flags=re.MULTILINE)
    return {name: text(body.strip()) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


QUERIES: Final = load_queries(resources.files("comity.store").joinpath("queries.sql").read_text())


class SqliteStore:
    """A store in one SQLite file, or in memory. One thread; no await inside a transaction."""

    def __init__(self, path: Path | None, *, lock_timeout: float = LOCK_TIMEOUT_SECONDS) -> None:
        """Open or create the file at `path`; None keeps everything in memory."""
        self._is_in_transaction = False
        self._engine = create_engine(
            "sqlite://" if path is None else f"sqlite:///{path}",
            connect_args={"timeout": lock_timeout},
            isolation_level="AUTOCOMMIT",
        )
        try:
            self._connection: Connection = self._engine.connect()
            self._configure(path)
        except exc.DatabaseError as error:
            self._engine.dispose()
            raise _unavailable(error) from error

    def _configure(self, path: Path | None) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._connection.exec_driver_sql(f"PRAGMA {pragma}")
        with self.transaction():
            version = self._connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if version == 0:
                self._create()
            elif version != SCHEMA_VERSION:
                raise ConfigError(
                    "the store was written by another version",
                    path=str(path),
                    expected=SCHEMA_VERSION,
                    found=version,
                    next_step="use the version of comity that wrote it, or move the file away",
                )

    def _create(self) -> None:
        schema = resources.files("comity.store").joinpath("schema.sql").read_text()
        for statement in re.sub(r"--.*", "", schema).split(";"):
            if statement.strip():
                self._connection.exec_driver_sql(statement)
        self._connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._is_in_transaction:
            yield
            return
        self._control("BEGIN IMMEDIATE")
        self._is_in_transaction = True
        try:
            yield
            self._control("COMMIT")
        except BaseException:
            self._rollback()
            raise
        finally:
            self._is_in_transaction = False

    def _control(self, statement: str) -> None:
        try:
            self._connection.exec_driver_sql(statement)
        except exc.DatabaseError as error:
            raise _unavailable(error) from error

    def _rollback(self) -> None:
        # SQLite rolls back by itself on a full disk, and then refuses ROLLBACK
        try:
            self._connection.exec_driver_sql("ROLLBACK")
        except exc.DatabaseError:
            pass

    def _execute(self, query: str, values: rows.Values | Sequence[rows.Values]) -> CursorResult[Any]:
        try:
            return self._connection.execute(QUERIES[query], values)
        except exc.IntegrityError as error:
            raise Invalid("a row contradicts a stored one", query=query, reason=str(error.orig)) from error
        except exc.DatabaseError as error:
            raise _unavailable(error) from error

    def _load(self, build: Callable[[Row[Any]], Record], query: str, **values: Any) -> list[Record]:
        return [build(row) for row in self._execute(query, values).all()]

    def _load_one(self, build: Callable[[Row[Any]], Record], query: str, **values: Any) -> Record | None:
        row = self._execute(query, values).first()
        return build(row) if row else None

    def _load_head(self, query: str, **values: Any) -> int | None:
        head: int | None = self._execute(query, values).scalar_one()
        return head

    def _stream(
        self, build: Callable[[Row[Any]], Numbered], query: str, lane: Lane, first: int, last: int
    ) -> Iterator[Numbered]:
        # pages and no open cursor, so that the caller may write while it reads
        while page := self._load(build, query, lane=lane, first=first, last=last, limit=PAGE_ROWS):
            yield from page
            first = _number(page[-1]) + 1

    # cursors and lanes

    def load_cursor(self, name: str) -> bytes | None:
        return self._load_one(lambda row: bytes(row.value), "load_cursor", name=name)

    def save_cursor(self, name: str, value: bytes) -> None:
        self._execute("save_cursor", {"name": name, "value": value})

    def save_lane(self, record: LaneRecord) -> None:
        self._execute("save_lane", rows.from_lane(record))

    def load_lanes(self) -> list[LaneRecord]:
        return self._load(rows.to_lane, "load_lanes")

    # dispatches and their delivery

    def append_dispatches(self, lane: Lane, records: Sequence[DispatchRecord]) -> int:
        with self.transaction():
            known, fresh = _split_run(lane, self.load_dispatch_head(lane), records)
            if known:
                stored = self.load_dispatches(lane, known[0].nonce, known[-1].nonce)
                _validate_known([_without_clock(record) for record in stored], [_without_clock(r) for r in known])
            if fresh:
                self._execute("append_dispatch", [rows.from_dispatch(record) for record in fresh])
                self._execute("decide_appended_dispatches", {"lane": lane, "first": fresh[0].nonce})
            return len(fresh)

    def load_dispatch_head(self, lane: Lane) -> int:
        return self._load_head("load_dispatch_head", lane=lane) or 0

    def load_dispatch(self, lane: Lane, nonce: int) -> DeliveryRecord | None:
        return self._load_one(rows.to_delivery, "load_dispatch_page", lane=lane, first=nonce, last=nonce, limit=1)

    def load_dispatch_by_id(self, envelope_id: EnvelopeId) -> DeliveryRecord | None:
        return self._load_one(rows.to_delivery, "load_dispatch_by_id", id=envelope_id)

    def load_dispatches(self, lane: Lane, first: int, last: int) -> Iterator[DispatchRecord]:
        return self._stream(rows.to_dispatch, "load_dispatch_page", lane, first, last)

    def revert_dispatches(self, lane: Lane, block_number: int) -> int:
        return self._execute("revert_dispatches", {"lane": lane, "block_number": block_number}).rowcount

    def load_pending(self, lane: Lane, now: Seconds, *, limit: int, after: int = 0) -> list[DeliveryRecord]:
        return self._load(rows.to_delivery, "load_pending", lane=lane, now=now, after=after, limit=limit)

    def load_dead(self, lane: Lane, *, limit: int, after: int = 0) -> list[DeliveryRecord]:
        return self._load(rows.to_delivery, "load_dead", lane=lane, after=after, limit=limit)

    def load_backlog(self, lane: Lane) -> tuple[int, DispatchRecord | None]:
        pending = self._load_head("load_pending_count", lane=lane) or 0
        oldest = self._load_one(rows.to_dispatch, "load_pending", lane=lane, now=_END_OF_TIME, after=0, limit=1)
        return pending, oldest

    def defer_envelopes(
        self, lane: Lane, nonces: Iterable[int], cause: str, next_attempt_at: Seconds, *, costs_attempt: bool
    ) -> None:
        shared = {"lane": lane, "cause": cause, "next_attempt_at": next_attempt_at, "attempt": int(costs_attempt)}
        values = [{**shared, "nonce": nonce} for nonce in nonces]
        if values:
            with self.transaction():
                self._execute("defer_envelope", values)

    def bury_envelope(self, lane: Lane, nonce: int, reason: str) -> None:
        self._execute("bury_envelope", {"lane": lane, "nonce": nonce, "cause": reason})

    def revive_envelope(self, lane: Lane, nonce: int) -> None:
        self._execute("revive_envelope", {"lane": lane, "nonce": nonce})

    # receipts

    def append_receipts(self, lane: Lane, records: Sequence[ReceiptRecord]) -> int:
        with self.transaction():
            known, fresh = _split_run(lane, self.load_receipt_head(lane), records)
            if known:
                _validate_known(list(self.load_receipts(lane, known[0].position, known[-1].position)), known)
            if fresh:
                values = [rows.from_receipt(record) for record in fresh]
                self._execute("append_receipt", values)
                self._execute("decide_envelope", values)
            return len(fresh)

    def load_receipt_head(self, lane: Lane) -> int:
        return self._load_head("load_receipt_head", lane=lane) or 0

    def load_receipt_of(self, lane: Lane, envelope_id: EnvelopeId) -> ReceiptRecord | None:
        return self._load_one(rows.to_receipt, "load_receipt_by_envelope", lane=lane, envelope_id=envelope_id)

    def load_receipts(self, lane: Lane, first: int, last: int) -> Iterator[ReceiptRecord]:
        return self._stream(rows.to_receipt, "load_receipt_page", lane, first, last)

    def revert_receipts(self, lane: Lane, block_number: int) -> int:
        with self.transaction():
            values = {"lane": lane, "block_number": block_number}
            self._execute("reopen_reverted", values)
            return self._execute("revert_receipts", values).rowcount

    # signed transactions

    def save_transaction(self, record: TransactionRecord) -> None:
        self._execute("save_transaction", rows.from_transaction(record))

    def set_transaction_state(self, tx_hash: Hash32, state: TransactionState, block_number: int | None = None) -> None:
        values = {"hash": tx_hash, "state": int(state), "block_number": block_number}
        self._execute("set_transaction_state", values)

    def load_transaction(self, tx_hash: Hash32) -> TransactionRecord | None:
        return self._load_one(rows.to_transaction, "load_transaction", hash=tx_hash)

    def load_open_transactions(self, chain: ChainId, sender: Address) -> list[TransactionRecord]:
        return self._load(rows.to_transaction, "load_open_transactions", chain=rows.to_blob(chain), sender=sender)

    def load_highest_nonce(self, chain: ChainId, sender: Address) -> int | None:
        return self._load_head("load_highest_nonce", chain=rows.to_blob(chain), sender=sender)

    # what an attestor promised

    def reserve_word(self, attested: AttestedWord) -> None:
        values = rows.from_attested(attested)
        with self.transaction():
            stored = self.load_attested_word(attested.lane, attested.direction, attested.nonce)
            if stored and stored.word == attested.word:
                return
            backwards = self._load_one(rows.to_attested, "load_backwards_word", **values)
            if backwards and not attested.snapshot:
                raise Invalid("the nonce of a word would go backwards", promised=backwards, asked=attested)
            self._execute("reserve_word", values)

    def load_attested_word(self, lane: Lane, direction: Direction, nonce: int) -> AttestedWord | None:
        return self._load_one(rows.to_attested, "load_attested_word", lane=lane, direction=int(direction), nonce=nonce)

    def load_highest_attested_word(self, lane: Lane, direction: Direction) -> AttestedWord | None:
        return self._load_one(rows.to_attested, "load_highest_attested_word", lane=lane, direction=int(direction))

    def load_attested_words(
        self, lane: Lane, direction: Direction, *, from_height: int, limit: int
    ) -> list[AttestedWord]:
        values = {"lane": lane, "direction": int(direction), "height": from_height, "limit": limit}
        return self._load(rows.to_attested, "load_attested_words_from", **values)

    def save_attestation(self, record: AttestationRecord) -> None:
        self._execute("save_attestation", rows.from_attestation(record))

    def load_attestations(
        self,
        lane: Lane,
        direction: Direction,
        *,
        min_nonce: int,
        max_nonce: int,
        limit: int,
        oldest_first: bool = False,
    ) -> list[AttestationRecord]:
        query = "load_oldest_attestations" if oldest_first else "load_attestations"
        values = {"lane": lane, "direction": int(direction), "min_nonce": min_nonce, "max_nonce": max_nonce}
        return self._load(rows.to_attestation, query, **values, limit=limit)

    def save_halt(self, record: HaltRecord) -> None:
        self._execute("save_halt", rows.from_halt(record))

    def load_halts(self) -> list[HaltRecord]:
        return self._load(rows.to_halt, "load_halts")

    def clear_halt(self, lane: Lane, direction: Direction) -> None:
        self._execute("clear_halt", {"lane": lane, "direction": int(direction)})


_END_OF_TIME: Final = 2**62


def _number(record: DispatchRecord | ReceiptRecord) -> int:
    return record.nonce if isinstance(record, DispatchRecord) else record.position


def _split_run(lane: Lane, head: int, records: Sequence[Numbered]) -> tuple[Sequence[Numbered], Sequence[Numbered]]:
    """Split consecutive records into those stored already and those that follow the head without a gap.

    Raises:
        Invalid: a record belongs to another lane, or a number is missing.
    """
    for position, record in enumerate(records):
        expected = _number(records[0]) + position
        if record.lane != lane or _number(record) != expected:
            raise Invalid("the records are not a run of this lane", lane=lane, expected=expected, got=_number(record))
    if not records:
        return (), ()
    first = _number(records[0])
    if head and first > head + 1:
        raise Invalid("entries are missing before the run", lane=lane, expected=head + 1, got=first)
    known = min(len(records), max(0, head + 1 - first))
    return records[:known], records[known:]


def _validate_known(stored: Sequence[Numbered], given: Sequence[Numbered]) -> None:
    # the store may begin above the first record given: compare what both have
    by_number = {_number(record): record for record in stored}
    for record in given:
        other = by_number.get(_number(record), record)
        if other != record:
            raise Invalid("another entry is stored at this place", stored=other, given=record)


def _without_clock(record: DispatchRecord) -> DispatchRecord:
    return replace(record, seen_at=Seconds(0))


def _unavailable(error: exc.DatabaseError) -> Unavailable:
    return Unavailable(
        "the store does not answer",
        reason=str(error.orig),
        next_step="free the disk or the lock; a relayer's file can be rebuilt from the chain, an attestor's cannot",
    )
