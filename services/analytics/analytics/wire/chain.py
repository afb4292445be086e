"""The chain rule, for one partition and source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional


@dataclass(frozen=True, order=True)
class Place:
    """A lineage, and a number within it. Ordered by lineage, then number."""

    lineage: int
    number: int

    def __str__(self) -> str:
        return f"{self.lineage}:{self.number}"


@dataclass(frozen=True)
class Head:
    """The last record that was accepted of a source, and the one that it named as the one before it."""

    place: Place
    previous: Optional[Place]


class Verdict(Enum):
    LINK = "link"
    DUPLICATE = "duplicate"
    STALE = "stale"
    GAP = "gap"
    FORK = "fork"


def judge(head: Optional[Head], place: Place, previous: Optional[Place]) -> Verdict:
    """What a record at `place` is, which names `previous`. The rows of the table in docs/wire.md, in their order."""
    if head is None:
        return Verdict.LINK if previous is None else Verdict.GAP
    if place == head.place and previous == head.previous:
        return Verdict.DUPLICATE
    if place.lineage == head.place.lineage and place <= head.place and (head.previous is None or head.previous < place):
        return Verdict.FORK
    if place <= head.place:
        return Verdict.STALE if place.lineage < head.place.lineage else Verdict.DUPLICATE
    if previous == head.place:
        return Verdict.LINK
    if previous is not None and previous > head.place:
        return Verdict.GAP
    return Verdict.FORK
