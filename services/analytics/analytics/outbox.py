"""Events out: each row gets its number, its partition and the place before it in the transaction that it is appended in, and keeps them for
good. So it doesn't matter how often it is sent."""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

from analytics.store import KEPT, Store, Wrong, place
from analytics.wire.chain import Place
from analytics.wire.partitioner import partition
from analytics.wire.write import MOST, Event, size

# Rows that are sent at once.
BATCH = 500


@dataclass(frozen=True)
class Row:
    """A row of the outbox."""

    event: Event
    key: str
    payload: bytes
    partition: int
    place: Place
    previous: Optional[Place]


class Outbox:
    def __init__(self, store: Store):
        self.store, self.db = store, store.db

    def open(self, source: str, topic: str, topic_id: Optional[str], partitions: int) -> None:
        """Notes what the first start found, and raises `Wrong` if anything of it is another now."""
        with self.store.transaction():
            own = self.db.execute("select * from own").fetchone()
            if own is None:
                self.db.execute("insert into own values (1, ?, ?, ?, ?, 1, 1)", (source, topic, topic_id, partitions))
                return
        if (own["source"], own["topic"]) != (source, topic):
            raise Wrong(f"this database publishes as {own['source']} to {own['topic']}, not as {source} to {topic}: put the setting back")
        if own["partitions"] != partitions:
            raise Wrong(
                f"{topic} has {partitions} partitions, and had {own['partitions']}: keys would move to others, out of order. Make it again "
                "with the number that it had, or publish to a new topic from a new database"
            )
        if None not in (own["topic_id"], topic_id) and own["topic_id"] != topic_id:
            raise Wrong(f"{topic} was deleted and created again: what was published is gone. `analytics heal` says what can be done")

    def append(self, key: str, kind: str, payload: bytes, time: int, cause: str, correlation: Optional[str], traceparent: Optional[str]) -> None:
        """Adds an event, within a transaction. Without a correlation a new one begins."""
        own = self.db.execute("select partitions, lineage, next from own").fetchone()
        to, id_ = partition(key.encode(), own["partitions"]), str(uuid.uuid4())
        event = Event(id_, kind, key, time, cause[:1024], correlation or id_, traceparent=traceparent)
        # Once it has a number it can't be left out, and brokers would refuse it for ever.
        if size(event, len(payload)) > MOST:
            raise ValueError(f"{kind} of {key[:100]} is too large to publish: {size(event, len(payload))} bytes; the limit is {MOST}")
        before = self.db.execute("select lineage, number from tails where partition = ?", (to,)).fetchone() or (None, None)
        self.db.execute(
            "insert into outbox (partition, lineage, number, before_lineage, before_number, id, key, type, payload, time, cause, correlation,"
            " traceparent) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (to, own["lineage"], own["next"], *before, id_, key, kind, payload, time, event.cause, event.correlation, traceparent),
        )
        self.db.execute("insert or replace into tails values (?, ?, ?)", (to, own["lineage"], own["next"]))
        self.db.execute("update own set next = next + 1")

    def unsent(self) -> List[Row]:
        """The next rows to publish, in the order of their numbers."""
        return [row_of(row) for row in self.db.execute("select * from outbox where acked = 0 order by seq limit ?", (BATCH,))]

    def acknowledged(self, rows: List[Row]) -> None:
        """Kafka holds all of these."""
        with self.store.transaction():
            for row in rows:
                self._published(row.partition, row.place, row.event.id)
                self.db.execute("update outbox set acked = 1 where id = ?", (row.event.id,))
            self.db.execute("delete from outbox where acked = 1 and seq <= (select max(seq) from outbox) - ?", (KEPT,))

    def _published(self, to: int, at: Place, id_: str) -> None:
        self.db.execute("insert or replace into published values (?, ?, ?, ?)", (to, at.lineage, at.number, id_))

    def heads(self) -> Dict[int, Tuple[Place, str]]:
        """Place and id of the last acknowledged record of each partition."""
        rows = self.db.execute("select * from published")
        return {row["partition"]: (Place(row["lineage"], row["number"]), row["id"]) for row in rows}

    def found(self, to: int, at: Place, id_: str) -> bool:
        """The topic's partition ends with this record. Whether it is a row that wasn't known to be there; then it is now, with all before."""
        with self.store.transaction():
            known = "select seq from outbox where acked = 0 and partition = ? and lineage = ? and number = ? and id = ?"
            row = self.db.execute(known, (to, at.lineage, at.number, id_)).fetchone()
            if row is None:
                return False
            self.db.execute("update outbox set acked = 1 where partition = ? and seq <= ?", (to, row["seq"]))
            self._published(to, at, id_)
            return True


def row_of(row: sqlite3.Row) -> Row:
    event = Event(
        id=row["id"],
        type=row["type"],
        subject=row["key"],
        time=row["time"],
        cause=row["cause"],
        correlation=row["correlation"],
        traceparent=row["traceparent"],
    )
    before = place(row["before_lineage"], row["before_number"])
    return Row(event, row["key"], row["payload"], row["partition"], Place(row["lineage"], row["number"]), before)
