"""What a producer writes: the headers of a record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Iterable, List, Optional, Tuple, Union

from analytics.wire.chain import Place
from analytics.wire.record import escape

# Bytes that a record may count as; larger ones don't get into an outbox.
MOST = 1024 * 1024

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


def size(event: Event, value: int, further: Iterable[Tuple[str, str]] = ()) -> int:
    """What a record counts as, no less than it is with its batch: `value` is the value's bytes, `further` are headers beside those above."""
    counted = [("content-type", event.content_type), *further]
    once = [event.subject, event.subject, event.type, event.traceparent or ""]
    parts = once + [event.cause] * 3 + [text for header in counted for text in header]
    return value + sum(len(part.encode()) for part in parts) + 6 * len(counted) + 1024


def rfc3339(micros: int) -> str:
    """UTC, with six digits of a second and a Z."""
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%f").zfill(26) + "Z"
