"""Decide whether one announcement can take part in a run, whatever the others say. These functions are pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from fedstream.model.compatibility import check_fit
from fedstream.preprocessing.shapes import preprocessed_shapes
from fedstream.record.description import ModelDescription
from fedstream.record.offsets import format_ranges, parse_ranges
from fedstream.record.preprocessing import Preprocessing
from fedstream.record.spec import RunSpec
from fedstream.steps.naming import features_of, names_misfit
from fedstream.stream.announcement import DataAnnouncement, invalid_client_name
from fedstream.stream.codec import get_codec

NO_PREPROCESSING = Preprocessing()


@dataclass(frozen=True)
class Heard:
    """One message of a data control topic.

    Attributes:
        bootstrap_servers: Brokers that it was read from; empty for the default brokers.
        partition: Partition of the message.
        offset: Offset of the message.
        data: Value of the message.
        unconfirmed: Whether it is a withdrawal that the client itself has not confirmed, in a run that requires that.
    """

    bootstrap_servers: str
    partition: int
    offset: int
    data: bytes
    unconfirmed: bool = False


def is_for_evaluation(spec: RunSpec, announcement: DataAnnouncement) -> bool:
    """Return whether an announcement offers the records that each global model of a run is measured on."""
    named = spec.evaluation_topic
    topics = {r.topic for r in parse_ranges(named)} if ":" in named else {named}
    return bool(named) and announcement.topics == topics


def why_not(
    spec: RunSpec, model: ModelDescription, heard: Heard, announcement: DataAnnouncement, for_evaluation: bool
) -> str:
    """Return why an announcement cannot take part in a run, or an empty string.

    Args:
        spec: The run.
        model: The run's model.
        heard: The message that holds the announcement.
        announcement: The announcement.
        for_evaluation: Whether it announces the run's evaluation topic.

    Raises:
        FedstreamError: Its format is not known, or its records do not fit the model.
    """
    if heard.unconfirmed:
        return (
            "withdraws records, but anyone could have written that: the client's own control topic does not contain it "
            "(own_topics); withdraw with `fedstream stream withdraw`"
        )
    client = announcement.client
    if reason := invalid_client_name(client):
        return reason
    if announcement.online and not announcement.withdrawn and (for_evaluation or not spec.feed.live):
        return (
            f"announces the online stream {announcement.topic!r} without offsets, which only a run whose feed is "
            "of kind `new` trains on"
        )
    unlabelled = announcement.unlabelled if spec.unsupervised and not for_evaluation else []
    online = announcement.unlabelled_online if spec.unsupervised and not for_evaluation else ""
    if online and not spec.feed.live:
        return (
            f"unsupervised_topic: {online!r} has no offsets, which only a run whose feed is "
            '{"kind": "new"} can follow'
        )
    topics = announcement.topics | {r.topic for r in unlabelled} | {online} - {""}
    if spec.own_topics and (foreign := sorted(topic for topic in topics if not topic.startswith(f"{client}."))):
        return (
            f"topic {foreign[0]!r} does not begin with {client + '.'!r}, "
            "and the run accepts a client's own topics only (own_topics)"
        )
    if for_evaluation and heard.bootstrap_servers:
        return f"announced at {heard.bootstrap_servers}, but the evaluation topic lies at the default brokers"
    if (
        for_evaluation
        and ":" in spec.evaluation_topic
        and announcement.ranges != parse_ranges(spec.evaluation_topic)
        and not announcement.withdrawn
    ):
        return f"announces {format_ranges(announcement.ranges)}, but the run is measured on {spec.evaluation_topic}"
    if not for_evaluation:
        if spec.clients and client not in spec.clients:
            return "not among the clients the run asks for"
        if heard.bootstrap_servers != spec.bootstrap_of(client):
            there, expected = (
                servers or "the default brokers" for servers in (heard.bootstrap_servers, spec.bootstrap_of(client))
            )
            return f"announced at {there}, but the run's sites place it at {expected}"
        if announcement.restrictions != spec.data_restriction and not announcement.withdrawn:
            own, asked = (
                json.dumps(restrictions, sort_keys=True)
                for restrictions in (announcement.restrictions, spec.data_restriction)
            )
            return (
                f"its restrictions {own} differ from the run's {asked}; to use these records, "
                f"pass --data-restriction '{own}'"
            )
    if announcement.withdrawn:
        return ""
    return misfit(model, announcement, spec.preprocessing)


def misfit(
    model: ModelDescription, announcement: DataAnnouncement, preprocessing: Preprocessing = NO_PREPROCESSING
) -> str:
    """Return why the names of an announcement's columns or classes do not fit a model, or an empty string.

    Args:
        model: The model.
        announcement: The announcement of the records.
        preprocessing: What a run does to the records before the model sees them.

    Raises:
        FedstreamError: The format of its records is not known, or their shape does not fit the model.
    """
    codec = get_codec(announcement.format)
    check_fit(model, preprocessed_shapes(preprocessing, codec, features_of(announcement, codec) or model.features))
    return names_misfit(model, codec, announcement)
