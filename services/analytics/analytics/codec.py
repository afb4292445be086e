"""Schemas: those read with, those behind ids, the own one's id. What the registry said is kept in the database."""

from __future__ import annotations

import logging
import time
from typing import Any, Dict, Iterable, Tuple

from analytics.describe import REACTS_TO, REPORTED
from analytics.registry import Registry, Trouble, Unknown
from analytics.store import Store
from analytics.wire.record import Record
from analytics.wire.value import Reader, Schema, Unreadable, format_of, frame, split

# Schemas that are held; a stranger can name any number of ids.
MOST = 1_000
# How long an id that the registry has nothing for is not asked for again.
AGAIN = 60.0

log = logging.getLogger("analytics")


class Codec:
    def __init__(self, store: Store, registry: Registry, texts: Dict[str, str]):
        """`texts` are the schemas of the types that are read and written, by full name."""
        self.store, self.registry, self.text = store, registry, texts[REPORTED]
        self.own = Schema(self.text)
        self.reader = Reader({kind: Schema(texts[kind]) for kind in REACTS_TO}, self._behind)
        self.id = -1
        self.held: Dict[int, Schema] = {}
        self.missing: Dict[int, Tuple[float, str]] = {}

    def register(self, topic: str) -> None:
        """Gets the own schema's id. Where the registry is away, the one that it gave before serves."""
        subject = f"{topic}-{REPORTED}"
        known = self.store.db.execute("select id from subjects where subject = ? and text = ?", (subject, self.text)).fetchone()
        try:
            self.id = self.registry.register(subject, self.text)
        except Trouble as trouble:
            if known is None:
                raise
            log.warning("the registry: %s; going on with what it said before", trouble)
            self.id = known["id"]
        with self.store.transaction() as db:
            db.execute("insert or replace into subjects values (?, ?, ?)", (subject, self.text, self.id))

    def encode(self, report: Dict[str, Any]) -> bytes:
        return frame(self.id, self.own.encode(report))

    def prepare(self, records: Iterable[Record]) -> None:
        """Loads the schemas behind what is read of `records`. Raises `Trouble` where the registry doesn't answer."""
        for record in records:
            if record.header("ce_type") not in self.reader.schemas or format_of(record.header("content-type")) == "json":
                continue
            try:
                self._load(split(record.value or b"")[0])
            except Unreadable:
                continue

    def _load(self, schema_id: int) -> None:
        tried = self.missing.get(schema_id)
        if schema_id in self.held or (tried is not None and time.monotonic() - tried[0] < AGAIN):
            return
        if len(self.held) + len(self.missing) >= MOST:
            self.held.clear()
            self.missing.clear()
        known = self.store.db.execute("select text from schemas where id = ?", (schema_id,)).fetchone()
        try:
            text = known["text"] if known is not None else self.registry.schema(schema_id, self.id)
            self.held[schema_id] = Schema(text)
        except (Unknown, Unreadable) as error:
            self.missing[schema_id] = (time.monotonic(), str(error))
            return
        self.missing.pop(schema_id, None)
        if known is None:
            with self.store.transaction() as db:
                db.execute("insert or replace into schemas values (?, ?)", (schema_id, text))

    def _behind(self, schema_id: int) -> Schema:
        if schema_id in self.held:
            return self.held[schema_id]
        raise Unreadable(self.missing.get(schema_id, (0.0, f"schema {schema_id} isn't loaded"))[1])
