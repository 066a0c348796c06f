"""The documents that a run leaves in the store. Each is written once, as canonical JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from fedstream.record.document import Count, Digest, Document, Number, Reason, Word
from fedstream.record.format import RAW, StreamFormat
from fedstream.record.offsets import OffsetRange
from fedstream.record.summary import Summary

CLASSES = 10_000
"""Maximum number of classes whose records are counted.

With more classes, the labels are measurements, and the document of a slice would be as long as the slice.
"""

METRICS, CONFUSED = 100, 100
"""Maximum metrics of a model and classes of a confusion matrix; a commit has those of every client, twice."""


class SliceRange(Document):
    """Offsets [start, end) of one partition."""

    topic: str = Field(max_length=249)
    partition: Count
    start: Count
    end: Count


def offsets_of(ranges: Sequence[SliceRange]) -> list[OffsetRange]:
    """Return the ranges of a document for computations."""
    return [OffsetRange(r.topic, r.partition, r.start, r.end) for r in ranges]


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
    """opened/<attempt>-<slot>.json: which slot of which submission opened a round. The store has the time.

    Attributes:
        idle: why the submission ended instead of running the round, as in a live run without new records.
    """

    attempt: Word
    slot: Count
    round: Count
    kind: Literal["training", "closing"]
    idle: Reason = Field(default="", exclude_if=lambda idle: not idle)


class Selection(Document):
    """selection.json: which clients are asked in a round, and for what.

    Attributes:
        kind: `training`, or `closing` if the clients only measure.
    """

    run: str
    round: Count
    kind: Literal["training", "closing"]
    clients: list[str]


class UnlabelledRecords(Document):
    """The exact records without labels of a client in a round.

    Attributes:
        ranges: offsets, in canonical order.
        records: number of records in the ranges; the labelled ones among them do not count as unlabelled.
        digest: SHA-256 of all records of the ranges (fedstream.stream.records).
    """

    ranges: list[SliceRange] = Field(min_length=1)
    records: Count
    digest: Digest


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
        digest: SHA-256 of all records (fedstream.stream.records).
        unlabelled: records without labels that the client trains on too; not written if there are none.
        summary: what the samples are like, in a live run; absent if they are too few to say anything about them.
    """

    client: Word
    bootstrap_servers: str
    ranges: list[SliceRange]
    records: Count
    input_format: Word = RAW
    input_config: dict[str, Any]
    class_counts: dict[Word, Count] = Field(max_length=CLASSES)
    digest: Digest
    unlabelled: UnlabelledRecords | None = Field(default=None, exclude_if=lambda unlabelled: unlabelled is None)
    summary: Summary | None = Field(default=None, exclude_if=lambda summary: summary is None)

    @property
    def format(self) -> StreamFormat:
        """The layout of the records."""
        return StreamFormat(self.input_format, self.input_config)

    @property
    def offsets(self) -> list[OffsetRange]:
        """The ranges, for computations."""
        return offsets_of(self.ranges)

    @property
    def unlabelled_offsets(self) -> list[OffsetRange]:
        """The ranges of the records without labels."""
        return offsets_of(self.unlabelled.ranges) if self.unlabelled else []

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
        num_examples: number of labelled records trained on; if the client only measured, of held-out records.
        pseudo_labelled: number of records without labels that the client labelled itself and trained on too; absent if
            the run is not semi-supervised.
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
    pseudo_labelled: Count | None = Field(default=None, exclude_if=lambda number: number is None)
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
