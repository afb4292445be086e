#!/usr/bin/env python3
"""Checks the chains of a topic, from "On the wire" in ARCHITECTURE.md alone.

Reads records as `kcat -C -J` prints them, one JSON document a line, from standard input, and prints the counts of
`farandole verify --json` (all but its examples). Usage:

    kcat -b BROKERS -C -t TOPIC -o beginning -e -q -J | chains.py TOPIC PARTITIONS [PARTITION=FIRST-OFFSET ...]

A partition whose beginning is gone is named with its first offset. Standard library only.
"""

import json
import re
import sys

LARGEST = 2**63 - 2**40 - 1
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Damaged(Exception):
    pass


def number(text, largest=LARGEST):
    if not re.fullmatch(r"[0-9]+", text, re.ASCII) or int(text) > largest:
        raise Damaged(f"no number: {text!r}")
    return int(text)


def place(text):
    lineage, colon, n = text.partition(":")
    if not colon:
        raise Damaged(f"no place: {text!r}")
    return number(lineage), number(n)


def link(header):
    """The place that a `farandole` header gives its record, and that of the record before it (None for the first)."""
    fields = {}
    for part in header.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            fields.setdefault(name, value)
    for name in ("l", "n", "p", "c", "k", "i"):
        if name not in fields:
            raise Damaged(f"{name} is missing")
    if not UUID.fullmatch(fields["k"]):
        raise Damaged(f"no UUID: {fields['k']!r}")
    i, slash, n = fields["i"].partition("/")
    if not slash or not 1 <= number(i, 32767) <= number(n, 32767):
        raise Damaged(f"no i/n: {fields['i']!r}")
    previous = None if fields["p"] == "-" else place(fields["p"])
    return (number(fields["l"]), number(fields["n"])), previous


def judge(head, here, previous, cut):
    """What a record at `here` is that follows `previous`, after `head`: (place, the one before it)."""
    if head is None:
        return "links" if previous is None or cut else "gaps"
    last, before = head
    if (here, previous) == head:
        return "duplicates"
    if here[0] == last[0] and here <= last and (before is None or before < here):
        return "forks"
    if here <= last:
        return "ghosts" if here[0] < last[0] else "duplicates"
    if previous == last:
        return "links"
    if previous is not None and previous > last:
        return "gaps"
    return "forks"


def text(value):
    """A header's value; what is no UTF-8, holds a NUL or begins with `:hex:` is read as `:hex:` and its bytes."""
    raw = (value or "").encode("utf-8", errors="surrogateescape")
    try:
        plain = raw.decode("utf-8")
    except UnicodeDecodeError:
        plain = "\0"
    return ":hex:" + raw.hex() if "\0" in plain or plain.startswith(":hex:") else plain


def headers(record):
    """Names and values in turn; of a name that comes twice the first counts."""
    flat = record.get("headers") or []
    found = {}
    for name, value in zip(flat[::2], flat[1::2]):
        found.setdefault(name, text(value))
    return found


def walk(lines, starts):
    heads, chains = {}, {}
    counts = {"records": 0, "foreign": 0, "damaged": 0}
    for line in lines:
        record = json.loads(line)
        counts["records"] += 1
        named = headers(record)
        if "farandole" not in named:
            counts["foreign"] += 1
            continue
        source = named.get("ce_source")
        try:
            here, previous = link(named["farandole"])
        except Damaged:
            source = None
        if source is None:
            counts["damaged"] += 1
            continue
        chain = record["partition"], source
        verdict = judge(heads.get(chain), here, previous, starts.get(record["partition"], 0) > 0)
        tally = chains.setdefault((source, here[0]), dict.fromkeys(("links", "duplicates", "gaps", "forks", "ghosts"), 0))
        tally[verdict] += 1
        if verdict in ("links", "gaps", "forks"):
            heads[chain] = here, previous
    violations = counts["damaged"] + sum(tally["gaps"] + tally["forks"] for tally in chains.values())
    listed = [{"source": source, "lineage": lineage, **tally} for (source, lineage), tally in sorted(chains.items())]
    return {**counts, "violations": violations, "chains": listed}


def main(topic, partitions, *starts):
    starts = dict(map(int, start.split("=")) for start in starts)
    # Headers and values are any bytes, which kcat prints as they are.
    lines = (line.decode("utf-8", errors="surrogateescape") for line in sys.stdin.buffer)
    print(json.dumps({"topic": topic, "partitions": int(partitions), **walk(lines, starts)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
