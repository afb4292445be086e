"""What the service is, as the kit's services say it with `describe --output json`."""

from __future__ import annotations

from typing import Any, Dict

from analytics.intake import Subscription
from analytics.revenue import AUTHORISED, CANCELLED, CONFIRMED, REFUNDED, VOIDED, WRITTEN_OFF
from analytics.settings import Settings

NAME = "analytics"
SOURCE = f"/farandole/{NAME}"
REPORTED = "farandole.analytics.DailyRevenueReported"
HEARS = ("orders", "payments")

REACTS_TO = [CONFIRMED, CANCELLED, AUTHORISED, VOIDED, WRITTEN_OFF, REFUNDED]
IGNORES = [
    "farandole.orders.OrderPlaced",
    "farandole.orders.OrderRejected",
    "farandole.orders.OrderCancellationRequested",
    "farandole.orders.OrderProgressed",
    "farandole.orders.OrderCompleted",
    "farandole.payments.PaymentExpected",
    "farandole.payments.PaymentRequested",
    "farandole.payments.PaymentAbandoned",
    "farandole.payments.PaymentDeclined",
    "farandole.payments.VoidRequested",
    # The order is cancelled, or its goods have left and the payment is written off.
    "farandole.payments.AuthorisationExpired",
    "farandole.payments.CaptureRequested",
    "farandole.payments.PaymentCaptured",
    "farandole.payments.CaptureFailed",
    "farandole.payments.RefundExpected",
    "farandole.payments.RefundRequested",
]
# A new type may be one that money hangs on: it holds up its key until a build knows it.
SUBSCRIPTION = Subscription(frozenset(REACTS_TO), frozenset(IGNORES), "park")


def description(settings: Settings) -> Dict[str, Any]:
    topics = [settings.topic(topic) for topic in HEARS]
    chained = {"producer": "farandole", "order": "commits, per key", "loss_detected": True, "duplicates_dropped": "always"}
    foreign = {"producer": "foreign", "order": "the partition's", "loss_detected": False, "duplicates_dropped": "8d"}
    return {
        "name": NAME,
        "publishes": settings.topic(NAME),
        "journal": "",
        "source": SOURCE,
        "group": NAME,
        "content_type": "application/avro",
        "events": [REPORTED],
        "ends": [REPORTED],
        "hears": topics,
        "reacts_to": REACTS_TO,
        "ignores": IGNORES,
        "unknown": {topic: SUBSCRIPTION.unknown for topic in topics},
        "guarantees": [{"topic": topic, **each} for topic in topics for each in (chained, foreign)],
        "commands": "Never",
        "deadlines": [],
        "effects": [],
        "derived": [],
        "migrations": ["1 (tables)"],
    }
