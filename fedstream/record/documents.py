"""The documents that a run leaves in the store. Each is written once, as canonical JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fedstream.record.document import Count, Digest, Document, Number, Reason, Word
from fedstream.record.format import RAW, StreamFormat
from fedstream.record.offsets import OffsetRange

CLASSES = 10_000
"""Maximum number of classes whose records are counted.

With more classes, the labels are measurements, and the document of a slice would be as long as the slice.
"""

FIGURE_TEXT = 20_000
"""Maximum characters of a figure's text, enough for the names of 300 clients, however long they are."""

Figures = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=60)],
        Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=FIGURE_TEXT)],
    ],
    Field(max_length=30),
]
"""What a strategy reports about an aggregation: a few finite numbers and short texts, by name."""

METRICS, CONFUSED = 100, 100
"""Maximum metrics of a model and classes of a confusion matrix; a commit has those of every client, twice."""


class SliceRange(Document):
    """Offsets [start, end) of one partition."""

    topic: str = Field(max_length=249)
    partition: Count
    start: Count
    end: Count


class Submission(Document):
    """submissions/<number>.json: the operational values of a run, from a submission on that changed them.

    Before the first such submission, the values in spec.json count.

    Attributes:
        number: 1, 2, ...; the highest counts.
        values: the values that fedstream.record.operational extracts from a RunSpec.
    """

    run: Word
    number: Count
    values: dict[str, Any]


class Opening(Document):
    """opened/<attempt>-<slot>.json: which slot of which submission opened a round. The store has the time."""

    attempt: Word
    slot: Count
    round: Count
    kind: Literal["training", "closing"]


class Selection(Document):
    """selection.json: which clients are asked in a round, and for what.

    Attributes:
        kind: `training`, or `closing` if the clients only measure.
    """

    run: str
    round: Count
    kind: Literal["training", "closing"]
    clients: list[str]


