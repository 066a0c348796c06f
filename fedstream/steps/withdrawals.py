"""Which withdrawals count, and whether a client has withdrawn the records that a run on record gives it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from fedstream.deadline import Deadline
from fedstream.errors import AnnouncementError
from fedstream.record.offsets import OffsetRange, unite
from fedstream.stream.announcement import (
    DataAnnouncement,
    invalid_client_name,
    own_control_topic,
    parse_data_announcement,
)
from fedstream.stream.bounds import shown
from fedstream.stream.broker import Broker

Message: TypeAlias = tuple[int, int, bytes]
"""Partition, offset and value of a message of a control topic."""


MOST = 1_000
"""Maximum number of clients whose own control topics are read, since anyone can write any number of names."""


def unconfirmed(broker: Broker, messages: Sequence[Message], deadline: Deadline) -> set[int]:
    """Return the numbers of the withdrawals that the client itself does not repeat in its own control topic.

    Each message of that topic confirms one withdrawal, so that nobody else can repeat it when the client has announced
    its records again.

    Args:
        broker: Brokers of the messages.
        messages: Messages of the control topic, oldest first.
        deadline: When reading must end.

    Raises:
        DeadlineError: The topics could not all be read in time.
        BrokerError: No broker answers, or the broker denies access.
    """
    own: dict[str, set[bytes]] = {}
    found = set()
    for number, (_, _, data) in enumerate(messages):
        if client := _withdrawing(data):
            if client not in own:
                heard = broker.read_announcements(own_control_topic(client), deadline.left_s) if len(own) < MOST else []
                own[client] = {value for _, _, value in heard}
            if data not in own[client]:
                found.add(number)
            own[client].discard(data)
    return found


def _withdrawing(data: bytes) -> str:
    """Return the client of a withdrawal; empty for any other message."""
    try:
        said = parse_data_announcement(data)
    except AnnouncementError:
        return ""
    return said.client if said.withdrawn and not invalid_client_name(said.client) else ""


def why_withdrawn(messages: Iterable[Message], client: str, ranges: Sequence[OffsetRange]) -> str:
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


def _said_by(client: str, messages: Iterable[Message]) -> Iterator[tuple[str, DataAnnouncement]]:
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
