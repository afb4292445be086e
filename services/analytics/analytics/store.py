"""The database: one SQLite file. Inputs, what follows from them and the outbox are one transaction of it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Dict, Iterator, List, Optional, Set

from analytics.wire.chain import Head, Place
from analytics.wire.record import Record

# Acknowledged rows of the outbox that are kept, for whoever looks.
KEPT = 10_000

_TABLES = """
create table own (
    one integer primary key check (one = 1), source text not null, topic text not null, topic_id text, partitions integer not null,
    lineage integer not null, next integer not null
);
-- The last record of each partition of the own topic: that was given a number, and that was acknowledged.
create table tails (partition integer primary key, lineage integer not null, number integer not null);
create table published (partition integer primary key, lineage integer not null, number integer not null, id text not null);
create table outbox (
    seq integer primary key autoincrement, acked integer not null default 0, partition integer not null,
    lineage integer not null, number integer not null, before_lineage integer, before_number integer,
    id text not null unique, key text not null, type text not null, payload blob not null, time integer not null,
    cause text not null, correlation text not null, traceparent text, unique (lineage, number)
);
create index outbox_unsent on outbox (seq) where acked = 0;
create table positions (
    topic text not null, partition integer not null, next_offset integer not null, anew text not null default '[]',
    primary key (topic, partition)
);
create table heads (
    topic text not null, partition integer not null, source text not null, lineage integer not null, number integer not null,
    before_lineage integer, before_number integer, primary key (topic, partition, source)
);
create table topics (topic text primary key, id text not null);
create table strangers (source text not null, id text not null, topic text not null, seen_at integer not null, primary key (source, id));
create index strangers_seen on strangers (seen_at);
create table parked (
    seq integer primary key autoincrement, name text not null, topic text not null, partition integer not null, offset integer not null,
    key blob, value blob, headers text not null, reason text not null, parked_at integer not null
);
create index parked_name on parked (name, seq);
create table schemas (id integer primary key, text text not null);
create table subjects (subject text primary key, text text not null, id integer not null);
create table orders (
    order_id text primary key, currency text, amount integer, confirmed_at integer, reversed integer not null default 0,
    counted integer not null default 0
);
create table days (
    day integer not null, currency text not null, orders integer not null default 0, revenue integer not null default 0,
    told_orders integer not null default 0, told_revenue integer not null default 0,
    primary key (day, currency)
);
pragma user_version = 1;
"""


class Busy(Exception):
    """Another process works on this database."""


class Wrong(Exception):
    """The database, or what the topics hold, isn't as it has to be. A person has to look."""


@dataclass
class Position:
    """Where a partition's reader is."""

    next_offset: int = 0
    heads: Dict[str, Head] = field(default_factory=dict)
    # Sources of which the next record is taken as the first of its chain.
    anew: Set[str] = field(default_factory=set)

    def copy(self) -> "Position":
        return Position(self.next_offset, dict(self.heads), set(self.anew))


def place(lineage: Optional[int], number: Optional[int]) -> Optional[Place]:
    return None if lineage is None or number is None else Place(lineage, number)


