"""Kafka-ML's control messages, which announce a stream or a model.

The parser tolerates unknown fields, and is strict about the fields that fedstream uses.
"""

from __future__ import annotations

import json
import math
import re
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fedstream.errors import AnnouncementError
from fedstream.record.canonical import parse_json
from fedstream.record.format import RAW, StreamFormat
from fedstream.record.names import NAME, invalid_names
from fedstream.record.offsets import RECORDS, OffsetRange, invalid_topic_name, parse_ranges

DATA_CONTROL_TOPIC = "FEDERATED_DATA_CONTROL_TOPIC"
"""Topic on which data owners announce their streams."""


def own_control_topic(client: str) -> str:
    """Return the topic that repeats a client's withdrawals.

    Every owner can write to the control topic. To this topic, whose name begins with that of the client, only the
    client can write, if the brokers have access rights as runs with own_topics expect.
    """
    return f"{client}.{DATA_CONTROL_TOPIC}"


MODEL_CONTROL_TOPIC = "FEDERATED_MODEL_CONTROL_TOPIC"
"""Topic on which published models are announced to the data owners."""

MESSAGE_BYTES = 128 * 1024
"""Maximum size of an announcement in bytes, enough for a thousand ranges of offsets and a few pages of description."""

DEPTH = 32
"""Maximum nesting depth of an announcement's JSON; Kafka-ML's announcements have two levels."""

SCHEMA_VERSION = 1
"""Version of the fields that fedstream adds: client, bootstrap_servers, features, classes, append, withdrawn."""


def invalid_client_name(name: str) -> str:
    """Return why a client's name is invalid, or an empty string. Names become part of object keys and loop ids."""
    if re.fullmatch(NAME, name):
        return ""
    return (
        f"client name {name!r} cannot be used; "
        "use letters, digits, '.', '_' and '-', at most 63, the first a letter or digit"
    )


class DataAnnouncement(BaseModel):
    """A data owner's message on FEDERATED_DATA_CONTROL_TOPIC.

    Attributes:
        topic: `topic:partition:start:end[,...]`, or a plain topic name for an online stream.
        input_format: Name of the codec, such as RAW.
        input_config: Configuration of the codec.
        description: Free text of the data owner.
        dataset_restrictions: Text that contains a JSON object.
        validation_rate: Fraction held out for validation, in [0, 1).
        test_rate: Fraction held out for testing, in [0, 1).
        total_msg: Number of announced records, if known.
        unsupervised_topic: Like `topic`, for records without labels.
        incremental: Whether more records will follow.
        client: Name of the data owner. fedstream adds this field and all that follow.
        bootstrap_servers: Address of the broker according to the data owner; never trusted.
        features: Names of the columns of a flat sample, in order.
        classes: Names of the classes 0, 1, ...
        append: Whether the announcement adds to the client's earlier announcements instead of replacing them.
        withdrawn: Whether the announcement withdraws the client's earlier announcements of this topic and offers
            nothing.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    topic: str
    input_format: str
    input_config: dict[str, Any]
    description: str = ""
    dataset_restrictions: str = "{}"
    validation_rate: float | None = None
    test_rate: float | None = None
    total_msg: int | None = Field(None, ge=0, le=RECORDS)
    unsupervised_topic: str | None = None
    incremental: bool = False
    client: str = ""
    bootstrap_servers: str = ""
    features: list[str] = []
    classes: list[str] = []
    append: bool = False
    withdrawn: bool = False

    @field_validator("features", "classes")
    @classmethod
    def _names_can_be_kept(cls, names: list[str]) -> list[str]:
        if reason := invalid_names(names):
            raise ValueError(reason)
        return names

    @field_validator("input_config", mode="before")
    @classmethod
    def _config_may_be_text(cls, value: Any) -> Any:
        return _parsed(value.encode()) if isinstance(value, str) else value

    @field_validator("dataset_restrictions", mode="before")
    @classmethod
    def _restrictions_may_be_an_object(cls, value: Any) -> Any:
        return json.dumps(value) if isinstance(value, dict) else value

    @field_validator("topic")
    @classmethod
    def _topic_can_be_read(cls, topic: str) -> str:
        if ":" in topic:
            parse_ranges(topic)
        elif reason := invalid_topic_name(topic):
            raise ValueError(reason)
        return topic

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, values: Any) -> Any:
        return (
            {name: value for name, value in values.items() if value is not None} if isinstance(values, dict) else values
        )

    @field_validator("validation_rate", "test_rate")
    @classmethod
    def _rate_leaves_something(cls, rate: float | None) -> float | None:
        if rate is not None and not (math.isfinite(rate) and 0 <= rate < 1):
            raise ValueError(
                f"{rate} is not in [0, 1): nothing would be left to train on"
                if rate >= 1
                else f"{rate} is not in [0, 1)"
            )
        return rate

    @property
    def format(self) -> StreamFormat:
        """The format of the records."""
        return StreamFormat(self.input_format, self.input_config)

    @property
    def online(self) -> bool:
        """Whether the announcement names a topic without offsets."""
        return ":" not in self.topic

    @cached_property
    def ranges(self) -> list[OffsetRange]:
        """The announced ranges of offsets, in canonical order; empty for an online stream."""
        return [] if self.online else parse_ranges(self.topic)

    @property
    def unlabelled_online(self) -> str:
        """The topic of records without labels, if it is announced without offsets; otherwise empty."""
        topic = self.unsupervised_topic or ""
        return "" if invalid_topic_name(topic) else topic

    @cached_property
    def unlabelled(self) -> list[OffsetRange]:
        """The ranges of records without labels, in canonical order; empty if none are announced.

        Only a run that uses these records reads them, so an error here does not concern other runs.

        Raises:
            AnnouncementError: unsupervised_topic contains no valid ranges.
        """
        if not self.unsupervised_topic or self.unlabelled_online:
            return []
        try:
            return parse_ranges(self.unsupervised_topic)
        except AnnouncementError as error:
            raise AnnouncementError(f"unsupervised_{error}") from error

    @property
    def topics(self) -> set[str]:
        return {self.topic} if self.online else {r.topic for r in self.ranges}

    @property
    def restrictions(self) -> dict[str, Any]:
        """The JSON object in dataset_restrictions."""
        try:
            value = _parsed(self.dataset_restrictions.encode() or b"{}")
        except ValueError as error:
            raise AnnouncementError(
                f"dataset_restrictions: {self.dataset_restrictions!r} is not JSON ({error})"
            ) from error
        if not isinstance(value, dict):
            raise AnnouncementError(f"dataset_restrictions: {self.dataset_restrictions!r} is not a JSON object")
        return value

    def held_out_rate(self) -> float | None:
        """Return validation_rate + test_rate, or None if the data owner specifies neither (as 0 or as null)."""
        return (self.validation_rate or 0.0) + (self.test_rate or 0.0) or None

    def to_bytes(self) -> bytes:
        """Return the message's value."""
        return json.dumps(self.model_dump(mode="json") | {"schema_version": SCHEMA_VERSION}).encode()


