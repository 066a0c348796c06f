"""Streams of records with and without labels, as Kafka-ML's semi-supervised examples send them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fedstream.record.offsets import OffsetRange, format_ranges
from fedstream.steps.context import Context
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, DataAnnouncement
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.records import UNLABELLED


def send_few_labels(
    context: Context,
    client: str,
    x: np.ndarray,
    y: np.ndarray,
    labelled: Callable[[int], bool],
    topic: str = "",
    **said: Any,
) -> DataAnnouncement:
    """Send all samples, but the labels of some records only, and announce both kinds of records.

    Args:
        context: The context with the brokers.
        client: Name of the client, and topic of the labelled records.
        x: Samples (n, ...).
        y: Labels (n,).
        labelled: Tells for the number of a record whether it has a label.
        topic: Topic of the records without labels; empty for the topic of the others, where both are announced as one
            range, since a sink that writes both to one topic knows only where it began and ended.
        said: Other fields of the announcement.
    """
    broker, codec = context.brokers.at(""), RawCodec.from_sample(x[0], y[0])
    offsets: dict[str, list[int]] = {client: [], topic or client: []}
    for number, (sample, label) in enumerate(zip(x, y, strict=True)):
        to, given = (client, label) if labelled(number) else (topic or client, None)
        offsets[to].append(broker.append(to, *codec.encode(sample, given)))
    announcement = DataAnnouncement(
        **{
            "topic": _ranges(client, offsets[client]),
            "unsupervised_topic": _ranges(topic or client, offsets[topic or client]),
            "input_format": "RAW",
            "input_config": codec.config(),
            "client": client,
            "validation_rate": 0.2,
        }
        | said
    )
    broker.append(DATA_CONTROL_TOPIC, announcement.to_bytes(), UNLABELLED)
    return announcement


def _ranges(topic: str, offsets: list[int]) -> str:
    return format_ranges([OffsetRange(topic, 0, offsets[0], offsets[-1] + 1)])
