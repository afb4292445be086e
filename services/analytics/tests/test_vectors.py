"""The vectors beside docs/wire.md, which the kit's tests run too."""

from __future__ import annotations

import json
import pathlib
import unittest
from typing import Any, Dict, List, Optional, Tuple

from analytics.intake import Intake, Outcome, Subscription
from analytics.outbox import Outbox
from analytics.store import Store
from analytics.wire.chain import Head, Place, Verdict, judge
from analytics.wire.partitioner import murmur2, partition
from analytics.wire.record import Damaged, Record, parse, texts
from analytics.wire.value import Reader, Schema, Unreadable
from analytics.wire.write import MOST, Event, headers, size

VECTORS = pathlib.Path(__file__).resolve().parents[3] / "docs" / "wire" / "vectors"


def vectors(name: str) -> Dict[str, Any]:
    found: Dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def raw(said: Any) -> Optional[bytes]:
    """A text stands for its UTF-8 bytes."""
    if said is None:
        return None
    return bytes.fromhex(said["hex"]) if isinstance(said, dict) else str(said).encode()


def place(said: Optional[List[int]]) -> Optional[Place]:
    return None if said is None else Place(*said)


def record(said: Dict[str, Any], topic: str = "orders") -> Record:
    named = texts([(name, raw(value)) for name, value in said["headers"]])
    return Record(topic, 0, said.get("offset", 0), raw(said.get("key")), raw(said.get("value")), named)


def unread(schema_id: int) -> Schema:
    raise Unreadable(f"no schema {schema_id}")


