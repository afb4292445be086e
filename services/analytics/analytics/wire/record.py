"""A record, and what its headers say of its place in a chain."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Optional, Tuple

from analytics.wire.chain import Place

# The greatest lineage and number that are taken.
FURTHEST = 2**63 - 2**40 - 1
# Headers of a record, and bytes of those that are looked at.
MOST_HEADERS = 256
LONGEST = {"ce_source": 512, "ce_id": 512, "ce_type": 512, "content-type": 512, "farandole": 16 * 1024}

_DIGITS = re.compile(r"[0-9]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", re.DOTALL)
_ESCAPED = re.compile(r"[;%,\x00-\x1f]")
_ESCAPE = re.compile(r"%([0-7][0-9a-fA-F])")


class Damaged(Exception):
    """Headers that can't be read; says which and why."""


@dataclass(frozen=True)
class Link:
    """The header `farandole`."""

    place: Place
    previous: Optional[Place]
    cause: str
    correlation: str
    of: Tuple[int, int]
    command: Optional[str] = None


@dataclass(frozen=True)
class Record:
    """A record as it was read. Headers are text, in order; see `text`."""

    topic: str
    partition: int
    offset: int
    key: Optional[bytes] = None
    value: Optional[bytes] = None
    headers: List[Tuple[str, str]] = field(default_factory=list)
    # Why the client couldn't read the headers.
    unread: Optional[str] = None

    def header(self, name: str) -> Optional[str]:
        """Of a name that occurs twice the first counts."""
        return next((value for known, value in self.headers if known == name), None)

    def at(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"

    def cause(self) -> str:
        """As an event that follows from this record names it."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    def size(self) -> int:
        """Bytes, for limits on batches."""
        headers = sum(64 + len(name) + len(value) for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers

    def link(self) -> Optional[Tuple[str, Link]]:
        """Source and place; None of a foreign record. Raises `Damaged`."""
        if self.unread is not None:
            raise Damaged(self.unread)
        self._check_size()
        header = self.header("farandole")
        if header is None:
            return None
        link = parse(header)
        source = self.header("ce_source")
        if source is None:
            raise Damaged("header `ce_source` is missing")
        return source, link

    def _check_size(self) -> None:
        if len(self.headers) > MOST_HEADERS:
            raise Damaged(f"the record has {len(self.headers)} headers; the limit is {MOST_HEADERS}")
        for name, longest in LONGEST.items():
            value = self.header(name)
            size = len(value.encode()) if value is not None else 0
            if size > longest:
                raise Damaged(f"header `{name}` is {size} bytes; the limit is {longest}")

    def traceparent(self) -> Optional[str]:
        """The trace context, if it is one."""
        value = self.header("traceparent")
        return value if value is not None and is_traceparent(value) else None


def text(raw: Optional[bytes]) -> str:
    """A header's value, or its name. What isn't UTF-8, holds a NUL or begins with `:hex:` is `:hex:` and its bytes."""
    raw = raw or b""
    try:
        plain = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ":hex:" + raw.hex()
    return ":hex:" + raw.hex() if "\0" in plain or plain.startswith(":hex:") else plain


def texts(headers: Optional[Iterable[Tuple[str, Optional[bytes]]]]) -> List[Tuple[str, str]]:
    return [(text(name.encode("utf-8", "surrogateescape")), text(value)) for name, value in headers or []]


def parse(header: str) -> Link:
    """Reads the header `farandole`. Raises `Damaged`, which names the field."""
    fields: Dict[str, str] = {}
    for part in header.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            fields.setdefault(name, value)

    def damaged(name: str, fault: str) -> Damaged:
        return Damaged(f"header `farandole`: field `{name}` is {fault} in {header[:200]!r}")

    def there(name: str) -> str:
        if name not in fields:
            raise damaged(name, "missing")
        return fields[name]

    def number(name: str, digits: str, most: int = FURTHEST) -> int:
        # The length first: Python refuses to convert thousands of digits, and says so with an exception of its own.
        if not _DIGITS.fullmatch(digits) or len(digits.lstrip("0")) > 19 or int(digits.lstrip("0") or "0") > most:
            raise damaged(name, "no number")
        return int(digits.lstrip("0") or "0")

    place = Place(number("l", there("l")), number("n", there("n")))
    before = there("p")
    previous = None
    if before != "-":
        lineage, colon, n = before.partition(":")
        if not colon:
            raise damaged("p", "no place")
        previous = Place(number("p", lineage), number("p", n))
    correlation = there("k")
    if not _UUID.fullmatch(correlation):
        raise damaged("k", "no uuid")
    i, slash, n = there("i").partition("/")
    if not slash:
        raise damaged("i", "no fraction")
    of = (number("i", i, 32767), number("i", n, 32767))
    if not 1 <= of[0] <= of[1]:
        raise damaged("i", "no fraction")
    return Link(place, previous, unescape(there("c")), correlation.lower(), of, fields.get("cmd"))


def escape(value: str) -> str:
    return _ESCAPED.sub(lambda found: f"%{ord(found.group()):02X}", value)


def unescape(value: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), value)


def is_traceparent(value: str) -> bool:
    """A W3C trace context; version 00 has exactly four parts."""
    found = _TRACEPARENT.fullmatch(value)
    return found is not None and len(value.encode()) <= 128 and not (found.group(1) == "00" and found.group(2))
