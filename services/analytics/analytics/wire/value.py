"""Values: Avro in Confluent's framing, or JSON, as the header `content-type` says."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from typing import Any, Callable, Dict, List, Optional, Set, Tuple, Union

import fastavro

AVRO = "application/avro"


class Unreadable(Exception):
    """A value that can't be read, and why. Waiting doesn't mend it."""


def format_of(content_type: Optional[str]) -> str:
    """`avro` or `json`. What is missing or unknown counts as Avro, which the topics here are written in."""
    essence = (content_type or "").split(";")[0].strip().lower()
    return "json" if essence in ("application/json", "text/json") or essence.endswith("+json") else "avro"


def split(value: bytes) -> Tuple[int, bytes]:
    """The schema's id, and the datum behind it."""
    if len(value) < 5 or value[0] != 0:
        raise Unreadable(f"{len(value)} bytes without a leading schema id")
    return int.from_bytes(value[1:5], "big", signed=True), value[5:]


def frame(schema_id: int, datum: bytes) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + datum


class Schema:
    """An Avro record schema. Values are the plain ones below logical types: a time is a number, a UUID is text."""

    def __init__(self, text: str):
        try:
            parsed = fastavro.parse_schema(_plain(json.loads(text)))
        except Exception as error:  # a stranger's text: fastavro raises whatever it meets
            raise Unreadable(f"the schema can't be used: {error}") from error
        if not isinstance(parsed, dict) or parsed.get("type") != "record":
            raise Unreadable("the schema isn't a record's")
        self.parsed, self.name = parsed, str(parsed["name"])

    def encode(self, value: Dict[str, Any]) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self.parsed, value, strict=True)
        return out.getvalue()

    def decode(self, datum: bytes, writer: "Schema") -> Dict[str, Any]:
        """A value that `writer` wrote, as this schema says. All of its bytes have to be the value's."""
        source = _Whole(datum)
        try:
            value = fastavro.schemaless_reader(source, writer.parsed, self.parsed)
        except Exception as error:  # a stranger's bytes
            raise Unreadable(f"reading a {self.name}: {type(error).__name__} {error}".rstrip()) from error
        extra = len(datum) - source.tell()
        if extra:
            raise Unreadable(f"{extra} trailing bytes after {self.name}")
        if not isinstance(value, dict):
            raise Unreadable(f"reading a {self.name}: it isn't a record")
        return value

    def from_json(self, value: bytes) -> Dict[str, Any]:
        """One JSON object. Fields that the schema doesn't know are skipped, those that it lacks must have a default."""
        try:
            # As text: of bytes, `json` guesses the encoding.
            found = _JSON.decode(value.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"reading {self.name} from JSON: {error}") from error
        if not isinstance(found, _Object):
            raise Unreadable(f"reading {self.name}: the value is not a JSON object")
        if not all(map(_is_text, found)):
            raise Unreadable(f"reading {self.name} from JSON: a name has half a character")
        whole = {}
        for named in self.parsed["fields"]:
            if named["name"] in found.twice:
                raise Unreadable(f"reading {self.name} from JSON: field `{named['name']}` is there twice")
            if named["name"] in found:
                whole[named["name"]] = found[named["name"]]
                _check(self.name, named["name"], whole[named["name"]])
            elif "default" in named:
                whole[named["name"]] = named["default"]
            else:
                raise Unreadable(f"reading {self.name} from JSON: field `{named['name']}` is missing")
        try:
            fastavro.validate(whole, self.parsed)
        except Exception as error:  # fastavro's own, and whatever an odd value makes it meet
            raise Unreadable(f"reading {self.name} from JSON: {error}") from error
        return whole


class _Object(Dict[str, Any]):
    """A JSON object, and the names that it has more than once."""

    twice: Set[str]


def _object(pairs: List[Tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    found.twice = set() if len(found) == len(pairs) else {name for name, count in Counter(name for name, _ in pairs).items() if count > 1}
    return found


def _whole_number(digits: str) -> Union[int, float]:
    # Only a float has a zero below zero. Python refuses to make an int of thousands of digits, also where nobody reads it.
    return float(digits) if digits == "-0" or len(digits) > 400 else int(digits)


def _constant(word: str) -> Any:
    raise ValueError(f"{word} isn't JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole_number, parse_constant=_constant)


def _is_text(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _check(kind: str, name: str, value: Any) -> None:
    """Refuses what Python's JSON takes and others don't, in what is read; `name` is the field that has it."""
    fault = None
    if isinstance(value, str) and not _is_text(value):
        fault = "has half a character"
    elif isinstance(value, float) and not math.isfinite(value):
        fault = "is a number that is too large"
    elif isinstance(value, _Object):
        if value.twice:
            fault = f"has `{min(value.twice)}` twice"
        for inner in value:
            _check(kind, name, inner)
            _check(kind, f"{name}.{inner}", value[inner])
    elif isinstance(value, list):
        for inner in value:
            _check(kind, name, inner)
    if fault is not None:
        raise Unreadable(f"reading {kind} from JSON: field `{name}` {fault}")


class _Whole(io.BytesIO):
    """Bytes of which none are there beyond the end: fewer than were asked for, or a length below 0, are an error."""

    def read(self, size: Optional[int] = -1) -> bytes:
        if size is None or size < 0:
            raise ValueError("a length below 0")
        found = super().read(size)
        if len(found) < size:
            raise EOFError("the value is truncated")
        return found


def _plain(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key not in ("logicalType", "precision", "scale")}
    return [_plain(each) for each in schema] if isinstance(schema, list) else schema


class Reader:
    """Reads values of the types that somebody subscribes to. `written` gives the schema behind an id."""

    def __init__(self, schemas: Dict[str, Schema], written: Callable[[int], Schema]):
        self.schemas, self.written = schemas, written

    def read(self, kind: str, content_type: Optional[str], value: bytes) -> Dict[str, Any]:
        """Raises `Unreadable`."""
        reader = self.schemas[kind]
        if format_of(content_type) == "json":
            return reader.from_json(value)
        schema_id, datum = split(value)
        writer = self.written(schema_id)
        if writer.name != kind:
            raise Unreadable(f"expected {kind}, found {writer.name} (schema {schema_id})")
        return reader.decode(datum, writer)
