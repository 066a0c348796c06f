"""The documents a run leaves in the store. Each is written once, as canonical JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fedstream.record.document import Count, Digest, Document, Number, Reason, Word
from fedstream.record.format import RAW, StreamFormat
from fedstream.record.offsets import OffsetRange

CLASSES = 10_000
"""Classes whose records are counted: with more, the labels are measurements, and a slice's document would be as long as the slice."""

Figures = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=60)], Annotated[float, Field(allow_inf_nan=False)] | Word],
    Field(max_length=30),
]
"""What a strategy says of an aggregation: a few finite numbers and short texts, by name."""

METRICS, CONFUSED = 100, 100
"""Metrics of a model, and classes of a confusion matrix: a commit holds those of every client, twice."""


class SliceRange(Document):
    """Offsets [start, end) of one partition."""

    topic: str = Field(max_length=249)
    partition: Count
    start: Count
    end: Count


class Submission(Document):
    """submissions/<number>.json: the operational values of a run from a submission on that changed them; before the first, those of spec.json count.

    Attributes:
        number: 1, 2, ...; the highest counts.
        values: as fedstream.record.operational takes them out of a RunSpec.
    """

    run: Word
    number: Count
    values: dict[str, Any]


class Opening(Document):
    """opened/<attempt>-<slot>.json: which slot of which submission opened a round; the store's own time says when."""

    attempt: Word
    slot: Count
    round: Count
    kind: Literal["training", "closing"]


class Selection(Document):
    """selection.json: who is asked in a round, and for what.

    Attributes:
        kind: `training`, or `closing` where the clients only measure.
    """

    run: str
    round: Count
    kind: Literal["training", "closing"]
    clients: list[str]


class SliceDoc(Document):
    """slices/<client>.json: the exact records of a client in a round.

    Attributes:
        client: name of the client.
        bootstrap_servers: its brokers; empty for the default ones.
        ranges: offsets, in canonical order.
        records: how many.
        input_format: name of the codec.
        input_config: its configuration.
        class_counts: label -> records.
        digest: SHA-256 of all records (fedstream.stream.reader).
    """

    client: Word
    bootstrap_servers: str
    ranges: list[SliceRange]
    records: Count
    input_format: Word = RAW
    input_config: dict[str, Any]
    class_counts: dict[Word, Count] = Field(max_length=CLASSES)
    digest: Digest

    @property
    def format(self) -> StreamFormat:
        """How the records are laid out."""
        return StreamFormat(self.input_format, self.input_config)

    @property
    def offsets(self) -> list[OffsetRange]:
        """The ranges, to reckon with."""
        return [OffsetRange(r.topic, r.partition, r.start, r.end) for r in self.ranges]

    @property
    def ranges_text(self) -> str:
        """The ranges as in an announcement: `topic:partition:start:end[,...]`."""
        return ",".join(map(str, self.offsets))


class Metrics(Document):
    """What a model scored on some records.

    Attributes:
        num_examples: records measured.
        values: Keras metric name -> value; `loss` is among them.
        confusion: counts, true class by row and predicted class by column; absent where there are no classes.
    """

    num_examples: int = Field(ge=1, lt=2**63)
    values: dict[Word, float] = Field(max_length=METRICS)
    confusion: list[Annotated[list[int], Field(max_length=CONFUSED)]] | None = Field(default=None, max_length=CONFUSED)


class Manifest(Document):
    """updates/<client>.json: its existence is the update's existence.

    Attributes:
        base_digest: of the global model that was received.
        update_digest: of the new weights; absent when the client only measured.
        num_examples: records trained on (measured: held-out records).
        slice_digest: of the records.
        slice_document: SHA-256 of the slice's own bytes.
        device: what it ran on.
        cpu_fallback: whether that was a processor for want of the GPU that its placement asks for.
        submission: number of the Submission that was in force; absent for spec.json's own values.
        incoming: the received model on held-out records.
        trained: the trained model on held-out records.
        training: the training's own metrics, last epoch.
        alone: with `baseline`, the initial model trained on this client's records alone for as many epochs as the whole run has, on held-out records.
    """

    run: Word
    round: Count
    client: Word
    base_digest: Digest
    update_digest: Digest | None
    num_examples: Number
    slice_key: Reason
    slice_digest: Digest
    slice_document: Digest
    seed: int
    threads: int
    device: Word
    cpu_fallback: bool = False
    submission: Count | None = Field(default=None, exclude_if=lambda number: number is None)
    code_version: Word
    measure_only: bool
    incoming: Metrics | None
    trained: Metrics | None
    training: Metrics | None
    alone: Metrics | None = None