def _lock(path: str) -> IO[str]:
    lock = open(f"{path}.lock", "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Busy(f"{path} is in use by another process: stop it first") from None
    return lock


def _reason(path: str, error: Exception) -> str:
    """Why a database can't be opened, and what to do. SQLite's own words tell hardly anything of that."""
    elsewhere = "name another file in ANALYTICS_DATABASE"
    folder = os.path.dirname(path) or "."
    if isinstance(error, IsADirectoryError):
        return f"it is a folder; {elsewhere}"
    try:
        missing = not stat.S_ISDIR(os.stat(folder).st_mode)
    except OSError as other:
        missing = isinstance(other, (FileNotFoundError, NotADirectoryError))
    if missing:
        return f"there is no folder {folder}; create it, or {elsewhere}"
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return f"{error}; restore a backup of it, or {elsewhere}"
    said = error.strerror if isinstance(error, OSError) else error
    return f"{said}; give this user the right to write it and to create files beside it, and see that there is room, or {elsewhere}"


class Store:
    """Opens the file, which one process may have open at a time, and makes the tables in a new one."""

    def __init__(self, path: str, exclusive: bool = True):
        """Raises `Busy`, and `Wrong` where there can be no such database."""
        self._lock: Optional[IO[str]] = None
        try:
            if os.path.isdir(path):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if exclusive and path != ":memory:":
                self._lock = _lock(path)
            self.db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
            self.db.row_factory = sqlite3.Row
            # What is published has to be there after a power failure, too.
            for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on"):
                self.db.execute(f"pragma {pragma}")
            version = self.db.execute("pragma user_version").fetchone()[0]
            if version == 0 and self.db.execute("select 1 from sqlite_master limit 1").fetchone() is not None:
                raise Wrong(f"{path} is the database of another program: name another file in ANALYTICS_DATABASE")
            if version == 0:
                self.db.executescript(f"begin immediate;{_TABLES}commit;")
            elif version != 1:
                raise Wrong(f"{path} was made by a later version of this program (tables {version}): run that one")
        except (OSError, sqlite3.Error) as error:
            self.close()
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise Busy(f"{path} is in use by another process: stop it first") from None
            raise Wrong(f"{path} can't be opened as a database: {_reason(path, error)}") from error
        except Wrong:
            self.close()
            raise

    def close(self) -> None:
        if hasattr(self, "db"):
            self.db.close()
        if self._lock is not None:
            self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        self.db.execute("begin immediate")
        try:
            yield self.db
        except BaseException:
            self.db.execute("rollback")
            raise
        self.db.execute("commit")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        self.db.execute("savepoint record")
        try:
            yield
        except BaseException:
            self.db.execute("rollback to record")
            raise
        finally:
            self.db.execute("release record")

    def position(self, topic: str, partition: int) -> Optional[Position]:
        at = (topic, partition)
        found = self.db.execute("select next_offset, anew from positions where topic = ? and partition = ?", at).fetchone()
        if found is None:
            return None
        heads = {}
        for row in self.db.execute("select * from heads where topic = ? and partition = ?", at):
            before = place(row["before_lineage"], row["before_number"])
            heads[row["source"]] = Head(Place(row["lineage"], row["number"]), before)
        return Position(found["next_offset"], heads, set(json.loads(found["anew"])))

    def move(self, topic: str, partition: int, position: Position, old: Optional[Position]) -> None:
        """Stores what is new in `position`."""
        anew = json.dumps(sorted(position.anew))
        self.db.execute("insert or replace into positions values (?, ?, ?, ?)", (topic, partition, position.next_offset, anew))
        known = {} if old is None else old.heads
        for source in known.keys() - position.heads.keys():
            self.db.execute("delete from heads where topic = ? and partition = ? and source = ?", (topic, partition, source))
        for source, head in position.heads.items():
            if known.get(source) != head:
                before = (None, None) if head.previous is None else (head.previous.lineage, head.previous.number)
                row = (topic, partition, source, head.place.lineage, head.place.number, *before)
                self.db.execute("insert or replace into heads values (?, ?, ?, ?, ?, ?, ?)", row)

    def park(self, name: str, record: Record, reason: str, now: int) -> None:
        # A reason may quote a stranger's text, and that hold halves of characters.
        reason = reason[:1000].encode("utf-8", "backslashreplace").decode()
        row = (name, record.topic, record.partition, record.offset, record.key, record.value, json.dumps(record.headers), reason, now)
        self.db.execute(
            "insert into parked (name, topic, partition, offset, key, value, headers, reason, parked_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )

    def is_parked(self, name: str) -> bool:
        return self.db.execute("select 1 from parked where name = ? limit 1", (name,)).fetchone() is not None

    def parked_count(self) -> int:
        return int(self.db.execute("select count(*) from parked").fetchone()[0])

    def parked(self, limit: int) -> List[sqlite3.Row]:
        return self.db.execute("select * from parked order by seq limit ?", (limit,)).fetchall()


def record_of(row: sqlite3.Row) -> Record:
    """A parked record, as it was read."""
    headers = [(name, value) for name, value in json.loads(row["headers"])]
    return Record(row["topic"], row["partition"], row["offset"], row["key"], row["value"], headers)
