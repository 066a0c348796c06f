"""Decide which announcements take part in a run, and why the others do not.

These functions are pure: they map announcements to clients and reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fedstream.errors import FedstreamError
from fedstream.preprocessing.shapes import without_encoded_names
from fedstream.record.description import ModelDescription
from fedstream.record.offsets import RANGES, OffsetRange, format_ranges, parse_ranges, total_records, unite
from fedstream.record.run import AnnouncementRow, MatchedClient
from fedstream.record.spec import RunSpec
from fedstream.steps.admission import Heard, is_for_evaluation, why_not
from fedstream.steps.beginnings import gap_in, live
from fedstream.steps.naming import Names, agree, features_of
from fedstream.stream.announcement import DataAnnouncement, parse_data_announcement
from fedstream.stream.codec import get_codec
from fedstream.stream.offers import Offer, Unlabelled, gather, taken_back, unlabelled_of
from fedstream.stream.unlabelled import is_ambiguous

Numbered: TypeAlias = tuple[int, DataAnnouncement]
"""An announcement with the number of its message."""

NOT_HEEDED = (
    "withdraws announcements of the evaluation topic, which any client can do; "
    "a withdrawal only takes effect with own_topics, "
    "or if evaluation_topic contains offsets"
)

LONGEST = 500
"""Maximum length of a name or a reason on record, in characters."""


CLIENTS = 1_000
"""Maximum number of clients of a run.

A round of this many is five times what the status of one submission can hold.
"""

REFUSED_OF_CLIENT, REFUSED_OF_OTHERS = 50, 500
"""Maximum number of rejected announcements on record: of each client that the run names, and of all others together.

The newest are kept, so that a flood of announcements does not bloat the record.
"""


@dataclass(frozen=True)
class Matching:
    """The result of matching announcements with a run.

    Attributes:
        clients: Clients that take part, sorted by name.
        evaluations: Distinct announcements of the evaluation topic that match, the newest first. A run with an
            evaluation topic can start only if there is exactly one.
        evaluation_refusals: Why other announcements of the evaluation topic do not match, the newest first.
        rows: One row for each announcement that takes part, and for the newest others, in the order read.
        names: The run's columns and classes.
    """

    clients: list[MatchedClient]
    evaluations: list[MatchedClient]
    evaluation_refusals: list[str]
    rows: list[AnnouncementRow]
    names: Names


def match(spec: RunSpec, model: ModelDescription, messages: Iterable[Heard]) -> Matching:
    """Match announcements with a run.

    1. Reject the announcements that do not fit.
    2. Gather the remaining ones of each client into one offer.
    3. Agree on the names of columns and classes.
    """
    heard, model = list(messages), without_encoded_names(spec.preprocessing, model)
    read = _read(spec, model, heard)
    reasons, matched = read.reasons, dict[str, MatchedClient]()
    for client, own in read.fitting.items():
        said = [announcement for _, announcement in own]
        offer = gather(said, "all" if spec.feed.live else spec.slices)
        for (number, _), fate in zip(own, offer.fates, strict=True):
            reasons[number] = fate.reason
        if offer.newest:
            at = max(number for number, _ in own if not reasons[number])
            unlabelled = unlabelled_of(said, offer.fates) if spec.unsupervised else Unlabelled()
            found = _matched(spec, heard[at], offer.newest, offer.ranges, unlabelled.ranges)
            if spec.feed.live:
                found = live(found, offer, unlabelled)
            if reason := _why_useless(spec, found, offer):
                _refuse(reasons, own, reason)
            else:
                matched[client] = found
    newest_first = sorted(matched, key=lambda client: -read.fitting[client][-1][0])
    for client in newest_first[CLIENTS:]:
        _refuse(reasons, read.fitting[client], f"the run has {CLIENTS:,} clients already; name those to ask")
        del matched[client]
    names = agree(model, [matched[client] for client in sorted(matched)])
    for client, offered in matched.items():
        _refuse(reasons, read.fitting[client], names.differ(offered))
    evaluations = _evaluations(spec, heard, read, names)
    kept = _kept(spec, read)
    rows = [
        AnnouncementRow(
            bootstrap_servers=message.bootstrap_servers,
            partition=message.partition,
            offset=message.offset,
            client=_shown(read.names[number]),
            accepted=not reasons[number],
            related=_is_related(spec, read.names[number], number in read.measures),
            reason=_shown(
                reasons[number]
                or ("measures each global model (evaluation topic)" if number in read.measures else "takes part")
            ),
        )
        for number, message in enumerate(heard)
        if number in kept
    ]
    refusals = [_shown(reasons[number]) for number in sorted(read.measures, reverse=True) if reasons[number]]
    return Matching(
        [matched[client] for client in sorted(matched) if not names.differ(matched[client])],
        evaluations,
        refusals,
        rows,
        names,
    )


@dataclass(frozen=True)
class _Read:
    """The parsed messages.

    Attributes:
        names: Client of each message.
        reasons: Why each message cannot take part; empty if it can.
        fitting: Announcements that can take part, by client.
        measuring: Announcements of the evaluation topic that can take part.
        measures: Numbers of all messages about the evaluation topic.
    """

    names: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    fitting: dict[str, list[Numbered]] = field(default_factory=dict)
    measuring: list[Numbered] = field(default_factory=list)
    measures: set[int] = field(default_factory=set)


def _read(spec: RunSpec, model: ModelDescription, heard: list[Heard]) -> _Read:
    found = _Read()
    for number, message in enumerate(heard):
        name = "?"
        try:
            announcement = parse_data_announcement(message.data)
            name, for_evaluation = announcement.client, is_for_evaluation(spec, announcement)
            if for_evaluation:
                found.measures.add(number)
            reason = why_not(spec, model, message, announcement, for_evaluation)
            if not reason:
                (found.measuring if for_evaluation else found.fitting.setdefault(name, [])).append(
                    (number, announcement)
                )
        except FedstreamError as error:
            reason = str(error)
        found.names.append(name)
        found.reasons.append(reason)
    return found


def _refuse(reasons: list[str], own: list[Numbered], reason: str) -> None:
    """Reject those of a client's announcements that were accepted, unless the reason is empty."""
    for number, _ in own:
        reasons[number] = reasons[number] or reason


