"""Derive a client's offer from its announcements: which of them count, and why the others do not. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fedstream.record.offsets import OffsetRange, unite
from fedstream.stream.announcement import DataAnnouncement

State = Literal["counts", "superseded", "withdrawn", "withdrawal", "left out"]

MOST_RANGES = 10_000
"""Maximum number of ranges in an offer, which is part of the run's record and is read range by range."""


SAME = {
    "input_format": "record format",
    "input_config": "shape or type",
    "features": "order of columns",
    "classes": "list of classes",
}
"""Fields that announcements must share to form one offer, and how a reason describes them."""


class Fate(NamedTuple):
    """The state of an announcement and its reason, which is empty if the announcement counts."""

    state: State
    reason: str


@dataclass(frozen=True)
class Offer:
    """What a client offers.

    Attributes:
        newest: Newest announcement that counts, which defines the format, rates and names of the offer; None if nothing
            is offered.
        ranges: Records of all announcements that count, each record once.
        online: Topics that announcements that count name without offsets, sorted.
        fates: State of each announcement, in the given order.
    """

    newest: DataAnnouncement | None
    ranges: list[OffsetRange]
    online: list[str]
    fates: list[Fate]


def gather(said: Sequence[DataAnnouncement], slices: Literal["newest", "all"] = "newest") -> Offer:
    """Combine a client's announcements into an offer.

    1. A withdrawal cancels the client's earlier announcements of its topic.
    2. The newest remaining announcement counts.
    3. Each older announcement that it adds to (`append`) counts too; with `all`, every older announcement counts.
    4. An offer consists of streams of the same format, with the same columns and classes in the same order.

    Args:
        said: The announcements, oldest first.
        slices: Which announcements count: `newest`, together with those that it adds to, or `all`.
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
    online = sorted({own.topic for own in counting if own.online})
    return Offer(counting[0] if counting else None, ranges, online, fates)


class Unlabelled(NamedTuple):
    """The records without labels that a client offers.

    Attributes:
        ranges: The announced offsets, each record once.
        online: Topics that are announced without offsets, sorted.
    """

    ranges: Sequence[OffsetRange] = ()
    online: Sequence[str] = ()


def unlabelled_of(said: Sequence[DataAnnouncement], fates: Sequence[Fate]) -> Unlabelled:
    """Return the records without labels of the announcements that count.

    A withdrawal that names the topic of these records takes back them alone.

    Args:
        said: A client's announcements, oldest first.
        fates: State of each, as in its offer.

    Raises:
        AnnouncementError: An announcement that counts names no valid ranges of such records.
    """
    found: list[OffsetRange] = []
    gone: set[str] = set()
    online: set[str] = set()
    for own, fate in zip(reversed(said), reversed(fates), strict=True):
        if own.withdrawn:
            gone |= own.topics
        elif fate.state == "counts":
            found += [r for r in own.unlabelled if r.topic not in gone]
            online |= {own.unlabelled_online} - gone - {""}
    return Unlabelled(unite(found), sorted(online))


def taken_back(said: Sequence[DataAnnouncement]) -> list[Fate]:
    """Return which announcements are withdrawals, and which are withdrawn.

    An announcement is withdrawn by a later withdrawal of the same client and topic.

    Args:
        said: The announcements of any clients, oldest first.
    """
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
    """Return the state of an announcement, given the newer announcements that count."""
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
            "this client's newer announcements have as many ranges of offsets "
            f"as a run takes of one client ({MOST_RANGES})",
        )
    return Fate("counts", "")
