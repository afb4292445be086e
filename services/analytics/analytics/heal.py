"""Brings database and own topic together again where they have parted: a backup was restored, or the topic lost its end.

What is in the topic stays true. A new lineage begins, whose first record in each partition names the last one that was found there; rows of the
outbox that aren't in the topic are numbered anew in it. What the older database hasn't read yet it reads again, and reports again."""

from __future__ import annotations

import time
from typing import Dict, List, Set, Tuple

from confluent_kafka import TopicPartition

from analytics.describe import SOURCE
from analytics.outbox import Outbox
from analytics.relay import End
from analytics.settings import Settings
from analytics.store import Store, Wrong
from analytics.topics import ANSWER, Topic
from analytics.wire.chain import Place


def heal(settings: Settings, store: Store, topic: str, there: Topic, execute: bool) -> List[str]:
    """What differs; with `execute` also what was done."""
    outbox = Outbox(store)
    own = store.db.execute("select * from own").fetchone()
    if own is None:
        outbox.open(SOURCE, topic, there.id, there.partitions)
        own = store.db.execute("select * from own").fetchone()
    if own["partitions"] != there.partitions:
        raise Wrong(f"{topic} has {there.partitions} partitions, and had {own['partitions']}: no heal puts keys back; make it again as it was")
    rows = {row["id"] for row in store.db.execute("select id from outbox")}
    unsent = {row["id"] for row in store.db.execute("select id from outbox where acked = 0")}
    known, sent = outbox.heads(), set()
    ends: Dict[int, Tuple[Place, str]] = {}
    client = End(settings.client, SOURCE, topic)
    try:
        for partition in range(there.partitions):
            low, high = client.consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER, cached=False)
            for found in client.own(partition, low, high) if high > low else ():
                ends[partition] = max(found, ends.get(partition, found))
                sent.update({found[1]} & rows)
    finally:
        client.close()

    def apart(partition: int) -> bool:
        end, head = ends.get(partition), known.get(partition)
        return end != head and (end is None or end[1] not in unsent)

    differ = [partition for partition in range(there.partitions) if apart(partition)]
    said = [f"{topic}/{at} ends with {ends.get(at, ('nothing',))[0]}, the database knows of {known.get(at, ('nothing',))[0]}" for at in differ]
    recreated = None not in (own["topic_id"], there.id) and own["topic_id"] != there.id
    if recreated:
        said.append(f"{topic} was deleted and created again: what it held before is lost to those who haven't read it")
    if not said or not execute:
        return said
    # The time, since a lineage may have been given of which nothing is in the topic yet: by a heal of the same backup before this one.
    lineage = max([int(time.time()), *(1 + end[0].lineage for end in ends.values()), 1 + own["lineage"]])
    following = _continue(store, lineage, there, ends, sent)
    return [*said, f"healed: lineage {lineage} begins; {following} rows will be published in it"]


def _continue(store: Store, lineage: int, there: Topic, ends: Dict[int, Tuple[Place, str]], sent: Set[str]) -> int:
    """Gives how many rows will be published."""
    with store.transaction() as db:
        # What lies beyond the end that a partition has now was lost with it.
        for partition in range(there.partitions):
            end = ends[partition][0] if partition in ends else Place(0, 0)
            db.execute("update outbox set acked = 0 where partition = ? and (lineage, number) > (?, ?)", (partition, end.lineage, end.number))
        db.executemany("update outbox set acked = 1 where id = ?", [(id_,) for id_ in sent])
        db.execute("delete from tails")
        db.execute("delete from published")
        for partition, (at, id_) in ends.items():
            db.execute("insert into published values (?, ?, ?, ?)", (partition, at.lineage, at.number, id_))
            db.execute("insert into tails values (?, ?, ?)", (partition, at.lineage, at.number))
        following = 1
        for row in db.execute("select seq, partition from outbox where acked = 0 order by seq").fetchall():
            before = db.execute("select lineage, number from tails where partition = ?", (row["partition"],)).fetchone() or (None, None)
            numbered = "update outbox set lineage = ?, number = ?, before_lineage = ?, before_number = ? where seq = ?"
            db.execute(numbered, (lineage, following, *before, row["seq"]))
            db.execute("insert or replace into tails values (?, ?, ?)", (row["partition"], lineage, following))
            following += 1
        db.execute("update own set lineage = ?, next = ?, topic_id = ?", (lineage, following, there.id))
        return following - 1