def _kept(spec: RunSpec, read: _Read) -> set[int]:
    """Return the numbers of the messages to put on record: those that take part, and the newest others."""
    refused: Counter[str] = Counter()
    kept = set()
    for number in reversed(range(len(read.reasons))):
        of = read.names[number] if read.names[number] in spec.clients else ""
        refused[of] += bool(read.reasons[number])
        if not read.reasons[number] or refused[of] <= (REFUSED_OF_CLIENT if of else REFUSED_OF_OTHERS):
            kept.add(number)
    return kept


def _evaluations(spec: RunSpec, heard: list[Heard], read: _Read, names: Names) -> list[MatchedClient]:
    """Return the distinct announcements of the evaluation topic that match, the newest first.

    Where any client can announce, any client can also withdraw. A withdrawal is then ignored, unless the run names the
    offsets, so that it cannot decide which announcement remains.
    """
    heeded = spec.own_topics or ":" in spec.evaluation_topic
    found: list[MatchedClient] = []
    fates = taken_back([announcement for _, announcement in read.measuring])
    for (number, announcement), fate in reversed(list(zip(read.measuring, fates, strict=True))):
        matched = (
            _matched(spec, heard[number], announcement, announcement.ranges, for_evaluation=True)
            if announcement.ranges
            else None
        )
        read.reasons[number] = fate.reason if heeded else "" if matched else NOT_HEEDED
        read.reasons[number] = read.reasons[number] or (names.differ(matched) if matched else "")
        if matched and not read.reasons[number] and not any(_same_records(matched, other) for other in found):
            found.append(matched)
    return found


def _same_records(one: MatchedClient, other: MatchedClient) -> bool:
    same = ("ranges", "input_format", "input_config", "features", "classes")
    return all(getattr(one, name) == getattr(other, name) for name in same)


def _is_related(spec: RunSpec, client: str, for_evaluation: bool) -> bool:
    """Return whether an announcement concerns the run.

    Readers of the run's report must not learn about other owners' streams on the same brokers.
    """
    return for_evaluation or not spec.clients or client in spec.clients


def _shown(text: str) -> str:
    """Return a text that is safe to store and print.

    Anyone who can write to the control topic chooses names, and reasons quote them.
    """
    plain = text if text.isprintable() else repr(text)[1:-1]
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}..."


def _why_useless(spec: RunSpec, client: MatchedClient, offer: Offer) -> str:
    """Return why a run cannot use what a client offers, or an empty string."""
    if spec.feed.live and (gap := gap_in(offer.ranges)):
        return gap
    if client.records < spec.min_data and not offer.online:
        return f"announces {client.records} records, the run asks for at least {spec.min_data}"
    if (count := client.unlabelled.count(",") + 1) > RANGES:
        return f"announces records without labels in {count:,} ranges of offsets, at most {RANGES:,} are read"
    if client.unlabelled and is_ambiguous(get_codec(client.format)) and _mixed(client):
        return (
            "announces the same offsets with and without labels, but its labels can be one zero byte, "
            "like the key of a record without a label; send these to a topic of their own"
        )
    return ""


def _mixed(client: MatchedClient) -> bool:
    """Return whether a client announces the same records with and without labels."""
    if client.stream and client.unlabelled_stream:
        return bool({*client.stream.topics} & {*client.unlabelled_stream.topics})
    announced = [*parse_ranges(client.ranges), *parse_ranges(client.unlabelled)]
    return total_records(unite(announced)) < total_records(announced)


def _matched(
    spec: RunSpec,
    heard: Heard,
    announcement: DataAnnouncement,
    ranges: list[OffsetRange],
    unlabelled: Sequence[OffsetRange] = (),
    for_evaluation: bool = False,
) -> MatchedClient:
    held_out, codec = announcement.held_out_rate(), get_codec(announcement.format)
    return MatchedClient(
        client=announcement.client,
        bootstrap_servers=heard.bootstrap_servers,
        ranges=format_ranges(ranges),
        input_format=announcement.input_format,
        input_config=codec.config(),
        held_out_rate=0.0 if for_evaluation else spec.validation_rate if held_out is None else held_out,
        records=total_records(ranges),
        features=features_of(announcement, codec),
        classes=announcement.classes,
        unlabelled=format_ranges(unlabelled),
    )


def reasons(matching: Matching, client: str) -> str:
    """Return why a client does not take part."""
    own = [row.reason for row in matching.rows if row.client == client and not row.accepted]
    return own[-1] if own else "it has announced no stream"
