"""Send a complete data set and announce it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError, UsageError
from fedstream.record.format import RAW, StreamFormat
from fedstream.record.offsets import invalid_topic_name
from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, DataAnnouncement, check_announceable, invalid_client_name
from fedstream.stream.broker import Broker, KafkaBroker
from fedstream.stream.client import admin
from fedstream.stream.codec import Codec, codec_class
from fedstream.stream.columns import align, is_text, number_classes
from fedstream.stream.finite import check_finite
from fedstream.stream.records import UNLABELLED
from fedstream.stream.sink import announcement_of

PROGRESS = 256
"""Number of records between two calls of the progress function.

Drawing a progress bar takes as long as sending a few records.
"""


def send_dataset(
    broker: KafkaSettings | Broker,
    topic: str,
    client: str,
    x: NDArray[Any],
    y: NDArray[Any],
    *,
    format: str = RAW,
    config: dict[str, Any] | None = None,
    validation_rate: float = 0.0,
    test_rate: float = 0.0,
    restrictions: dict[str, Any] | None = None,
    description: str = "",
    features: Sequence[str] = (),
    classes: Sequence[str] = (),
    append: bool = False,
    allow_nan: bool = False,
    checked: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda _: None,
) -> DataAnnouncement:
    """Send every record, wait until all are stored, announce them, and return the announcement.

    Args:
        broker: The data owner's brokers.
        topic: Topic of the records.
        client: Name of the data owner.
        x: Samples (n, ...), at least one: numbers, texts as objects, or a structured dtype with a field for each of
            the model's inputs.
        y: Labels (n, ...); text labels are announced as classes and sent as class numbers.
        format: Name of the records' format, such as RAW or JSON.
        config: Entries that override the format's configuration, which is inferred from the first record.
        validation_rate: Fraction to hold out for validation, in [0, 1).
        test_rate: Fraction to hold out for testing, in [0, 1).
        restrictions: Restrictions that a run must request to get these records.
        description: Free text.
        features: Names of the columns of flat samples, in order, so that a run can match them with other data owners'.
        classes: Names of the classes 0, 1, ...; for text labels, the default is the sorted labels.
        append: Add to the client's earlier announcements instead of replacing them.
        allow_nan: Also send NaN and infinity.
        checked: Called when all local checks have passed, before the first request to a broker.
        progress: Called with the number of records that were just sent.

    Raises:
        UsageError: The name, a rate or the arrays cannot be announced; nothing is sent.
        RecordError: A record contains NaN or infinity; nothing is sent.
        BrokerError: The broker did not accept the records; nothing is announced.
    """
    if is_text(y):
        y, classes = number_classes(y, classes)
    said = {
        "description": description,
        "dataset_restrictions": json.dumps(restrictions or {}),
        "validation_rate": validation_rate,
        "test_rate": test_rate,
        "features": list(features),
        "classes": list(classes),
        "append": append,
    }
    codec = _checked(topic, client, x, y, format, config or {}, said)
    if codec.data_dtype.names:
        x = x[list(codec.data_dtype.names)]  # NumPy would convert the inputs by their position
    samples, labels = (
        x.astype(codec.data_dtype, order="C", copy=False),
        y.astype(codec.label_dtype, order="C", copy=False),
    )
    if not allow_nan:
        check_finite(samples, "sample", names=features)
        check_finite(labels, "label")
    checked()
    where = KafkaBroker(broker) if isinstance(broker, KafkaSettings) else broker
    writer = where.writer()
    try:
        for first in range(0, len(samples), PROGRESS):
            part = slice(first, first + PROGRESS)
            for sample, label in zip(samples[part], labels[part], strict=True):
                writer.write(topic, *codec.encode(sample, label))
            progress(len(samples[part]))
        announcement = announcement_of(where, client, StreamFormat(format, codec.config()), writer.flush(), **said)
        writer.write(DATA_CONTROL_TOPIC, announcement.to_bytes(), UNLABELLED)
        writer.flush()
    finally:
        writer.close()
    return announcement


def _checked(
    topic: str, client: str, x: NDArray[Any], y: NDArray[Any], format: str, config: dict[str, Any], said: dict[str, Any]
) -> Codec:
    if reason := invalid_client_name(client) or invalid_topic_name(topic):
        raise UsageError(reason)
    if len(x) != len(y) or not len(x):
        raise UsageError(f"there are {len(x)} samples and {len(y)} labels; their numbers must be equal, and at least 1")
    if said["features"] and x.shape[1:] != (len(said["features"]),):
        raise UsageError(
            f"{len(said['features'])} columns are named, but a sample has shape {x.shape[1:]}; "
            "name one for each value of a flat sample"
        )
    if said["classes"] and y[0].size != 1:
        raise UsageError(f"classes are named, but a label has shape {y.shape[1:]}; send class numbers")
    try:
        check_announceable(said)
        align([], said["classes"], [], said["classes"]).labels(y)
        kind = codec_class(format)
        sample, label = (np.asarray(first, array.dtype) for first, array in ((x[0], x), (y[0], y)))
        codec = kind.from_config(kind.from_sample(sample, label, said["features"]).config() | config)
        sample = sample[list(codec.data_dtype.names)] if codec.data_dtype.names else sample
        codec.encode(sample.astype(codec.data_dtype), label.astype(codec.label_dtype))
        return codec
    except (AnnouncementError, RecordError) as error:
        raise UsageError(str(error)) from error


def create_topic(kafka: KafkaSettings, topic: str, partitions: int) -> None:
    """Create a topic unless it exists; an existing topic keeps its partitions.

    Raises:
        BrokerError: No broker answers, or the broker denies access.
        TopicError: The name is not a valid name of a Kafka topic.
    """
    from kafka.errors import TopicAlreadyExistsError

    with admin(kafka) as asked:
        try:
            asked.create_topics(
                {topic: {"num_partitions": partitions, "replication_factor": -1}}, wait_for_metadata=True
            )
        except TopicAlreadyExistsError:
            return
