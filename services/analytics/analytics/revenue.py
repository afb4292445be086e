"""Revenue per day and currency: what an order brings counts on the UTC day on which it was confirmed, once its payment is authorised too, and
until it is cancelled, or the payment is voided, written off or given back. The two topics have no order between them, so each event may be the
first."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Dict, Optional, Tuple

from analytics.intake import Refused
from analytics.wire.record import Record

CONFIRMED = "farandole.orders.OrderConfirmed"
CANCELLED = "farandole.orders.OrderCancelled"
AUTHORISED = "farandole.payments.PaymentAuthorised"
VOIDED = "farandole.payments.PaymentVoided"
WRITTEN_OFF = "farandole.payments.PaymentWrittenOff"
REFUNDED = "farandole.payments.PaymentRefunded"

_EPOCH = date(1970, 1, 1)
_DAY = 24 * 3600 * 1_000_000
_LONG = 2**63 - 1


@dataclass(frozen=True)
class Cause:
    """The input that changed a day last: what its report names."""

    record: str
    correlation: Optional[str]
    traceparent: Optional[str]


class Revenue:
    """Keeps `orders` and `days`. `changed` collects what has to be reported, until `reports` takes it."""

    def __init__(self, db: sqlite3.Connection):
        self.db = db
        self.changed: Dict[Tuple[int, str], Cause] = {}

    def handle(self, record: Record, correlation: Optional[str], kind: str, value: Dict[str, Any]) -> None:
        """Applies an event; raises `Refused`, and then has changed nothing but in the transaction."""
        order = value["order_id"]
        self.db.execute("insert or ignore into orders (order_id) values (?)", (order,))
        if kind == CONFIRMED:
            day_of(value["confirmed_at"])
            self.db.execute("update orders set confirmed_at = coalesce(confirmed_at, ?) where order_id = ?", (value["confirmed_at"], order))
        elif kind == AUTHORISED:
            amount, currency = value["amount"], value["currency"]
            if amount < 0 or not re.fullmatch("[A-Z]{3}", currency):
                raise Refused(f"an authorisation of {amount} {currency[:20]!r}: the amount has to be 0 or more, the currency ISO 4217's code")
            what = "update orders set amount = ?, currency = ? where order_id = ? and amount is null"
            self.db.execute(what, (amount, currency, order))
        else:
            self.db.execute("update orders set reversed = 1 where order_id = ?", (order,))
        self._count(order, Cause(record.cause(), correlation, record.traceparent()))

    def _count(self, order: str, cause: Cause) -> None:
        row = self.db.execute("select * from orders where order_id = ?", (order,)).fetchone()
        counts = row["confirmed_at"] is not None and row["amount"] is not None and not row["reversed"]
        if counts == bool(row["counted"]):
            return
        at, sign = (day_of(row["confirmed_at"]), row["currency"]), 1 if counts else -1
        self.db.execute("insert or ignore into days (day, currency) values (?, ?)", at)
        before = self.db.execute("select revenue from days where day = ? and currency = ?", at).fetchone()[0]
        if before + row["amount"] > _LONG:
            raise Refused(f"revenue of {before} and {row['amount']} is more than a report can say")
        add = "update days set orders = orders + ?, revenue = revenue + ? where day = ? and currency = ?"
        self.db.execute(add, (sign, sign * row["amount"], *at))
        self.db.execute("update orders set counted = ? where order_id = ?", (int(counts), order))
        self.changed[at] = cause

    def reports(self, now: int) -> Dict[str, Tuple[Dict[str, Any], Cause]]:
        """What has to be reported by now, by key: the figures that differ from those that were reported last."""
        found = {}
        for at, cause in self.changed.items():
            row = self.db.execute("select * from days where day = ? and currency = ?", at).fetchone()
            # None: what changed it was rolled back.
            if row is None or (row["orders"], row["revenue"]) == (row["told_orders"], row["told_revenue"]):
                continue
            self.db.execute("update days set told_orders = orders, told_revenue = revenue where day = ? and currency = ?", at)
            figures = {"day": at[0], "currency": at[1], "orders": row["orders"], "revenue": row["revenue"]}
            found[key_of(*at)] = ({**figures, "reported_at": now}, cause)
        self.changed.clear()
        return found


def day_of(micros: int) -> int:
    """Days since 1970. Raises `Refused` where that is no date."""
    day = micros // _DAY
    if not -719_162 <= day <= 2_932_896:
        raise Refused(f"{micros} microseconds since 1970 are not within the years 1 to 9999")
    return day


def key_of(day: int, currency: str) -> str:
    """The key of a report: `2026-11-30/GBP`."""
    return f"{(_EPOCH + timedelta(days=day)).isoformat()}/{currency}"