class Vectors(unittest.TestCase):
    def test_partitions(self) -> None:
        for case in vectors("partitions")["keys"]:
            key = raw(case["key"]) or b""
            self.assertEqual(murmur2(key), case["murmur2"], case)
            for count, expected in case["partitions"].items():
                self.assertEqual(partition(key, int(count)), expected, case)

    def test_header(self) -> None:
        for case in vectors("header")["headers"]:
            if "damaged" in case:
                with self.assertRaisesRegex(Damaged, f"field `{case['damaged']}`", msg=case):
                    parse(case["header"])
                continue
            link = parse(case["header"])
            said = (link.place, link.previous, link.cause, link.correlation, list(link.of), link.command)
            expected = (place(case["place"]), place(case["previous"]), case["cause"], case["correlation"], case["of"], case.get("command"))
            self.assertEqual(said, expected, case)

    def test_places(self) -> None:
        for case in vectors("places")["records"]:
            try:
                link = record(case).link()
                kind, source = ("foreign", None) if link is None else ("link", link[0])
            except Damaged:
                kind, source = "damaged", None
            self.assertEqual((kind, source), (case["kind"], case.get("source")), str(case)[:300])

    def test_chain(self) -> None:
        for case in vectors("chain")["cases"]:
            last = place(case["head"])
            head = None if last is None else Head(last, place(case["head_previous"]))
            here = place(case["place"])
            assert here is not None
            self.assertEqual(judge(head, here, place(case["previous"])).value, case["verdict"], case)

    def test_sequences(self) -> None:
        said = vectors("sequences")
        kinds = {kind: Schema(json.dumps(schema)) for kind, schema in said["consumer"]["reacts_to"].items()}
        for sequence in said["sequences"]:
            unknown = sequence.get("unknown", "park")
            subscription = Subscription(frozenset(kinds), frozenset(said["consumer"]["ignores"]), unknown)
            records = [record(each) for each in sequence["records"]]
            self.assertEqual(walk(records, sequence.get("first_offset", 0) > 0), sequence["verify"], sequence["name"])
            if "first_offset" in sequence:
                continue
            expected = {each["offset"]: each["outcome"] for each in sequence["records"]}
            # In one batch, and one by one: where a batch ends must make no difference.
            for size in (len(records), 1):
                store, applied = Store(":memory:"), []
                intake = Intake(store, subscription, Reader(kinds, unread), lambda r, *_: applied.append(r.offset))
                intake.begin("orders", 0)
                outcomes: Dict[int, Optional[str]] = dict.fromkeys(expected)
                for at in range(0, len(records), size):
                    for one, outcome, _ in intake.batch(records[at : at + size], at):
                        outcomes[one.offset] = outcome.value
                self.assertEqual(outcomes, expected, sequence["name"])
                self.assertEqual(applied, [offset for offset, one in expected.items() if one == "apply"])
                # Read again from the beginning, as after a crash: nothing happens twice.
                again = Intake(store, subscription, Reader(kinds, unread), lambda r, *_: applied.append(-1))
                again.begin("orders", 0)
                self.assertEqual([o for _, o, _ in again.batch(records, 0) if o is not Outcome.STOP], [], sequence["name"])
                self.assertNotIn(-1, applied)
                store.close()

    def test_values(self) -> None:
        said = vectors("values")
        kind, reader_schema = said["type"], Schema(json.dumps(said["reader"]))
        known = {int(number): Schema(json.dumps(schema)) for number, schema in said["schemas"].items()}

        def written(schema_id: int) -> Schema:
            return known[schema_id] if schema_id in known else unread(schema_id)

        reader = Reader({kind: reader_schema}, written)
        for case in said["values"]:
            try:
                found: Any = reader.read(kind, case["content_type"], raw(case["value"]) or b"")
            except Unreadable:
                found = None
            self.assertEqual(found, case.get("read"), case)
            self.assertEqual(found is None, case.get("unreadable", False), case)

    def test_written(self) -> None:
        said = vectors("written")
        for case in said["events"]:
            event = Event(**{**case["event"], "of": tuple(case["event"]["of"])})
            here = place(case["place"])
            assert here is not None
            found = headers(said["source"], event, here, place(case["previous"]))
            self.assertEqual(found, [(name, value.encode()) for name, value in case["headers"]], case)
            # What is written is read.
            link = Record("t", 0, 0, headers=texts([(n, raw(v.decode())) for n, v in found if isinstance(v, bytes)])).link()
            assert link is not None
            self.assertEqual((link[1].place, link[1].previous, link[1].cause), (here, place(case["previous"]), event.cause))

    def test_sizes(self) -> None:
        for case in vectors("sizes")["records"]:
            event = Event("", time=0, correlation="", **case["event"])
            found = size(event, case["value_bytes"], [(name, value) for name, value in case["headers"]])
            self.assertEqual((found, found <= MOST), (case["size"], case["fits"]), str(case)[:300])

    def test_what_is_too_large_gets_no_number(self) -> None:
        store = Store(":memory:")
        outbox = Outbox(store)
        outbox.open("/farandole/orders", "orders", None, 3)
        with self.assertRaisesRegex(ValueError, "too large to publish"):
            outbox.append("k", "x.Y", bytes(MOST), 0, "test", None, None)
        outbox.append("k", "x.Y", b"", 0, "test", None, None)
        self.assertEqual([row.place for row in outbox.unsent()], [Place(1, 1)])
        store.close()

    def test_numbers(self) -> None:
        for case in vectors("numbers")["outboxes"]:
            store = Store(":memory:")
            outbox = Outbox(store)
            outbox.open("/farandole/orders", "orders", None, case["partitions"])
            store.db.execute("update own set lineage = ?, next = ?", (case["lineage"], case["next"]))
            for at, (lineage, number) in case["heads"].items():
                store.db.execute("insert into tails values (?, ?, ?)", (int(at), lineage, number))
            for row in case["rows"]:
                outbox.append(row["key"], "shop.OrderPlaced", b"\0\0\0\0\1", 0, "test", None, None)
            found = [(row.key, row.partition, row.place, row.previous) for row in outbox.unsent()]
            expected = [(row["key"], row["partition"], place(row["place"]), place(row["previous"])) for row in case["rows"]]
            self.assertEqual(found, expected)
            store.close()


def walk(records: List[Record], cut: bool) -> Dict[str, int]:
    """What a walk counts that goes on behind what is wrong."""
    counts = dict.fromkeys(("links", "duplicates", "gaps", "forks", "stale", "foreign", "damaged"), 0)
    heads: Dict[str, Head] = {}
    names: Dict[Verdict, str] = {v: v.value if v is Verdict.STALE else v.value + "s" for v in Verdict}
    for one in records:
        try:
            found: Optional[Tuple[str, Any]] = one.link()
        except Damaged:
            counts["damaged"] += 1
            continue
        if found is None:
            counts["foreign"] += 1
            continue
        source, link = found
        verdict = judge(heads.get(source), link.place, link.previous)
        if verdict is Verdict.GAP and source not in heads and cut:
            verdict = Verdict.LINK
        counts[names[verdict]] += 1
        if verdict not in (Verdict.DUPLICATE, Verdict.STALE):
            heads[source] = Head(link.place, link.previous)
    return counts


if __name__ == "__main__":
    unittest.main()
