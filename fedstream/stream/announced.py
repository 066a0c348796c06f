"""List what clients have announced on a control topic, and withdraw a client's announcements."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import NamedTuple

from fedstream.errors import AnnouncementError, UsageError
from fedstream.record.format import RAW
from fedstream.record.offsets import invalid_topic_name
from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import (
    DATA_CONTROL_TOPIC,
    DataAnnouncement,
    invalid_client_name,
    own_control_topic,
    parse_data_announcement,
)
from fedstream.stream.control import read_announcements
from fedstream.stream.offers import Fate, gather
from fedstream.stream.records import UNLABELLED
from fedstream.stream.writer import RecordWriter

READ_S = 30.0
"""Time limit for reading the control topic, in seconds."""

NO_RECORDS = {"data_type": "uint8", "label_type": "uint8", "data_reshape": "0", "label_reshape": "0"}
"""A format that fits no model, so that software that does not know withdrawals matches them with no run."""


class Announced(NamedTuple):
    """A message of the control topic.

    Attributes:
        partition: Partition of the message.
        offset: Offset of the message.
        said: The announcement; None if the message cannot be parsed.
        fate: Whether the announcement counts among those of its client, and if not, why.
    """

    partition: int
    offset: int
    said: DataAnnouncement | None
    fate: Fate


def read_announced(kafka: KafkaSettings, control_topic: str | None = None) -> list[Announced]:
    """Return every message of the control topic, oldest first.

    Raises:
        DeadlineError: The messages could not all be read in time.
        BrokerError: No broker answers, or the broker denies access.
    """
    return standing(read_announcements(kafka, control_topic or DATA_CONTROL_TOPIC, READ_S))


def standing(messages: Iterable[tuple[int, int, bytes]]) -> list[Announced]:
    """Return the state of each message (partition, offset, value), oldest first, regardless of a run's requirements."""
    found: list[Announced] = []
    own: dict[str, list[int]] = {}
    for number, (partition, offset, data) in enumerate(messages):
        try:
            said = parse_data_announcement(data)
            reason = invalid_client_name(said.client)
        except AnnouncementError as error:
            said, reason = None, str(error)
        found.append(Announced(partition, offset, said, Fate("left out", reason)))
        if said and not reason:
            own.setdefault(said.client, []).append(number)
    for numbers in own.values():
        fates = gather([said for number in numbers if (said := found[number].said)]).fates
        for number, fate in zip(numbers, fates, strict=True):
            found[number] = found[number]._replace(fate=fate)
    return found


def counting(kafka: KafkaSettings, client: str) -> list[DataAnnouncement]:
    """Return a client's announcements that are neither superseded nor withdrawn, oldest first.

    Raises:
        DeadlineError: The control topic could not be read in time.
        BrokerError: No broker answers, or the broker denies access: a data owner does not necessarily have the right to
            read the control topic.
    """
    return [
        one.said
        for one in read_announced(kafka)
        if one.said and one.said.client == client and one.fate.state == "counts"
    ]


def withdrawal(client: str, topic: str) -> DataAnnouncement:
    """Return the message with which a client withdraws what it announced of a topic. No two are the same."""
    told = {"total_msg": 0, "client": client, "withdrawn": True, "withdrawal_id": secrets.token_hex(16)}
    return DataAnnouncement.model_validate({"topic": topic, "input_format": RAW, "input_config": NO_RECORDS, **told})


def withdraw(kafka: KafkaSettings, client: str, topic: str = "") -> list[str]:
    """Withdraw a client's announcements, so that no later round of any run trains on their records.

    Args:
        kafka: Settings of the data owner's brokers.
        client: Name of the client.
        topic: Withdraw the announcements of this topic only, without reading the control topic; empty to withdraw all
            announcements that count.

    Returns:
        The topics whose announcements are withdrawn.

    Raises:
        UsageError: A name is invalid, or the client has announced nothing.
        BrokerError: The broker did not accept the withdrawal.
    """
    if reason := invalid_client_name(client) or (topic and invalid_topic_name(topic)):
        raise UsageError(reason)
    topics = [topic] if topic else sorted({name for said in counting(kafka, client) for name in said.topics})
    if not topics:
        raise UsageError(
            f"client {client!r} has announced nothing that could be withdrawn; "
            "`fedstream stream list` shows what there is"
        )
    writer = RecordWriter(kafka)
    try:
        messages = [withdrawal(client, name).to_bytes() for name in topics]
        for control_topic in (own_control_topic(client), DATA_CONTROL_TOPIC):
            for message in messages:
                writer.write(control_topic, message, UNLABELLED)
            writer.flush()
    finally:
        writer.close()
    return topics