class Refusal(Document):
    """refusals/<attempt>/<client>.json: why a client did not take part in one submission."""

    client: Word
    step: Literal["ingest", "train"]
    reason: Reason


class Verdict(Document):
    """Whether a client's update counts, and why."""

    client: str
    accepted: bool
    reason: str
    num_examples: Number
    update_digest: Digest | None = None
    manifest_digest: Digest | None = None


class Verdicts(Document):
    """verdicts.json: written before aggregating, it freezes which updates count. Sorted by client."""

    run: str
    round: Count
    verdicts: list[Verdict]


class Aggregation(Document):
    """aggregation.json: what an aggregation made beside the global model; written before it, and only where there is something.

    Attributes:
        server_state_digest: of the strategy's state, if it keeps any.
        broadcast_digest: of the arrays that go out with the global model, if there are any.
        figures: what the strategy says of the aggregation.
    """

    server_state_digest: Digest | None = None
    broadcast_digest: Digest | None = None
    figures: Figures = {}


class Decision(Document):
    """Whether the run goes on, and why."""

    action: Literal["continue", "stop"]
    reason: str


class ClientEntry(Document):
    """One client in a commit.

    Attributes:
        slice_digest: of its records.
        slice_document: SHA-256 of the slice's own bytes.
    """

    client: str
    accepted: bool
    reason: str
    num_examples: Number
    update_digest: Digest | None
    manifest_digest: Digest | None
    slice_digest: Digest | None
    slice_document: Digest | None = None
    ranges: list[SliceRange]
    incoming: Metrics | None
    trained: Metrics | None


class Commit(Document):
    """commit.json: written last, its existence is the round's existence.

    Attributes:
        parent: SHA-256 of the previous commit's bytes; round 0's is spec.json's.
        base_digest: of the round's incoming global model.
        weights_digest: of its outgoing one; the same in a closing round.
        server_state_digest: of the strategy's state, if it keeps any.
        broadcast_digest: of the arrays that go out with the global model, if there are any.
        clients: all that were asked, sorted.
        measured_round: round whose global model `metrics` belong to.
        metrics: of that model.
        evaluation_digest: of the evaluation topic's records that it was measured on; absent under federated evaluation.
        restores: in a rollback, the round whose global model the run goes back to.
        decision: whether the run goes on.
        verdicts_digest: of verdicts.json; absent in round 0.
        figures: what the strategy says of the aggregation; not written where there are none.
        code_version: of fedstream.
    """

    run: str
    round: Count
    kind: Literal["initial", "training", "closing", "rollback"]
    parent: Digest
    base_digest: Digest
    weights_digest: Digest
    server_state_digest: Digest | None = None
    broadcast_digest: Digest | None = Field(default=None, exclude_if=lambda digest: digest is None)
    clients: list[ClientEntry] = []
    measured_round: Count | None = None
    metrics: Metrics | None = None
    evaluation_digest: Digest | None = None
    restores: Count | None = None
    decision: Decision
    verdicts_digest: Digest | None = None
    figures: Figures = Field(default={}, exclude_if=lambda figures: not figures)
    code_version: str

    @model_validator(mode="after")
    def _kind_fits(self) -> Commit:
        if (self.kind == "initial") != (self.round == 0):
            raise ValueError(f"round {self.round} cannot be of kind {self.kind}")
        if (self.kind == "rollback") != (self.restores is not None) or (
            self.restores is not None and self.restores >= self.round
        ):
            raise ValueError(f"round {self.round} of kind {self.kind} cannot restore round {self.restores}")
        return self
