"""Whether a client has withdrawn, since a run was planned, the records that the run gives it.

All functions are pure: they map the messages of a control topic to a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fedstream.errors import AnnouncementError
from fedstream.record.offsets import OffsetRange, unite
from fedstream.stream.announcement import DataAnnouncement, parse_data_announcement
from fedstream.stream.bounds import shown


def why_withdrawn(messages: Iterable[tuple[int, int, bytes]], client: str, ranges: Sequence[OffsetRange]) -> str:
    """Return which withdrawal of a client concerns some of its records, or an empty string.

    Records that the client has announced again since are offered again.

    Args:
        messages: Partition, offset and value of each message of the client's control topic, oldest first.
        client: Name of the client.
        ranges: The records.
    """
    gone: dict[str, str] = {}
    again: dict[str, list[OffsetRange]] = {}
    for where, said in _said_by(client, messages):
        for topic in said.topics:
            if said.withdrawn:
                gone[topic], again[topic] = where, []
            elif topic in gone:
                again[topic] += [r for r in ranges if r.topic == topic] if said.online else said.ranges
    for topic in sorted(gone):
        own = [r for r in ranges if r.topic == topic]
        if unite([*again[topic], *own]) != unite(again[topic]):
            return (
                f"its client has withdrawn topic {topic!r} since the run was planned (message {gone[topic]} of its "
                f"control topic), so {shown(own)} must not be used; announce these records again, or plan a run without"
            )
    return ""


def _said_by(client: str, messages: Iterable[tuple[int, int, bytes]]) -> Iterator[tuple[str, DataAnnouncement]]:
    """Yield the place and the announcement of each message of a client."""
    name = client.encode()
    for partition, offset, data in messages:
        # Only a message that contains the name, perhaps escaped, can be the client's. There can be thousands of others.
        if name in data or b"\\u" in data:
            try:
                said = parse_data_announcement(data)
            except AnnouncementError:
                continue
            if said.client == client:
                yield f"{partition}:{offset}", said
