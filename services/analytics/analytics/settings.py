"""Settings, from the environment. The names are those of the kit's services where there is one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping

# What the guarantees rest on.
_FIXED = (
    "bootstrap.servers acks request.required.acks enable.idempotence max.in.flight max.in.flight.requests.per.connection partitioner "
    "enable.gapless.guarantee delivery.timeout.ms message.timeout.ms enable.auto.commit auto.commit.enable isolation.level auto.offset.reset "
    "group.id enable.partition.eof transactional.id"
).split()


class Usage(Exception):
    """A setting that can't be: says which, and what it has to be."""


@dataclass(frozen=True)
class Settings:
    bootstrap: str
    registry: str
    database: str
    prefix: str
    partitions: int
    create: bool
    kafka: Dict[str, str]

    @staticmethod
    def read(env: Mapping[str, str] = os.environ) -> "Settings":
        partitions = env.get("FARANDOLE_TOPICS_PARTITIONS", "12")
        if not (partitions.isascii() and partitions.isdigit() and 1 <= int(partitions) <= 10_000):
            raise Usage(f"FARANDOLE_TOPICS_PARTITIONS is {partitions!r}: it has to be a number from 1 to 10000")
        create = env.get("FARANDOLE_TOPICS_CREATE", "true")
        if create not in ("true", "false"):
            raise Usage(f"FARANDOLE_TOPICS_CREATE is {create!r}: it has to be true or false")
        file = env.get("ANALYTICS_KAFKA_FILE", "")
        return Settings(
            bootstrap=env.get("FARANDOLE_KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
            registry=env.get("FARANDOLE_REGISTRY_URL", "http://127.0.0.1:8081"),
            database=env.get("ANALYTICS_DATABASE", "analytics.db"),
            prefix=env.get("FARANDOLE_TOPICS_PREFIX", ""),
            partitions=int(partitions),
            create=create == "true",
            kafka=_properties(file) if file else {},
        )

    @property
    def client(self) -> Dict[str, Any]:
        """Properties of every Kafka client here."""
        return {"client.id": "analytics", **self.kafka, "bootstrap.servers": self.bootstrap}

    def topic(self, name: str) -> str:
        return self.prefix + name


def _properties(path: str) -> Dict[str, str]:
    """`name=value` a line: how to log in to Kafka, say. They are secrets: no message quotes a value."""
    found = {}
    try:
        with open(path, encoding="utf-8") as file:
            lines: List[str] = file.read().splitlines()
    except OSError as error:
        raise Usage(f"ANALYTICS_KAFKA_FILE {path} can't be read: {error.strerror}") from error
    for at, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise Usage(f"{path}, line {at}: there is no `=`; a line is a name, `=` and a value")
        if name.strip() in _FIXED:
            raise Usage(f"{path}, line {at}: `{name.strip()}` can't be set, since the guarantees rest on it")
        found[name.strip()] = value.strip()
    return found
