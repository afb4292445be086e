"""The service: reads a batch, stores what follows from it, publishes that, and so on. One thread does one thing after the other, so nothing is
read that can't be published, and no queue grows."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from typing import Dict, List

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from analytics.codec import Codec
from analytics.describe import HEARS, NAME, REPORTED, SOURCE, SUBSCRIPTION
from analytics.intake import Full, Intake, Outcome
from analytics.outbox import Outbox
from analytics.registry import Registry, Trouble
from analytics.relay import Relay, record_of
from analytics.revenue import Revenue
from analytics.settings import Settings
from analytics.store import Store
from analytics.topics import ANSWER, Away, Topics
from analytics.wire.record import Record

# Records and bytes of a batch: what is held in memory, and what a crash makes to be read again.
BATCH, BYTES = 500, 8 << 20
# How often topics are looked at, while all are there and while one isn't, and parked records tried again.
LOOK, LOOK_AGAIN, RETRY = 60.0, 2.0, 60.0
# Waits after trouble: the first, and the longest.
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0

log = logging.getLogger("analytics")


class Service:
    def __init__(self, settings: Settings, store: Store, texts: Dict[str, str], stopping: threading.Event):
        self.settings, self.store, self.stopping = settings, store, stopping
        self.topic = settings.topic(NAME)
        self.topics = Topics(settings.client)
        self.codec = Codec(store, Registry(settings.registry), texts)
        self.revenue = Revenue(store.db)
        self.intake = Intake(store, SUBSCRIPTION, self.codec.reader, self.revenue.handle)
        self.outbox = Outbox(store)
        self.relay = Relay(self.outbox, settings.client, SOURCE, self.topic)
        fixed = {
            "group.id": f"{settings.prefix}{NAME}",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": 16_384,
            # Nobody is a member of the group: partitions are assigned here.
            "max.poll.interval.ms": 86_400_000,
        }
        self.consumer = Consumer({**settings.client, **fixed})
        self.partitions: Dict[str, int] = {}
        self.started = False
        self.look_at = self.retry_at = 0.0

    def run(self) -> None:
        """Until `stopping` is set. Raises `Wrong` when a person has to act first; anything that passes is waited for."""
        wait, told = FIRST_WAIT, ""
        while not self.stopping.is_set():
            try:
                if not self.started:
                    self._start()
                self._round()
                if told:
                    log.info("going on")
                wait, told = FIRST_WAIT, ""
            except (Away, Full, Trouble, KafkaException, sqlite3.OperationalError) as trouble:
                self.revenue.changed.clear()
                # What was read and not stored is read again.
                self.look_at, self.partitions = 0.0, {}
                if str(trouble) != told:
                    log.warning("waiting: %s", trouble)
                told = str(trouble)
                self.stopping.wait(wait)
                wait = min(wait * 2, LONGEST_WAIT)

    def close(self) -> None:
        self.relay.close()
        self.consumer.close()

    def _start(self) -> None:
        own = self.topics.ensure(self.topic, self.settings.partitions, self.settings.create)
        self.outbox.open(SOURCE, self.topic, own.id, own.partitions)
        self.codec.register(self.topic)
        # Nothing is read before it is known that this database is as new as what was published from it.
        self.relay.compare()
        self.started = True

    def _round(self) -> None:
        if time.monotonic() >= self.look_at:
            self._look()
        if time.monotonic() >= self.retry_at:
            while self.intake.retry(_now(), self._report):
                pass
            self.retry_at = time.monotonic() + RETRY
        records = self._read()
        if records:
            self.codec.prepare(records)
            outcomes = self.intake.batch(records, _now(), self._report)
            for record, outcome, _ in outcomes:
                if outcome is Outcome.STOP:
                    self.consumer.pause([TopicPartition(record.topic, record.partition)])
        self.relay.publish(self.stopping.is_set)

    def _report(self) -> None:
        now = _now()
        for key, (report, cause) in self.revenue.reports(now).items():
            self.outbox.append(key, REPORTED, self.codec.encode(report), now, cause.record, cause.correlation, cause.traceparent)

    def _read(self) -> List[Record]:
        """Waits a moment for the first record, and takes what is there with it."""
        records: List[Record] = []
        size, wait = 0, 0.1
        while len(records) < BATCH and size < BYTES:
            message = self.consumer.poll(wait)
            if message is None:
                break
            wait = 0.0
            if message.error() is not None:
                self._complain(message)
                continue
            at = (message.topic(), message.partition())
            if at in self.intake.stopped:
                continue
            records.append(record_of(message))
            size += records[-1].size()
        return records

    def _complain(self, message: object) -> None:
        error: KafkaError = message.error()  # type: ignore[attr-defined]
        topic, partition = message.topic(), message.partition()  # type: ignore[attr-defined]
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._stop(topic, partition, "what was to be read next isn't there: it has expired, or the topic was truncated")
        else:
            log.warning("reading %s: %s", topic or "Kafka", error)

    def _look(self) -> None:
        """Reads what is there of the topics, partitions that were added too; notices one that was deleted and created again."""
        names = [self.settings.topic(topic) for topic in HEARS]
        found = self.topics.look(names)
        missing = [name for name in names if name not in found]
        if missing and self.look_at == 0:
            log.warning("there is no topic %s yet; its events are read once it is there", ", ".join(missing))
        for name, topic in found.items():
            known = self.store.db.execute("select id from topics where topic = ?", (name,)).fetchone()
            if known is None and topic.id is not None:
                self.store.db.execute("insert into topics values (?, ?)", (name, topic.id))
            elif known is not None and topic.id not in (None, known["id"]):
                why = f"the topic was deleted and created again; to read the new one from its beginning: `analytics positions --forget {name}`"
                for partition in range(topic.partitions):
                    if (name, partition) not in self.intake.stopped:
                        self.intake.stop((name, partition), why)
                        self.partitions = {}
        counts = {name: topic.partitions for name, topic in found.items()}
        if counts != self.partitions:
            self._assign(counts)
        self.look_at = time.monotonic() + (LOOK_AGAIN if missing else LOOK)

    def _assign(self, counts: Dict[str, int]) -> None:
        all_ = [(topic, partition) for topic, count in counts.items() for partition in range(count)]
        starts = [(at, self.intake.begin(*at)) for at in all_ if at not in self.intake.stopped]
        for (topic, partition), start in starts:
            low, high = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER, cached=False)
            if not low <= start <= high:
                self._stop(topic, partition, f"the position is {start}, but the topic holds {low} to {high}: records have expired, or were lost")
        self.consumer.assign([TopicPartition(*at, start) for at, start in starts if at not in self.intake.stopped])
        self.partitions = counts
        log.info("reading %s", ", ".join(f"{topic} ({count})" for topic, count in counts.items()))

    def _stop(self, topic: str, partition: int, why: str) -> None:
        how = f"to go on where the topic begins now: `analytics positions --set {topic} {partition} earliest`"
        self.intake.stop((topic, partition), f"{why}; {how}")
        if self.partitions:
            self.consumer.pause([TopicPartition(topic, partition)])


def _now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000
