"""The command line: `python3 -m analytics COMMAND`. Exit codes: 0; 1 a person has to act first, as the message says; 2 wrong usage."""

from __future__ import annotations

import argparse
import json
import logging
import pathlib
import re
import signal
import sqlite3
import sys
import threading
from typing import Dict, List

from confluent_kafka import Consumer, KafkaException, TopicPartition

from analytics.describe import HEARS, NAME, REACTS_TO, REPORTED, description
from analytics.heal import heal
from analytics.intake import name
from analytics.service import Service
from analytics.settings import Settings, Usage
from analytics.store import Busy, Position, Store, Wrong, record_of
from analytics.topics import ANSWER, Away, Topics

# What a terminal obeys, or what turns text around: shown as what it is.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: str) -> str:
    return _OBEYED.sub(lambda found: f"\\u{{{ord(found.group()):x}}}", text)


class _Lines(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = shown(record.message)
        return super().formatMessage(record)


def texts() -> Dict[str, str]:
    """The schemas of the types that are read and written, by full name, from the repository's folder."""
    schemas = pathlib.Path(__file__).resolve().parents[3] / "schemas"
    found = {}
    for kind in [*REACTS_TO, REPORTED]:
        _, topic, event = kind.split(".")
        found[kind] = (schemas / topic / f"{event}.avsc").read_text(encoding="utf-8")
    return found


def serve(settings: Settings, _: argparse.Namespace) -> None:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    store = Store(settings.database)
    service = Service(settings, store, texts(), stopping)
    try:
        service.run()
        logging.getLogger("analytics").info("stopped")
    finally:
        service.close()
        store.close()


def describe(settings: Settings, options: argparse.Namespace) -> None:
    said = description(settings)
    if options.output == "json":
        print(json.dumps(said, indent=2))
        return
    for what, value in said.items():
        print(f"{what:14}{', '.join(map(str, value)) if isinstance(value, (list, dict)) else value}")


def positions(settings: Settings, options: argparse.Namespace) -> None:
    store = Store(settings.database, exclusive=bool(options.set or options.forget))
    try:
        if options.forget:
            with store.transaction() as db:
                for table in ("positions", "heads", "topics", "strangers"):
                    db.execute(f"delete from {table} where topic = ?", (options.forget,))
        if options.set:
            topic, partition, offset = options.set
            _set(settings, store, topic, partition, offset, options.anew)
        for row in store.db.execute("select * from positions order by topic, partition").fetchall():
            position = store.position(row["topic"], row["partition"]) or Position()
            heads = ", ".join(f"{source} {head.place}" for source, head in sorted(position.heads.items()))
            print(shown(f"{row['topic']}/{row['partition']}  next {row['next_offset']}  {heads}"))
    finally:
        store.close()


def _set(settings: Settings, store: Store, topic: str, partition: str, offset: str, anew: List[str]) -> None:
    if topic not in [settings.topic(heard) for heard in HEARS] or not partition.isdigit():
        raise Usage(f"{topic}/{partition} is no partition that this service reads")
    old = store.position(topic, int(partition)) or Position()
    new = old.copy()
    if offset == "earliest":
        consumer = Consumer({**settings.client, "group.id": NAME})
        low, _ = consumer.get_watermark_offsets(TopicPartition(topic, int(partition)), timeout=ANSWER)
        consumer.close()
        # What was between is gone: each chain begins anew.
        new = Position(low, {}, set(old.heads) | {f"/farandole/{heard}" for heard in HEARS if topic.endswith(heard)})
    elif not offset.isdigit():
        raise Usage(f"{offset!r} is no offset: a number, or `earliest`")
    else:
        new.next_offset = int(offset)
    for source in anew:
        new.heads.pop(source, None)
        new.anew.add(source)
    with store.transaction():
        store.move(topic, int(partition), new, old)


def parked(settings: Settings, options: argparse.Namespace) -> None:
    store = Store(settings.database, exclusive=bool(options.drop))
    try:
        rows = store.parked(10_000)
        for row in rows:
            record = record_of(row)
            if options.drop is None:
                print(shown(f"{record.cause()}  {row['name']}  {row['reason']}"))
            elif record.cause() == options.drop:
                with store.transaction() as db:
                    db.execute("delete from parked where seq = ?", (row["seq"],))
                    # Sent again, mended, it is heard.
                    told = [name((record.header(which) or "").encode()) for which in ("ce_source", "ce_id")]
                    db.execute("delete from strangers where source = ? and id = ?", told)
                return
        if options.drop is not None:
            raise Usage(f"{options.drop} isn't parked: name it as `analytics parked` does, topic/partition/offset")
    finally:
        store.close()


def mend(settings: Settings, options: argparse.Namespace) -> None:
    store = Store(settings.database)
    topic = settings.topic(NAME)
    try:
        found = Topics(settings.client).look([topic]).get(topic)
        if found is None:
            raise Wrong(f"there is no topic {topic}")
        said = heal(settings, store, topic, found, options.execute)
    finally:
        store.close()
    print("\n".join(said) or "database and topic agree: there is nothing to heal")
    if said and not options.execute:
        print("nothing was done; `analytics heal --execute` begins a new lineage")


def main(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(prog="analytics", description="Daily revenue of the shop")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    verbs.add_parser("serve", help="read, and publish, until SIGTERM").set_defaults(run=serve)
    verb = verbs.add_parser("describe", help="print what the service subscribes to and publishes")
    verb.add_argument("--output", choices=("text", "json"), default="text")
    verb.set_defaults(run=describe)
    verb = verbs.add_parser("positions", help="show where topics are read, or set that")
    verb.add_argument("--set", nargs=3, metavar=("TOPIC", "PARTITION", "OFFSET"), help="read this offset next; `earliest`: the first there is")
    verb.add_argument("--anew", action="append", default=[], metavar="SOURCE", help="with --set: take its next record as the first of its chain")
    verb.add_argument("--forget", metavar="TOPIC", help="read another topic of that name from its beginning")
    verb.set_defaults(run=positions)
    verb = verbs.add_parser("parked", help="show what couldn't be processed, or drop it")
    verb.add_argument("--drop", metavar="TOPIC/PARTITION/OFFSET", help="give this one up; those behind it follow")
    verb.set_defaults(run=parked)
    verb = verbs.add_parser("heal", help="bring database and own topic together after a backup was restored")
    verb.add_argument("--execute", action="store_true", help="do it; without, only say what differs")
    verb.set_defaults(run=mend)
    options = parser.parse_args(arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        options.run(Settings.read(), options)
    except Usage as error:
        print(shown(f"analytics: {error}"), file=sys.stderr)
        return 2
    except (Away, Busy, KafkaException, Wrong) as error:
        print(shown(f"analytics: {error}"), file=sys.stderr)
        return 1
    except sqlite3.Error as error:
        print(shown(f"analytics: the database: {error}; if it doesn't end by itself, restore a backup of the file"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
