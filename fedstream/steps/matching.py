"""Which announcements take part in a run, and why the others don't. Pure: announcements in, clients and reasons out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fedstream.errors import FedstreamError
from fedstream.model.description import ModelDescription
from fedstream.model.fit import check_fit
from fedstream.run import AnnouncementRow, MatchedClient, RunSpec
from fedstream.stream.announcement import DataAnnouncement, invalid_client_name, parse_data_announcement
from fedstream.stream.codec import get_codec
from fedstream.stream.offsets import format_ranges, parse_ranges, total_records

LONGEST = 500
"""Characters of a name or a reason that are put on record."""


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
        evaluations: the different announcements of the evaluation topic that could be meant; just one in a run that can start.
        evaluation_refusals: why other announcements of the evaluation topic cannot be meant, the newest first.
        rows: one for each announcement, in the order read.
    """

    clients: list[MatchedClient]
    evaluations: list[MatchedClient]
    evaluation_refusals: list[str]
    rows: list[AnnouncementRow]


def match(spec: RunSpec, model: ModelDescription, messages: Iterable[Heard]) -> Matching:
    """Match announcements with a run. The newest announcement of a client counts; an older one is superseded."""
    clients: dict[str, MatchedClient] = {}
    evaluations: list[MatchedClient] = []
    evaluation_refusals: list[str] = []
    rows: list[AnnouncementRow] = []
    for heard in reversed(list(messages)):
        name, for_evaluation = "?", False
        try:
            announcement = parse_data_announcement(heard.data)
            name = announcement.client
            for_evaluation = _is_for_evaluation(spec, announcement)
            reason = _why_not(spec, model, heard, announcement, for_evaluation)
            taken = None if for_evaluation else clients.get(name)
            if not reason and taken:
                same = taken.ranges == format_ranges(announcement.ranges)
                reason = (
                    "a newer announcement of this client says the same"
                    if same
                    else f"superseded by a newer announcement of this client ({taken.ranges})"
                )
            if not reason:
                matched = _matched(spec, heard, announcement, for_evaluation)
                if for_evaluation:
                    evaluations += [] if any(_same_records(matched, other) for other in evaluations) else [matched]
                else:
                    clients[name] = matched
        except FedstreamError as error:
            reason = str(error)
        if reason and for_evaluation:
            evaluation_refusals.append(_shown(reason))
        said = reason or ("measures each global model (evaluation topic)" if for_evaluation else "takes part")
        rows.append(
            AnnouncementRow(
                bootstrap_servers=heard.bootstrap_servers,
                partition=heard.partition,
                offset=heard.offset,
                client=_shown(name),
                accepted=not reason,
                related=_is_related(spec, name, for_evaluation),
                reason=_shown(said),
            )
        )
    return Matching([clients[name] for name in sorted(clients)], evaluations, evaluation_refusals, rows[::-1])


def _is_for_evaluation(spec: RunSpec, announcement: DataAnnouncement) -> bool:
    named = spec.evaluation_topic
    topics = {r.topic for r in parse_ranges(named)} if ":" in named else {named}
    return bool(named) and announcement.topics == topics


def _same_records(one: MatchedClient, other: MatchedClient) -> bool:
    return (one.ranges, one.input_config) == (other.ranges, other.input_config)


def _is_related(spec: RunSpec, client: str, for_evaluation: bool) -> bool:
    """Tell whether an announcement has to do with the run: other owners' streams on the same brokers are nobody's business who reads its report."""
    return for_evaluation or not spec.clients or client in spec.clients


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
    if spec.own_topics and (foreign := sorted(topic for topic in announcement.topics if not topic.startswith(f"{client}."))):
        return f"topic {foreign[0]!r} does not begin with {client + '.'!r}, and the run accepts a client's own topics only (own_topics)"
    if for_evaluation and heard.bootstrap_servers:
        return f"announced at {heard.bootstrap_servers}, but the evaluation topic lies at the default brokers"
    if for_evaluation and ":" in spec.evaluation_topic and announcement.ranges != parse_ranges(spec.evaluation_topic):
        return f"announces {format_ranges(announcement.ranges)}, but the run is measured on {spec.evaluation_topic}"
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