class SliceDoc(Document):
    """slices/<client>.json: the exact records of a client in a round.

    Attributes:
        client: name of the client.
        bootstrap_servers: brokers of the client; empty for the default brokers.
        ranges: offsets, in canonical order.
        records: number of records.
        input_format: name of the codec.
        input_config: configuration of the codec.
        class_counts: label -> number of records.
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
        """The layout of the records."""
        return StreamFormat(self.input_format, self.input_config)

    @property
    def offsets(self) -> list[OffsetRange]:
        """The ranges, for computations."""
        return [OffsetRange(r.topic, r.partition, r.start, r.end) for r in self.ranges]

    @property
    def ranges_text(self) -> str:
        """The ranges as in an announcement: `topic:partition:start:end[,...]`."""
        return ",".join(map(str, self.offsets))


class Metrics(Document):
    """The metrics of a model on some records.

    Attributes:
        num_examples: number of measured records.
        values: Keras metric name -> value, including `loss`.
        confusion: counts, with the true class by row and the predicted class by column; absent without classes.
    """

    num_examples: int = Field(ge=1, lt=2**63)
    values: dict[Word, float] = Field(max_length=METRICS)
    confusion: list[Annotated[list[int], Field(max_length=CONFUSED)]] | None = Field(default=None, max_length=CONFUSED)


class Manifest(Document):
    """updates/<client>.json: an update exists if and only if its manifest exists.

    Attributes:
        base_digest: digest of the global model that the client received.
        update_digest: digest of the new weights; absent when the client only measured.
        client_state_digest: digest of the arrays that the client keeps for its next round; not written if there are
            none.
        num_examples: number of records trained on; if the client only measured, of held-out records.
        epochs: passes over the records that the client finished before its deadline, if these are fewer than the run
            asks for; only with a strategy that accepts partial work.
        slice_digest: digest of the records.
        slice_document: SHA-256 of the bytes of the slice's document.
        device: device that the training ran on.
        cpu_fallback: whether the training ran on a processor because the GPU that its placement requests was missing.
        submission: number of the Submission in force; absent for the values in spec.json.
        incoming: metrics of the received model on held-out records.
        trained: metrics of the trained model on held-out records.
        training: metrics of the training itself, from the last epoch.
        alone: with `baseline`, metrics on held-out records of the initial model, trained on this client's records alone
            for as many epochs as the whole run has.
    """

    run: Word
    round: Count
    client: Word
    base_digest: Digest
    update_digest: Digest | None
    client_state_digest: Digest | None = Field(default=None, exclude_if=lambda digest: digest is None)
    num_examples: Number
    epochs: Count | None = Field(default=None, exclude_if=lambda epochs: epochs is None)
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
    epochs: Count | None = Field(default=None, exclude_if=lambda epochs: epochs is None)
    update_digest: Digest | None = None
    client_state_digest: Digest | None = Field(default=None, exclude_if=lambda digest: digest is None)
    manifest_digest: Digest | None = None


class Verdicts(Document):
    """verdicts.json: freezes which updates count, before they are aggregated. Sorted by client."""

    run: str
    round: Count
    verdicts: list[Verdict]


class Contribution(Document):
    """How one client's update relates to the step of the global model in a round.

    Attributes:
        norm: Euclidean norm of the update's change of the model that the client received.
        cosine: cosine of the angle between that change and the change of the global model: 1 for the same direction, 0
            for none in common; absent if one of them is zero.
    """

    norm: float = Field(ge=0, allow_inf_nan=False)
    cosine: float | None = Field(default=None, ge=-1, le=1)


class Aggregation(Document):
    """aggregation.json: what an aggregation produced beside the global model.

    It is written before the global model, and only if there is something to record.

    Attributes:
        server_state_digest: digest of the strategy's state, if it keeps one.
        broadcast_digest: digest of the arrays that go out with the global model, if there are any.
        figures: what the strategy reports about the aggregation.
        contributions: what each accepted update contributed; client -> contribution.
    """

    server_state_digest: Digest | None = None
    broadcast_digest: Digest | None = None
    figures: Figures = {}
    contributions: dict[Word, Contribution] = {}


class Decision(Document):
    """Whether the run continues, and why."""

    action: Literal["continue", "stop"]
    reason: str


class ClientEntry(Document):
    """One client in a commit.

    Attributes:
        slice_digest: digest of the client's records.
        slice_document: SHA-256 of the bytes of the slice's document.
        contribution: what the update contributed to the global model; absent if it was not accepted.
    """

    client: str
    accepted: bool
    reason: str
    num_examples: Number
    epochs: Count | None = Field(default=None, exclude_if=lambda epochs: epochs is None)
    update_digest: Digest | None
    client_state_digest: Digest | None = Field(default=None, exclude_if=lambda digest: digest is None)
    manifest_digest: Digest | None
    slice_digest: Digest | None
    slice_document: Digest | None = None
    ranges: list[SliceRange]
    incoming: Metrics | None
    trained: Metrics | None
    contribution: Contribution | None = Field(default=None, exclude_if=lambda contribution: contribution is None)


class Commit(Document):
    """commit.json: written last; a round exists if and only if its commit exists.

    Attributes:
        parent: SHA-256 of the previous commit's bytes; in round 0, of the bytes of spec.json.
        base_digest: digest of the global model before the round.
        weights_digest: digest of the global model after the round; the same in a closing round.
        server_state_digest: digest of the strategy's state, if it keeps one.
        broadcast_digest: digest of the arrays that go out with the global model, if there are any.
        clients: all clients that were asked, sorted.
        measured_round: round whose global model `metrics` belong to.
        metrics: metrics of that model.
        evaluation_digest: digest of the records of the evaluation topic that the model was measured on; absent under
            federated evaluation.
        left_out: with `leave_one_out`, the target metric that the global model would have without each client's update.
        restores: in a rollback, the round whose global model the run goes back to.
        decision: whether the run continues.
        verdicts_digest: digest of verdicts.json; absent in round 0.
        figures: what the strategy reports about the aggregation; not written if there are none.
        code_version: version of fedstream.
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
    left_out: dict[Word, float] = Field(default={}, exclude_if=lambda left_out: not left_out)
    restores: Count | None = None
    decision: Decision
    verdicts_digest: Digest | None = None
    figures: Figures = Field(default={}, exclude_if=lambda figures: not figures)
    code_version: str

    @property
    def aggregation(self) -> Aggregation:
        """What the commit says that the aggregation produced beside the global model."""
        return Aggregation(
            server_state_digest=self.server_state_digest,
            broadcast_digest=self.broadcast_digest,
            figures=self.figures,
            contributions={entry.client: entry.contribution for entry in self.clients if entry.contribution},
        )

    @model_validator(mode="after")
    def _kind_fits(self) -> Commit:
        if (self.kind == "initial") != (self.round == 0):
            raise ValueError(f"round {self.round} cannot be of kind {self.kind}")
        if (self.kind == "rollback") != (self.restores is not None) or (
            self.restores is not None and self.restores >= self.round
        ):
            raise ValueError(f"round {self.round} of kind {self.kind} cannot restore round {self.restores}")
        return self
