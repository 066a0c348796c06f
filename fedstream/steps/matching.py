"""Which announcements take part in a run, and why the others don't. Pure: announcements in, clients and reasons out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from fedstream.errors import FedstreamError
from fedstream.model.description import ModelDescription
from fedstream.model.fit import check_fit
from fedstream.run import AnnouncementRow, MatchedClient, RunSpec
from fedstream.stream.announcement import DataAnnouncement, invalid_client_name, parse_data_announcement
from fedstream.stream.codec import get_codec
from fedstream.stream.offsets import format_ranges, total_records

LONGEST = 500
"""Characters of a name or a reason that are put on record."""


CLIENTS = 1_000
"""Clients of a run: a round of so many is five times what one submission's status can hold."""

REFUSED_OF_CLIENT, REFUSED_OF_OTHERS = 50, 500
"""Announcements that don't take part and are put on record, the newest of each client the run names, and of all others: a flood stays short."""


@dataclass(frozen=True)
class Heard:
    """One message of a data control topic.

    Attributes:
        bootstrap_servers: where it was read; empty for the default brokers.
        partition: its partition.
        offset: its offset.
        data: its value.
    """

    bootstrap_servers: str
    partition: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Matching:
    """What a run is made of.

    Attributes:
        clients: that take part, sorted by name.
        evaluation: the evaluation topic's announcement, if the run has one and it was announced.
        rows: one for each announcement that takes part, and for the newest others, in the order read.
    """

    clients: list[MatchedClient]
    evaluation: MatchedClient | None
    rows: list[AnnouncementRow]


def match(spec: RunSpec, model: ModelDescription, messages: Iterable[Heard]) -> Matching:
    """Match announcements with a run. The newest announcement of a client counts; an older one is superseded."""
    clients: dict[str, MatchedClient] = {}
    evaluation: MatchedClient | None = None
    rows: list[AnnouncementRow] = []
    refused: Counter[str] = Counter()
    for heard in reversed(list(messages)):
        name = "?"
        try:
            announcement = parse_data_announcement(heard.data)
            name = announcement.client
            for_evaluation = bool(spec.evaluation_topic) and announcement.topics == {spec.evaluation_topic}
            reason = _why_not(spec, model, heard, announcement, for_evaluation)
            taken = evaluation if for_evaluation else clients.get(name)
            if not reason and taken:
                same = taken.ranges == format_ranges(announcement.ranges)
                reason = (
                    "a newer announcement of this client says the same"
                    if same
                    else f"superseded by a newer announcement of this client ({taken.ranges})"
                )
            if not reason and not for_evaluation and len(clients) == CLIENTS:
                reason = f"the run has {CLIENTS:,} clients already; name those to ask"
            if not reason:
                matched = _matched(spec, heard, announcement, for_evaluation)
                if for_evaluation:
                    evaluation = matched
                else:
                    clients[name] = matched
        except FedstreamError as error:
            reason, for_evaluation = str(error), False
        of = name if name in spec.clients else ""
        refused[of] += bool(reason)
        if reason and refused[of] > (REFUSED_OF_CLIENT if of else REFUSED_OF_OTHERS):
            continue
        said = reason or ("measures each global model (evaluation topic)" if for_evaluation else "takes part")
        rows.append(
            AnnouncementRow(
                bootstrap_servers=heard.bootstrap_servers,
                partition=heard.partition,
                offset=heard.offset,
                client=_shown(name),
                accepted=not reason,
                reason=_shown(said),
            )
        )
    return Matching([clients[name] for name in sorted(clients)], evaluation, rows[::-1])


def _shown(text: str) -> str:
    """Return text that can be stored and printed: whoever writes to the control topic chooses names, and reasons quote them."""
    plain = text if text.isprintable() else repr(text)[1:-1]
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}..."


def _why_not(spec: RunSpec, model: ModelDescription, heard: Heard, announcement: DataAnnouncement, for_evaluation: bool) -> str:
    client = announcement.client
    if reason := invalid_client_name(client):
        return reason
    if announcement.online:
        return f"announces the online stream {announcement.topic!r} without offsets; runs train on announced ranges only"
    if not for_evaluation:
        if spec.clients and client not in spec.clients:
            return "not among the clients the run asks for"
        if heard.bootstrap_servers != spec.bootstrap_of(client):
            there, expected = (servers or "the default brokers" for servers in (heard.bootstrap_servers, spec.bootstrap_of(client)))
            return f"announced at {there}, but the run's sites place it at {expected}"
        if announcement.restrictions != spec.data_restriction:
            return f"its restrictions {announcement.restrictions} differ from the run's {spec.data_restriction}"
        records = total_records(announcement.ranges)
        if records < spec.min_data:
            return f"announces {records} records, the run asks for at least {spec.min_data}"
    check_fit(model, get_codec(announcement.input_format, announcement.input_config))
    return ""


def _matched(spec: RunSpec, heard: Heard, announcement: DataAnnouncement, for_evaluation: bool) -> MatchedClient:
    held_out = announcement.held_out_rate()
    return MatchedClient(
        client=announcement.client,
        bootstrap_servers=heard.bootstrap_servers,
        ranges=format_ranges(announcement.ranges),
        input_config=get_codec(announcement.input_format, announcement.input_config).config(),
        held_out_rate=0.0 if for_evaluation else spec.validation_rate if held_out is None else held_out,
        records=total_records(announcement.ranges),
    )


def reasons(matching: Matching, client: str) -> str:
    """Say why a client does not take part."""
    own = [row.reason for row in matching.rows if row.client == client and not row.accepted]
    return own[-1] if own else "it has announced no stream"