def parse_data_announcement(data: bytes) -> DataAnnouncement:
    """Parse a message's value.

    Raises:
        AnnouncementError: The value is not JSON, or a field is missing or invalid. The message names the field.
    """
    if len(data) > MESSAGE_BYTES:
        raise AnnouncementError(
            f"the announcement has more than {MESSAGE_BYTES:,} bytes and is not read; "
            "announce fewer ranges, or in parts"
        )
    try:
        document = _parsed(data)
    except ValueError as error:
        raise AnnouncementError(f"the announcement is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise AnnouncementError(f"the announcement is JSON of type {type(document).__name__}, expected an object")
    try:
        announcement = DataAnnouncement.model_validate(document)
    except ValidationError as error:
        problem = error.errors()[0]
        raise AnnouncementError(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
        ) from error
    if not announcement.client:
        first = announcement.topic if announcement.online else announcement.ranges[0].topic
        announcement = announcement.model_copy(update={"client": first})
    if (announcement.held_out_rate() or 0.0) >= 1:
        rates = f"validation_rate {announcement.validation_rate} and test_rate {announcement.test_rate}"
        raise AnnouncementError(f"{rates} leave nothing to train on; their sum must be below 1")
    _ = announcement.restrictions
    return announcement


def check_announceable(said: dict[str, Any]) -> None:
    """Check the fields that a data owner chooses, before any record is sent.

    These are description, dataset_restrictions, validation_rate, test_rate, features and classes.

    Raises:
        AnnouncementError: A field cannot be announced. The message names the field.
    """
    try:
        parse_data_announcement(
            json.dumps({**said, "topic": "topic:0:0:1", "input_format": RAW, "input_config": {}}).encode()
        )
    except (TypeError, ValueError) as error:
        raise AnnouncementError(f"the announcement cannot be written as JSON: {error}") from error


def _parsed(data: bytes) -> Any:
    return parse_json(data, DEPTH)


class ModelAnnouncement(BaseModel):
    """The message on FEDERATED_MODEL_CONTROL_TOPIC, including the location of the finished model, unlike Kafka-ML's.

    Attributes:
        model_format: `input_shape` and `output_shape` as space-separated numbers.
        federated_params: `federated_string_id`, `data_restriction` (text that contains JSON) and `min_data`.
        model: Name of the model.
        version: Version of the model.
        run: Name of the run that trained the model.
        bucket: S3 bucket.
        model_key: Key of the .keras file.
        model_digest: SHA-256 of that file.
        weights_digest: SHA-256 of the weights.
        head: SHA-256 of the run's last commit. Keep it to prove later that no round was removed.
        features: Names of the columns, in the order that the model expects; empty if they have no names.
        classes: Names of the classes 0, 1, ...; empty if they have no names.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    model_format: dict[str, str]
    federated_params: dict[str, Any]
    framework: str = "tf"
    distributed: bool = True
    incremental: bool = False
    model: str
    version: int
    run: str
    bucket: str
    model_key: str
    model_digest: str
    weights_digest: str
    head: str
    features: list[str] = []
    classes: list[str] = []
    schema_version: int = SCHEMA_VERSION

    def to_bytes(self) -> bytes:
        """Return the message's value."""
        return self.model_dump_json().encode()
