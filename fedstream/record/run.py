"""spec.json: the definition of a run, written once when the run is planned."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from fedstream.errors import SpecError
from fedstream.record.document import Digest, Document, Word
from fedstream.record.exchange import Parts
from fedstream.record.format import RAW, StreamFormat
from fedstream.record.names import MODEL_NAME, NAME
from fedstream.record.spec import RunSpec
from fedstream.record.stream import Stream

LAYOUT = 1
"""Layout of a run's objects and documents; it grows when an older reader would misread a newer run."""


class MatchedClient(Document):
    """A client that takes part, with its announcement.

    Attributes:
        client: name of the client.
        bootstrap_servers: brokers of the client; empty for the default brokers.
        ranges: `topic:partition:start:end[,...]`, as announced; in a live run, also the names of online streams.
        input_format: name of the codec, as announced.
        input_config: configuration of the codec, as announced.
        held_out_rate: fraction of the client's records that is never trained on, in [0, 1).
        records: number of announced records; 0 for an online stream.
        features: names of the client's columns, in the client's order; empty if it announced none.
        classes: names of the client's classes 0, 1, ...; empty if it announced none.
        unlabelled: ranges of records without labels, like `ranges`; not written if the run does not use any.
        stream: where the client's stream begins; only in a live run.
        unlabelled_stream: where the client's records without labels begin; only in a live run that uses any.
    """

    client: str = Field(pattern=f"^{NAME}$")
    bootstrap_servers: str
    ranges: str
    input_format: Word = RAW
    input_config: dict[str, Any]
    held_out_rate: float = Field(ge=0, lt=1)
    records: int = Field(ge=0)
    features: list[str] = []
    classes: list[str] = []
    unlabelled: str = Field(default="", exclude_if=lambda ranges: not ranges)
    stream: Stream | None = Field(default=None, exclude_if=lambda stream: stream is None)
    unlabelled_stream: Stream | None = Field(default=None, exclude_if=lambda stream: stream is None)

    @property
    def streams(self) -> list[Stream]:
        """The streams of a live run, with and without labels."""
        return [stream for stream in (self.stream, self.unlabelled_stream) if stream]

    @property
    def format(self) -> StreamFormat:
        """The layout of the records."""
        return StreamFormat(self.input_format, self.input_config)


class AnnouncementRow(Document):
    """Whether one announcement takes part, and why not.

    Attributes:
        related: whether the announcement concerns the run; false for a client that the run does not ask.
    """

    bootstrap_servers: str
    partition: int
    offset: int
    client: str
    accepted: bool
    related: bool = True
    reason: str


class ModelReference(Document):
    """The initial model of a run: its name, and the SHA-256 of its three objects.

    Attributes:
        description_digest: SHA-256 of the model's description, the .json file beside the .keras file.
    """

    name: str = Field(pattern=f"^{MODEL_NAME}$")
    keras_digest: Digest
    weights_digest: Digest
    description_digest: Digest


class RunRecord(Document):
    """spec.json: the spec, and what it was matched with when the run was planned. Written once.

    Attributes:
        layout: layout of the run's objects and documents.
        spec: the spec as first submitted.
        model: the initial model.
        clients: clients that take part, sorted by name.
        evaluation: announcement of the evaluation topic, if there is one.
        announcements: every announcement that was read, and why it takes part or not.
        features: names of the columns, in the order in which the model takes them; empty if neither the model nor a
            client names any.
        classes: names of the classes 0, 1, ...; empty under the same condition.
        parts: which variables travel and which are personal; absent if all travel.
    """

    layout: int = LAYOUT
    spec: RunSpec
    model: ModelReference
    clients: list[MatchedClient]
    evaluation: MatchedClient | None
    announcements: list[AnnouncementRow]
    features: list[str] = []
    classes: list[str] = []
    parts: Parts | None = Field(default=None, exclude_if=lambda parts: parts is None)

    @field_validator("layout")
    @classmethod
    def _layout_can_be_read(cls, layout: int) -> int:
        if layout != LAYOUT:
            raise ValueError(
                f"it has layout {layout}, and this version of fedstream reads layout {LAYOUT}; "
                "use the version that wrote it"
            )
        return layout

    @model_validator(mode="after")
    def _evaluation_is_the_spec_s(self) -> RunRecord:
        if (self.evaluation is None) != self.spec.federated_evaluation:
            raise ValueError(
                f"evaluation_topic is {self.spec.evaluation_topic!r}, "
                f"but it has {'an' if self.evaluation else 'no'} evaluation"
            )
        return self

    @model_validator(mode="after")
    def _live_clients_have_streams(self) -> RunRecord:
        if other := [c.client for c in self.clients if (c.stream is not None) != self.spec.feed.live]:
            raise ValueError(f"feed is {self.spec.feed.kind!r}, which does not fit the stream of client {other[0]!r}")
        return self

    def client(self, name: str) -> MatchedClient:
        for matched in self.clients:
            if matched.client == name:
                return matched
        raise SpecError(
            f"run {self.spec.run!r} has no client {name!r}; it has {', '.join(c.client for c in self.clients)}"
        )
