"""What a producer writes: the headers of a record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import List, Optional, Tuple, Union

from analytics.wire.chain import Place
from analytics.wire.record import escape

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Event:
    """An event before it has a place. `time` is in microseconds since 1970, `of` is (i, n)."""

    id: str
    type: str
    subject: str
    time: int
    cause: str
    correlation: str
    of: Tuple[int, int] = (1, 1)
    traceparent: Optional[str] = None
    content_type: str = "application/avro"


def headers(source: str, event: Event, place: Place, previous: Optional[Place]) -> List[Tuple[str, Union[str, bytes, None]]]:
    """The headers of `event` when it is published at `place`, after `previous` in its partition."""
    link = (
        f"l={place.lineage};n={place.number};p={'-' if previous is None else previous};c={escape(event.cause)}"
        f";k={event.correlation};i={event.of[0]}/{event.of[1]}"
    )
    named = [
        ("ce_specversion", "1.0"),
        ("ce_id", event.id),
        ("ce_source", source),
        ("ce_type", event.type),
        ("ce_subject", event.subject),
        ("ce_time", rfc3339(event.time)),
        ("content-type", event.content_type),
        ("traceparent", event.traceparent),
        ("farandole", link),
    ]
    return [(name, value.encode()) for name, value in named if value is not None]


def rfc3339(micros: int) -> str:
    """UTC, with six digits of a second and a Z."""
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%f").zfill(26) + "Z"
