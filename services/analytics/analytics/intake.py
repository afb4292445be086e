"""Records in: the chain rule, what parks, what stops a partition. One batch is one transaction.

Each record gets one outcome:

- APPLY: it is new and was given to the handler;
- DROP: it was applied before, or its writer was replaced;
- PASS: it is of a type that nothing here follows from; it stays in its chain;
- PARK: it can't be processed, or one of its key before it can't. It is stored, and everything later of its key queues behind it;
- STOP: its chain is broken there. Nothing more of its partition is read until a person has looked.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from dataclasses import dataclass
from enum import Enum
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Tuple

from analytics.store import Position, Store, record_of
from analytics.wire.chain import Head, Verdict, judge
from analytics.wire.record import Damaged, Link, Record
from analytics.wire.value import Reader, Unreadable

# Sources of one partition; the topic's own always has a place.
SOURCES = 64
# Records that may be parked, and those tried again at once.
MOST_PARKED = 10_000
RETRIED = 100
# How long a record without a chain is remembered, in microseconds.
REMEMBERED = 8 * 24 * 3600 * 1_000_000

log = logging.getLogger("analytics")


class Outcome(Enum):
    APPLY = "apply"
    DROP = "drop"
    PASS = "pass"
    PARK = "park"
    STOP = "stop"


class Refused(Exception):
    """The handler can't make anything of a record, and why."""


class Full(Exception):
    """No more may be parked."""


@dataclass(frozen=True)
class Subscription:
    """Types that are handled, types that are known and left alone, and what becomes of any other: `park` or `ignore`."""

    reacts_to: FrozenSet[str]
    ignores: FrozenSet[str]
    unknown: str


# Record, its correlation, type and value.
Handler = Callable[[Record, Optional[str], str, Dict[str, Any]], None]


