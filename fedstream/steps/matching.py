"""Which announcements take part in a run, and why the others don't. Pure: announcements in, clients and reasons out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from fedstream.errors import FedstreamError
from fedstream.model.description import ModelDescription
from fedstream.model.fit import check_fit
from fedstream.run import AnnouncementRow, MatchedClient, RunSpec
from fedstream.steps.naming import Names, agree, names_misfit
from fedstream.stream.announcement import DataAnnouncement, invalid_client_name, parse_data_announcement
from fedstream.stream.codec import get_codec
from fedstream.stream.offers import gather
from fedstream.stream.offsets import OffsetRange, format_ranges, total_records

EVALUATION = ""
"""Stands among the clients' names for the evaluation topic: no client has this name."""

Numbered: TypeAlias = tuple[int, DataAnnouncement]
"""An announcement, and the number of its message."""

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
        evaluation: the evaluation topic's announcement, if the run has one and it was announced.
        rows: one for each announcement, in the order read.
        names: the run's columns and classes.
    """

    clients: list[MatchedClient]
    evaluation: MatchedClient | None
    rows: list[AnnouncementRow]
    names: Names


def match(spec: RunSpec, model: ModelDescription, messages: Iterable[Heard]) -> Matching:
    """Match announcements with a run.

    1. leave out what does not fit; 2. gather what is left of each client into one offer; 3. agree on the names of columns and classes.
    """
    heard = list(messages)
    names, reasons, fitting = _fitting(spec, model, heard)
    matched: dict[str, MatchedClient] = {}
    for key, own in fitting.items():
        offer = gather([announcement for _, announcement in own], spec.slices)
        for (number, _), fate in zip(own, offer.fates, strict=True):
            reasons[number] = fate.reason
        if offer.newest:
            at = max(number for number, _ in own if not reasons[number])
            client = _matched(spec, heard[at], offer.newest, offer.ranges, for_evaluation=key == EVALUATION)
            if reason := _too_few(spec, client) if key != EVALUATION else "":
                _refuse(reasons, own, reason)
            else:
                matched[key] = client
    agreed = agree(model, [matched[key] for key in sorted(matched) if key != EVALUATION])
    for key in list(matched):
        if reason := agreed.differ(matched[key]):
            del matched[key]
            _refuse(reasons, fitting[key], reason)
    measures = {number for number, _ in fitting.get(EVALUATION, [])}
    rows = [
        AnnouncementRow(
            bootstrap_servers=message.bootstrap_servers,
            partition=message.partition,
            offset=message.offset,
            client=_shown(names[number]),
            accepted=not reasons[number],
            reason=_shown(reasons[number] or ("measures each global model (evaluation topic)" if number in measures else "takes part")),
        )
        for number, message in enumerate(heard)
    ]
    evaluation = matched.pop(EVALUATION, None)
    return Matching([matched[name] for name in sorted(matched)], evaluation, rows, agreed)


def _fitting(spec: RunSpec, model: ModelDescription, heard: list[Heard]) -> tuple[list[str], list[str], dict[str, list[Numbered]]]:
    """Return whose each message is, why it cannot take part, and by client the announcements that can, each with its message's number."""
    names, reasons = list[str](), list[str]()
    fitting: dict[str, list[Numbered]] = {}
    for number, message in enumerate(heard):
        name = "?"
        try:
            announcement = parse_data_announcement(message.data)
            name = announcement.client
            for_evaluation = bool(spec.evaluation_topic) and announcement.topics == {spec.evaluation_topic}
            reason = _why_not(spec, model, message, announcement, for_evaluation)
            if not reason:
                fitting.setdefault(EVALUATION if for_evaluation else name, []).append((number, announcement))
        except FedstreamError as error:
            reason = str(error)
        names.append(name)
        reasons.append(reason)
    return names, reasons, fitting


def _refuse(reasons: list[str], own: list[Numbered], reason: str) -> None:
    """Give those of a client's announcements that counted a reason why they don't."""
    for number, _ in own:
        reasons[number] = reasons[number] or reason


def _shown(text: str) -> str:
    """Return text that can be stored and printed: whoever writes to the control topic chooses names, and reasons quote them."""
    plain = text if text.isprintable() else repr(text)[1:-1]
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}..."


def _why_not(spec: RunSpec, model: ModelDescription, heard: Heard, announcement: DataAnnouncement, for_evaluation: bool) -> str:
    client = announcement.client
    if reason := invalid_client_name(client):
        return reason
    if announcement.online and not announcement.withdrawn:
        return f"announces the online stream {announcement.topic!r} without offsets; runs train on announced ranges only"
    if not for_evaluation:
        if spec.clients and client not in spec.clients:
            return "not among the clients the run asks for"
        if heard.bootstrap_servers != spec.bootstrap_of(client):
            there, expected = (servers or "the default brokers" for servers in (heard.bootstrap_servers, spec.bootstrap_of(client)))
            return f"announced at {there}, but the run's sites place it at {expected}"
        if announcement.restrictions != spec.data_restriction and not announcement.withdrawn:
            own, asked = (json.dumps(restrictions, sort_keys=True) for restrictions in (announcement.restrictions, spec.data_restriction))
            return f"its restrictions {own} differ from the run's {asked}; a run is given these records with --data-restriction '{own}'"
    if announcement.withdrawn:
        return ""
    codec = get_codec(announcement.input_format, announcement.input_config)
    check_fit(model, codec)
    return names_misfit(model, codec, announcement)


def _too_few(spec: RunSpec, client: MatchedClient) -> str:
    return f"announces {client.records} records, the run asks for at least {spec.min_data}" if client.records < spec.min_data else ""


def _matched(spec: RunSpec, heard: Heard, announcement: DataAnnouncement, ranges: list[OffsetRange], for_evaluation: bool) -> MatchedClient:
    held_out = announcement.held_out_rate()
    return MatchedClient(
        client=announcement.client,
        bootstrap_servers=heard.bootstrap_servers,
        ranges=format_ranges(ranges),
        input_config=get_codec(announcement.input_format, announcement.input_config).config(),
        held_out_rate=0.0 if for_evaluation else spec.validation_rate if held_out is None else held_out,
        records=total_records(ranges),
        features=announcement.features,
        classes=announcement.classes,
    )


def reasons(matching: Matching, client: str) -> str:
    """Say why a client does not take part."""
    own = [row.reason for row in matching.rows if row.client == client and not row.accepted]
    return own[-1] if own else "it has announced no stream"
