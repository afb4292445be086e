"""In which order rows are handed to Kafka when it doesn't take one. What the topic itself does is tested on a real one, by revenue-board."""

from __future__ import annotations

import unittest
from typing import Any, Callable, List, Optional, Tuple

from confluent_kafka import KafkaError

from analytics.outbox import Outbox
from analytics.relay import Relay
from analytics.store import Store
from analytics.topics import Away
from analytics.wire.partitioner import partition


class Client:
    """A producer that doesn't take the record that is `refused` and takes all others, later ones of the same partition too."""

    def __init__(self, refused: Optional[bytes], taken: List[Tuple[int, bytes]]):
        self.refused, self.taken = refused, taken
        self.waiting: List[Tuple[int, bytes, Callable[..., None]]] = []

    def produce(self, _: str, value: bytes, key: bytes, partition: int, headers: Any, on_delivery: Callable[..., None]) -> None:
        self.waiting.append((partition, value, on_delivery))

    def flush(self, _: float) -> int:
        for to, value, told in self.waiting:
            if value == self.refused:
                told(KafkaError(KafkaError._MSG_TIMED_OUT), None)
            else:
                self.taken.append((to, value))
                told(None, None)
        self.waiting.clear()
        return 0

    def purge(self) -> None:
        pass


class OneClient(Relay):
    """Asks no topic, and gets its producers from the test."""

    clients: List[Client] = []
    compared = 0

    def compare(self) -> None:
        self.compared += 1

    def _client(self) -> Any:
        return self.clients.pop(0)


class Order(unittest.TestCase):
    def test_nothing_overtakes_a_record_that_was_not_taken(self) -> None:
        store = Store(":memory:")
        outbox = Outbox(store)
        outbox.open("/farandole/analytics", "analytics", None, 3)
        rows = [(f"k{n % 7}", f"{n}".encode()) for n in range(40)]
        for key, value in rows:
            outbox.append(key, "x.Y", value, 0, "test", None, None)
        relay = OneClient(outbox, {}, "/farandole/analytics", "analytics")
        taken: List[Tuple[int, bytes]] = []
        relay.clients = [Client(b"17", taken), Client(None, taken)]
        with self.assertRaises(Away):
            relay.publish(lambda: False)
        stuck = partition(b"k3", 3)
        self.assertLess([int(value) for to, value in taken if to == stuck][-1], 17)
        self.assertTrue(relay.publish(lambda: False))
        self.assertEqual((relay.compared, outbox.unsent()), (2, []), "after a failure the topic is asked again")
        for to in range(3):
            expected = [value for key, value in rows if partition(key.encode(), 3) == to]
            # What was taken beside the one that wasn't comes once more, in its place.
            self.assertEqual(list(dict.fromkeys(value for at, value in taken if at == to)), expected)
        store.close()

    def test_it_ends_when_told_to(self) -> None:
        store = Store(":memory:")
        outbox = Outbox(store)
        outbox.open("/farandole/analytics", "analytics", None, 3)
        outbox.append("k", "x.Y", b"", 0, "test", None, None)
        relay = OneClient(outbox, {}, "/farandole/analytics", "analytics")
        relay.clients = [Client(None, [])]
        self.assertFalse(relay.publish(lambda: True))
        self.assertEqual(len(outbox.unsent()), 1)
        store.close()


if __name__ == "__main__":
    unittest.main()
