"""What a day has brought, whatever order events come in."""

from __future__ import annotations

import itertools
import random
import unittest
from typing import Any, Dict, List, Tuple

from analytics.intake import Refused
from analytics.outbox import Outbox
from analytics.revenue import AUTHORISED, CANCELLED, CONFIRMED, REFUNDED, VOIDED, WRITTEN_OFF, Revenue, key_of
from analytics.store import Store
from analytics.wire.record import Record

DAY = 24 * 3600 * 1_000_000
Told = Tuple[str, Dict[str, Any]]


def confirmed(order: str, day: int) -> Told:
    return CONFIRMED, {"order_id": order, "confirmed_at": day * DAY + 5}


def authorised(order: str, amount: int, currency: str = "GBP") -> Told:
    return AUTHORISED, {"order_id": order, "amount": amount, "currency": currency}


def cancelled(order: str) -> Told:
    return CANCELLED, {"order_id": order}


def voided(order: str) -> Told:
    return VOIDED, {"order_id": order}


def written_off(order: str) -> Told:
    return WRITTEN_OFF, {"order_id": order}


def refunded(order: str) -> Told:
    return REFUNDED, {"order_id": order}


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.store = Store(":memory:")
        self.revenue = Revenue(self.store.db)
        self.offset = 0

    def tearDown(self) -> None:
        self.store.close()

    def tell(self, *told: Told) -> Dict[str, Tuple[int, int]]:
        """One batch; what is reported, as orders and revenue by key."""
        with self.store.transaction():
            for kind, value in told:
                self.offset += 1
                self.revenue.handle(Record("t", 0, self.offset), None, kind, value)
            reports = self.revenue.reports(7)
        return {key: (report["orders"], report["revenue"]) for key, (report, _) in reports.items()}

    def test_every_order_of_events_gives_the_same(self) -> None:
        for events, expected in (
            ([confirmed("o", 3), authorised("o", 500)], (1, 500)),
            ([confirmed("o", 3), authorised("o", 500), cancelled("o"), voided("o")], (0, 0)),
            ([confirmed("o", 3), authorised("o", 500), voided("o")], (0, 0)),
            ([confirmed("o", 3), authorised("o", 500), refunded("o")], (0, 0)),
            ([confirmed("o", 3), authorised("o", 500), written_off("o"), refunded("o")], (0, 0)),
            ([confirmed("o", 3), cancelled("o")], (0, 0)),
            ([authorised("o", 500), cancelled("o")], (0, 0)),
        ):
            for order in itertools.permutations(events):
                self.setUp()
                for told in order:
                    self.tell(told)
                row = self.store.db.execute("select sum(orders), sum(revenue) from days").fetchone()
                self.assertEqual(tuple(value or 0 for value in row), expected, order)

    def test_a_report_comes_once_a_batch_and_only_if_something_is_another(self) -> None:
        self.assertEqual(self.tell(confirmed("a", 3), confirmed("b", 3), authorised("a", 500)), {"1970-01-04/GBP": (1, 500)})
        self.assertEqual(self.tell(authorised("b", 70), confirmed("c", 4), authorised("c", 1, "EUR")), {"1970-01-04/GBP": (2, 570), "1970-01-05/EUR": (1, 1)})
        self.assertEqual(self.tell(confirmed("d", 3), authorised("d", 9), cancelled("d")), {})
        self.assertEqual(self.tell(cancelled("a"), voided("a"), cancelled("nobody")), {"1970-01-04/GBP": (1, 70)})

    def test_a_report_names_what_changed_it_last(self) -> None:
        with self.store.transaction():
            for offset, (kind, value) in enumerate([confirmed("a", 3), authorised("a", 5), confirmed("b", 3)]):
                self.revenue.handle(Record("t", 2, offset), f"k{offset}", kind, value)
            (_, cause), = self.revenue.reports(7).values()
        self.assertEqual((cause.record, cause.correlation), ("t/2/1", "k1"))

    def test_what_cannot_be_a_report_is_refused(self) -> None:
        for kind, value in (
            authorised("o", -1),
            authorised("o", 5, "gbp"),
            authorised("o", 5, "GBP\n"),
            confirmed("o", 4_000_000),
            confirmed("o", -800_000),
        ):
            with self.assertRaises(Refused, msg=value):
                self.revenue.handle(Record("t", 0, 0), None, kind, value)
        self.tell(confirmed("a", 3), authorised("a", 2**63 - 1), confirmed("b", 3))
        with self.assertRaises(Refused):
            self.tell(authorised("b", 1))

    def test_random_histories_add_up(self) -> None:
        chance = random.Random(7)
        for _ in range(30):
            self.setUp()
            told: List[Told] = []
            truth: Dict[str, Tuple[int, int]] = {}
            for order in map(str, range(40)):
                day, amount, undone = chance.randrange(3), chance.randrange(100), chance.random() < 0.3
                told += [confirmed(order, day), authorised(order, amount)] + ([cancelled(order), voided(order)] if undone else [])
                if not undone:
                    orders, revenue = truth.get(key_of(day, "GBP"), (0, 0))
                    truth[key_of(day, "GBP")] = (orders + 1, revenue + amount)
            chance.shuffle(told)
            last: Dict[str, Tuple[int, int]] = {}
            while told:
                size = chance.randrange(1, 9)
                last.update(self.tell(*told[:size]))
                told = told[size:]
            self.assertEqual({key: figures for key, figures in last.items() if figures != (0, 0)}, truth)


class Publishing(unittest.TestCase):
    def test_what_the_topic_ends_with_is_published_and_all_before_it(self) -> None:
        store = Store(":memory:")
        outbox = Outbox(store)
        outbox.open("/farandole/analytics", "analytics", "id", 1)
        for key in "abc":
            outbox.append(key, "x.Y", b"", 0, "test", None, None)
        first, second, third = outbox.unsent()
        self.assertFalse(outbox.found(0, second.place, first.event.id), "an id of another place")
        self.assertTrue(outbox.found(0, second.place, second.event.id))
        self.assertEqual((outbox.unsent(), outbox.heads()), ([third], {0: (second.place, second.event.id)}))
        outbox.acknowledged([third])
        self.assertEqual((outbox.unsent(), outbox.heads()[0][0]), ([], third.place))
        store.close()
