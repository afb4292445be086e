"""Questions about topics, and the own one's making. Nothing else of a topic is ever changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]

from analytics.store import Wrong

# How long brokers may take to answer.
ANSWER = 10.0


class Away(Exception):
    """Kafka, or a topic, isn't there yet: waiting mends it."""


@dataclass(frozen=True)
class Topic:
    id: Optional[str]
    partitions: int


class Topics:
    def __init__(self, config: Dict[str, Any]):
        self.admin = AdminClient(config)

    def look(self, names: List[str]) -> Dict[str, Topic]:
        """Those of `names` that are there."""
        try:
            there = self.admin.list_topics(timeout=ANSWER).topics
            found = {name: there[name] for name in names if name in there and there[name].error is None}
            ids = self._ids(list(found))
        except KafkaException as error:
            raise Away(f"asking Kafka for topics: {error}") from error
        return {name: Topic(ids.get(name), len(topic.partitions)) for name, topic in found.items()}

    def _ids(self, names: List[str]) -> Dict[str, str]:
        """Brokers before 2.8 have none, and whoever may not describe a topic is told none."""
        if not names:
            return {}
        ids = {}
        for name, told in self.admin.describe_topics(TopicCollection(names), request_timeout=ANSWER).items():
            try:
                ids[name] = str(told.result().topic_id)
            except KafkaException:
                continue
        return ids

    def ensure(self, name: str, partitions: int, create: bool) -> Topic:
        """The own topic, made if it isn't there and that may be done: kept for ever, never compacted."""
        found = self.look([name]).get(name)
        if found is None and not create:
            raise Wrong(f"there is no topic {name}: create it with {partitions} partitions, cleanup.policy=delete and retention.ms=-1")
        if found is None:
            brokers = len(self.admin.list_topics(timeout=ANSWER).brokers)
            config = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
            config["min.insync.replicas"] = "2" if brokers >= 3 else "1"
            new = NewTopic(name, num_partitions=partitions, replication_factor=3 if brokers >= 3 else 1, config=config)
            try:
                self.admin.create_topics([new], request_timeout=ANSWER)[name].result()
            except KafkaException as error:
                # Brokers hear of a topic one after the other.
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise Away(f"creating {name}: {error}") from error
            raise Away(f"waiting for the new topic {name}")
        if "compact" in self._policy(name):
            raise Wrong(f"{name} is compacted, which deletes records that later ones name: set its cleanup.policy to delete")
        return found

    def _policy(self, name: str) -> str:
        asked = ConfigResource(ConfigResource.Type.TOPIC, name)
        try:
            return str(self.admin.describe_configs([asked], request_timeout=ANSWER)[asked].result()["cleanup.policy"].value)
        except (KafkaException, KeyError):
            return ""
