"""Settings, from the environment. The names are those of the kit's services where there is one."""

from __future__ import annotations

import os
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping

# What the guarantees rest on.
_FIXED = (
    "bootstrap.servers acks request.required.acks enable.idempotence max.in.flight max.in.flight.requests.per.connection partitioner "
    "enable.gapless.guarantee delivery.timeout.ms message.timeout.ms enable.auto.commit auto.commit.enable isolation.level auto.offset.reset "
    "group.id enable.partition.eof transactional.id"
).split()
# A broker, as Kafka's client takes it: a host, or an IPv6 address, and mostly a port. It only complains of anything else, and waits.
_BROKER = re.compile(r"([A-Za-z_]+://)?(\[[0-9A-Fa-f:.%\w]+\]|[0-9A-Fa-f.%]*:[0-9A-Fa-f:.%]*:[0-9A-Fa-f:.%]*|[^\s:/@\[\]]+)(?::([0-9]{1,5}))?")
# What Kafka takes as the beginning of a topic's name; the rest is short.
_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,200}")


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
        if not (partitions.isascii() and partitions.isdigit() and len(partitions) <= 5 and 1 <= int(partitions) <= 10_000):
            raise Usage(f"FARANDOLE_TOPICS_PARTITIONS is {partitions!r}: it has to be a number from 1 to 10000")
        create = env.get("FARANDOLE_TOPICS_CREATE", "true")
        if create not in ("true", "false"):
            raise Usage(f"FARANDOLE_TOPICS_CREATE is {create!r}: it has to be true or false")
        prefix = env.get("FARANDOLE_TOPICS_PREFIX", "")
        if not _PREFIX.fullmatch(prefix):
            raise Usage(f"FARANDOLE_TOPICS_PREFIX is {prefix!r}: it has to be at most 200 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`")
        database = env.get("ANALYTICS_DATABASE", "analytics.db")
        if not database:
            raise Usage("ANALYTICS_DATABASE is empty: it has to be a file, such as analytics.db")
        file = env.get("ANALYTICS_KAFKA_FILE", "")
        return Settings(
            bootstrap=_brokers(env.get("FARANDOLE_KAFKA_BOOTSTRAP", "127.0.0.1:9092")),
            registry=_registry(env.get("FARANDOLE_REGISTRY_URL", "http://127.0.0.1:8081")),
            database=database,
            prefix=prefix,
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


def _brokers(text: str) -> str:
    found = [_BROKER.fullmatch(each.strip()) for each in text.split(",") if each.strip()]
    if not found or not all(each is not None and 1 <= int(each.group(3) or 9092) <= 65_535 for each in found):
        raise Usage(f"FARANDOLE_KAFKA_BOOTSTRAP is {text!r}: it has to be brokers, such as 10.0.0.1:9092,10.0.0.2:9092")
    return text


def _registry(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        # Reading the port checks it.
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", url)
    except ValueError:
        whole = False
    if not whole:
        # Not quoted: it may hold a password.
        raise Usage("FARANDOLE_REGISTRY_URL is no URL of a registry: it has to be one such as http://127.0.0.1:8081")
    return url


def _properties(path: str) -> Dict[str, str]:
    """`name=value` a line: how to log in to Kafka, say. They are secrets: no message quotes a value."""
    found = {}
    try:
        with open(path, encoding="utf-8") as file:
            lines: List[str] = file.read().splitlines()
    except OSError as error:
        raise Usage(f"ANALYTICS_KAFKA_FILE {path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not as its cause, which has the bytes.
        raise Usage(f"ANALYTICS_KAFKA_FILE {path} isn't UTF-8 text") from None
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
