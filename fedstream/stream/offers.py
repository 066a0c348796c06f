"""From all that one client announced to what it offers: which announcements count, and why the others don't. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fedstream.record.offsets import OffsetRange, unite
from fedstream.stream.announcement import DataAnnouncement

State = Literal["counts", "superseded", "withdrawn", "withdrawal", "left out"]

MOST_RANGES = 10_000
"""Ranges of one offer, which stands in the run's record and is read one range after another."""


SAME = {
    "input_format": "record format",
    "input_config": "shape or type",
    "features": "order of columns",
    "classes": "list of classes",
}
"""What announcements must share to be one offer, and how a reason calls it."""


class Fate(NamedTuple):
    """What became of an announcement, and why; no reason where it counts."""

    state: State
    reason: str


@dataclass(frozen=True)
class Offer:
    """What a client offers.

    Attributes:
        newest: the newest announcement that counts, whose format, rates and names are the offer's; None if nothing is offered.
        ranges: the records of all that count, each once.
        fates: of each announcement, in the order given.
    """

    newest: DataAnnouncement | None
    ranges: list[OffsetRange]
    fates: list[Fate]


def gather(said: Sequence[DataAnnouncement], slices: Literal["newest", "all"] = "newest") -> Offer:
    """Gather a client's announcements.

    1. A withdrawal takes back what the same client announced before of its topic. 2. The newest one left counts. 3. So does each older one that it
    adds to (`append`); with `all`, every older one. 4. Only streams of one format, with the same columns and classes in one order, are one offer.

    Args:
        said: oldest first.
        slices: which of them count: `newest`, with what it adds to, or `all`.
    """
    fates = taken_back(said)
    counting: list[DataAnnouncement] = []
    complete = False
    for number in reversed(range(len(said))):
        own = said[number]
        if fates[number].state == "counts":
            fates[number] = _fate(own, counting, complete)
            complete = complete or (slices == "newest" and not own.append)
            if fates[number].state == "counts":
                counting.append(own)
    ranges = counting[0].ranges if len(counting) == 1 else unite(r for own in counting for r in own.ranges)
    return Offer(counting[0] if counting else None, ranges, fates)


def taken_back(said: Sequence[DataAnnouncement]) -> list[Fate]:
    """Return which announcements, oldest first, are withdrawals, and which are withdrawn by one of the same client and topic that came later."""
    fates: list[Fate] = []
    gone: set[tuple[str, str]] = set()
    for own in reversed(said):
        named = {(own.client, topic) for topic in own.topics}
        if own.withdrawn:
            gone |= named
            fates.append(Fate("withdrawal", f"{own.client} withdrew what it had announced of topic {own.topic}"))
        else:
            fates.append(Fate("withdrawn", "withdrawn by its client") if named & gone else Fate("counts", ""))
    return fates[::-1]


def _fate(own: DataAnnouncement, counting: Sequence[DataAnnouncement], complete: bool) -> Fate:
    """Return what becomes of an announcement beside newer ones that count."""
    if not counting:
        return Fate("counts", "")
    newest = counting[0]
    if own.ranges == newest.ranges and own.topic == newest.topic:
        return Fate("superseded", "a newer announcement of this client says the same")
    if complete:
        return Fate("superseded", f"superseded by a newer announcement of this client ({newest.topic})")
    for field, what in SAME.items():
        if getattr(own, field) != getattr(newest, field):
            return Fate(
                "left out",
                f"its {what} is not that of this client's newer announcement, so the two cannot be one slice",
            )
    if sum(len(other.ranges) for other in (own, *counting)) > MOST_RANGES:
        return Fate(
            "left out",
            f"this client's newer announcements have as many ranges of offsets as a run takes of one client ({MOST_RANGES})",
        )
    return Fate("counts", "")
