"""Publishes the outbox, and before that finds out from the topic what of it is there already.

A record is sent under the number that its row has, again and again until it is acknowledged. Of each partition one record is under way at a
time: what is refused or lost is never followed by what comes after it. After any failure the producer is given up, and the topic is asked anew.
"""

from __future__ import annotations

import logging
import operator
import time
import uuid
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from analytics.outbox import Outbox, Row
from analytics.store import Wrong
from analytics.topics import ANSWER, Away
from analytics.wire.chain import Place
from analytics.wire.record import Damaged, Record, texts
from analytics.wire.write import headers

# How long a record may take to be acknowledged.
DELIVERY = 30.0
# Of a record with a header whose name isn't UTF-8 the client gives half a list, and an exception beside it. Called so, that is a `SystemError`;
# called as a method, the interpreter may take the list, and the process dies of it.
_HEADERS = operator.methodcaller("headers")
# Offsets that are looked at, from a partition's end backward; each look four times as many.
STRETCH, LONGEST = 64, 65_536

log = logging.getLogger("analytics")


class Relay:
    def __init__(self, outbox: Outbox, config: Dict[str, Any], source: str, topic: str):
        self.outbox, self.config, self.source, self.topic = outbox, config, source, topic
        self.producer: Optional[Producer] = None

    def publish(self, told_to_stop: Callable[[], bool]) -> bool:
        """Publishes what is in the outbox. False when told to stop before that was done. Raises `Away` and `Wrong`."""
        while True:
            if self.producer is None:
                self.compare()
                self.producer = self._client()
            rows = self.outbox.unsent()
            if not rows:
                return True
            sent: List[Row] = []
            try:
                for wave in waves(rows):
                    if told_to_stop():
                        return False
                    self._send(self.producer, wave)
                    sent += wave
            except (BufferError, KafkaException, Away) as error:
                self.close()
                raise Away(f"publishing to {self.topic}: {error}") from error
            finally:
                self.outbox.acknowledged(sent)

    def _client(self) -> Producer:
        fixed = {
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": int(DELIVERY * 1000),
            "linger.ms": 1,
        }
        return Producer({**self.config, **fixed})

    def _send(self, producer: Producer, rows: List[Row]) -> None:
        failed: List[KafkaError] = []

        def delivered(error: Optional[KafkaError], _: Any) -> None:
            if error is not None:
                failed.append(error)

        for row in rows:
            named = headers(self.source, row.event, row.place, row.previous)
            producer.produce(
                self.topic, row.payload, row.key.encode(), partition=row.partition, headers=named, on_delivery=delivered
            )
        left = producer.flush(DELIVERY + 10)
        if failed or left:
            raise Away(str(failed[0]) if failed else f"{left} records without an answer")

    def close(self) -> None:
        """Gives up what isn't acknowledged. It is sent again, under the same numbers."""
        if self.producer is not None:
            self.producer.purge()
            self.producer.flush(1)
            self.producer = None

    def compare(self) -> None:
        """Finds where the own chain ends in each partition. Rows that the topic holds already are not sent again; raises `Wrong` where the two
        have parted, `Away` where Kafka doesn't tell."""
        partitions = self.outbox.db.execute("select partitions from own").fetchone()[0]
        known = self.outbox.heads()
        client = End(self.config, self.source, self.topic)
        try:
            for partition in range(partitions):
                head = known.get(partition)
                end, expired = client.of(partition, head)
                if end == head or (end is None and expired) or (end is not None and self.outbox.found(partition, *end)):
                    continue
                said = ["nothing" if one is None else f"{one[1]} with number {one[0]}" for one in (end, head)]
                raise Wrong(
                    f"{self.topic}/{partition} ends with {said[0]} of {self.source}, and this database knows of {said[1]}: it is older than the "
                    "topic, or the topic has lost its end. Nothing is published. `analytics heal` says what can be done"
                )
        except KafkaException as error:
            raise Away(f"reading where {self.topic} ends: {error}") from error
        finally:
            client.close()


def waves(rows: List[Row]) -> Iterator[List[Row]]:
    """`rows` in their order, one of each partition at a time: the next has to wait for its acknowledgement."""
    while rows:
        first = {row.partition: row for row in reversed(rows)}
        wave = sorted(first.values(), key=lambda row: row.place)
        rows = [row for row in rows if first[row.partition] is not row]
        yield wave


class End:
    """Reads the own topic from its end backward."""

    def __init__(self, config: Dict[str, Any], source: str, topic: str):
        self.source, self.topic = source, topic
        fixed = {
            "group.id": "analytics-end",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_uncommitted",
            "auto.offset.reset": "error",
        }
        self.consumer = Consumer({**config, **fixed})

    def close(self) -> None:
        self.consumer.close()

    def of(self, partition: int, head: Optional[Tuple[Place, str]]) -> Tuple[Optional[Tuple[Place, str]], bool]:
        """The own record that is furthest along the chain, looked for as far back as `head`; and whether the partition's beginning is gone. A
        repetition may come after it, so the last in the order of offsets says nothing."""
        low, high = self.consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=ANSWER, cached=False)
        best, met, stretch = None, False, STRETCH
        while high > low and not met:
            start = max(low, high - stretch)
            for found in self.own(partition, start, high):
                if best is None or found[0] > best[0]:
                    best = found
                met |= found == head
            high, stretch = start, min(stretch * 4, LONGEST)
        return best, low > 0

    def own(self, partition: int, start: int, end: int) -> Iterator[Tuple[Place, str]]:
        """Place and id of the own records from `start` to before `end`."""
        self.consumer.assign([TopicPartition(self.topic, partition, start)])
        until = time.monotonic() + DELIVERY
        while True:
            message = self.consumer.poll(1.0)
            if message is None:
                if time.monotonic() > until:
                    raise Away(f"reading {self.topic}/{partition}: no answer within {DELIVERY:.0f} s")
                continue
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    break
                raise KafkaException(error)
            if (message.offset() or 0) >= end:
                break
            here = ours(record_of(message), self.source)
            if here is not None:
                yield here
            until = time.monotonic() + DELIVERY
        self.consumer.unassign()


def record_of(message: Any) -> Record:
    """A message, copied out of the client."""
    try:
        named, unread = texts(_HEADERS(message)), None
    except (SystemError, UnicodeError) as error:
        named, unread = [], f"the headers can't be read: {type(error).__name__}"
    return Record(message.topic(), message.partition(), message.offset(), message.key(), message.value(), named, unread)


def ours(record: Record, source: str) -> Optional[Tuple[Place, str]]:
    """Place and id of a record that `source` wrote."""
    try:
        link = record.link()
        id_ = str(uuid.UUID(record.header("ce_id") or ""))
    except (Damaged, ValueError):
        return None
    return (link[1].place, id_) if link is not None and link[0] == source else None