class Intake:
    def __init__(self, store: Store, subscription: Subscription, reader: Reader, handler: Handler):
        self.store, self.subscription, self.reader, self.handler = store, subscription, reader, handler
        self.positions: Dict[Tuple[str, int], Position] = {}
        self.stopped: Dict[Tuple[str, int], str] = {}

    def begin(self, topic: str, partition: int) -> int:
        """The offset to read next; 0 where nothing was read yet."""
        position = self.store.position(topic, partition) or Position()
        self.positions[topic, partition] = position
        return position.next_offset

    def batch(self, records: List[Record], now: int, also: Callable[[], None] = lambda: None) -> List[Tuple[Record, Outcome, str]]:
        """Takes `records`, each partition's in order; `also` runs at the end of the same transaction. Raises the database's errors, and
        `Full`; then nothing has happened."""
        after: Dict[Tuple[str, int], Position] = {}
        stopped: Dict[Tuple[str, int], str] = {}
        outcomes = []
        with self.store.transaction():
            for record in records:
                at = (record.topic, record.partition)
                if at in self.stopped or at in stopped:
                    continue
                position = after.get(at) or self.positions[at].copy()
                if record.offset < position.next_offset:
                    continue
                after[at] = position
                outcome, why = self._one(position, record, now)
                if outcome is Outcome.STOP:
                    stopped[at] = why
                outcomes.append((record, outcome, why))
            for at, position in after.items():
                self.store.move(*at, position, self.positions[at])
            also()
        self.positions.update(after)
        for at, why in stopped.items():
            self.stop(at, why)
        return outcomes

    def stop(self, at: Tuple[str, int], why: str) -> None:
        log.error("partition %s/%d stopped: %s", *at, why)
        self.stopped[at] = why

    def _one(self, position: Position, record: Record, now: int) -> Tuple[Outcome, str]:
        link, head, fault = None, None, None
        try:
            link = record.link()
        except Damaged as damage:
            # It says nothing of its place: no head moves, and the next record shows whether something is missing.
            fault = str(damage)
        if link is not None:
            source, named = link
            head = position.heads.get(source)
            taken_anew = head is None and source in position.anew
            verdict = Verdict.LINK if taken_anew else judge(head, named.place, named.previous)
            if verdict in (Verdict.DUPLICATE, Verdict.STALE):
                position.next_offset = record.offset + 1
                return Outcome.DROP, verdict.value
            if verdict in (Verdict.GAP, Verdict.FORK):
                return Outcome.STOP, broken(record, source, named, head, verdict)
            if head is None and len(position.heads) >= SOURCES and not is_own(record.topic, source):
                fault = f"its source {source[:100]} is one too many: {SOURCES} are tracked in a partition; check who writes to the topic"
            else:
                position.heads[source] = Head(named.place, named.previous)
                position.anew.discard(source)
        position.next_offset = record.offset + 1
        correlation = None if link is None else link[1].correlation
        return self._process(record, correlation, fault, now)

    def _process(self, record: Record, correlation: Optional[str], fault: Optional[str], now: int) -> Tuple[Outcome, str]:
        kind = record.header("ce_type")
        if fault is None and not kind:
            fault = "header `ce_type` is missing or empty"
        if fault is None and kind not in self.subscription.reacts_to:
            if kind in self.subscription.ignores or self.subscription.unknown == "ignore":
                return Outcome.PASS, f"type {kind}"
            fault = f"type {str(kind)[:100]} is unknown to this build"
        try:
            if fault is not None:
                raise Refused(fault)
            if not record.key:
                raise Refused("the record has no key")
            if record.value is None:
                raise Refused(f"{kind} has no value")
            value = self.reader.read(str(kind), record.header("content-type"), record.value)
            if self._is_known_stranger(record, now):
                return Outcome.DROP, "foreign, seen before"
            if self.store.is_parked(name_of(record)):
                raise Refused("waits behind an earlier record of its key")
            self._handle(record, correlation, str(kind), value)
        except (Refused, Unreadable) as error:
            return self._park(record, str(error), now)
        return Outcome.APPLY, ""

    def _handle(self, record: Record, correlation: Optional[str], kind: str, value: Dict[str, Any]) -> None:
        """The handler's work, or none of it."""
        try:
            with self.store.savepoint():
                self.handler(record, correlation, kind, value)
        except (Refused, sqlite3.OperationalError):
            raise
        except (sqlite3.IntegrityError, sqlite3.DataError) as error:
            raise Refused(f"the database refuses it: {error}") from error
        except sqlite3.DatabaseError:
            raise
        except Exception as error:
            # A mistake of the handler's is this record's trouble, and no other's.
            log.exception("the handler failed at %s", record.at())
            raise Refused(f"the handler failed: {type(error).__name__} {error}") from error

    def _park(self, record: Record, why: str, now: int) -> Tuple[Outcome, str]:
        if self.store.parked_count() >= MOST_PARKED:
            raise Full(f"{MOST_PARKED} records are parked, and {record.at()} would be one more: see `analytics parked`")
        self.store.park(name_of(record), record, why, now)
        log.warning("parked %s under %s: %s", record.at(), name_of(record), why)
        return Outcome.PARK, why

    def _is_known_stranger(self, record: Record, now: int) -> bool:
        """Records without a chain are told apart by source and id, where they name both."""
        source, id_ = record.header("ce_source"), record.header("ce_id")
        if record.header("farandole") is not None or not source or not id_:
            return False
        names = (name(source.encode()), name(id_.encode()), record.topic, now)
        return self.store.db.execute("insert or ignore into strangers values (?, ?, ?, ?)", names).rowcount == 0

    def retry(self, now: int, also: Callable[[], None] = lambda: None) -> int:
        """Tries what is parked again, the first of each key; gives how many were applied. What fails stays where it is."""
        applied = 0
        with self.store.transaction():
            first = "select * from parked where seq in (select min(seq) from parked group by name) order by seq limit ?"
            for row in self.store.db.execute(first, (RETRIED,)).fetchall():
                applied += self._release(record_of(row), row["seq"])
            also()
            self.store.db.execute("delete from strangers where seen_at < ?", (now - REMEMBERED,))
        return applied

    def _release(self, record: Record, seq: int) -> int:
        kind = record.header("ce_type")
        if kind not in self.subscription.reacts_to or not record.key or record.value is None:
            return 0
        try:
            link = record.link()
            value = self.reader.read(str(kind), record.header("content-type"), record.value)
            self._handle(record, None if link is None else link[1].correlation, str(kind), value)
        except (Damaged, Refused, Unreadable):
            return 0
        self.store.db.execute("delete from parked where seq = ?", (seq,))
        return 1


def is_own(topic: str, source: str) -> bool:
    """Whether `topic`, which may have a prefix, is that of the service that publishes as `source`."""
    prefix = "/farandole/"
    return source.startswith(prefix) and len(source) > len(prefix) and topic.endswith(source[len(prefix) :])


def name(raw: bytes) -> str:
    """Any bytes as text, different ones as different text."""
    try:
        plain = raw.decode("utf-8")
    except UnicodeDecodeError:
        plain = ":"
    if plain and len(raw) <= 512 and not plain.startswith(":") and "\0" not in plain:
        return plain
    return ":hex:" + raw.hex() if len(raw) <= 250 else ":sha256:" + hashlib.sha256(raw).hexdigest()


def name_of(record: Record) -> str:
    """Under what a record parks."""
    return name(record.key) if record.key else f":at:{record.topic}/{record.partition}/{record.offset}"


def broken(record: Record, source: str, link: Link, head: Optional[Head], verdict: Verdict) -> str:
    if head is None:
        what = "the topic's beginning is missing"
    elif verdict is Verdict.GAP:
        what = "the record before it is missing"
    else:
        what = "it starts a second history: one of the two is forged"
    place = f"{record.topic} {record.partition}"
    last = "none" if head is None else str(head.place)
    before = "none" if link.previous is None else str(link.previous)
    return (
        f"{record.at()} of {source} has number {link.place} after {before}, but the last applied is {last}: {what}. Look at the topic with "
        f"`farandole verify {record.topic}`. If the missing records are lost for good, go on from here with `analytics positions --set {place} "
        f"{record.offset} --anew {source}`; if this record is a stray or forged, skip it with `analytics positions --set {place} {record.offset + 1}`"
    )
