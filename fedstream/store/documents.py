"""The documents a run leaves in the store. Each is written once, as canonical JSON."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal digits; it becomes part of object keys, so it can be nothing else."""


Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of rounds, records or the like."""

Number = Annotated[int, Field(gt=-(2**63), lt=2**63)]
"""A number that somebody claims: it is judged, and must fit a float before that."""

REASON = 2_000
"""Characters of a reason: a page's worth. Its writer cuts it, so a longer one was not written by fedstream."""

CLASSES = 10_000
"""Classes whose records are counted: with more, the labels are measurements, and a slice's document would be as long as the slice."""

METRICS, CONFUSED = 100, 100
"""Metrics of a model, and classes of a confusion matrix: a commit holds those of every client, twice."""

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"

LONGEST_FILE = 500
"""Characters of the name of a version's file: an object's key has 1,024 bytes at most, and the store fails at a longer one."""

Word = Annotated[str, Field(max_length=200)]
"""A name, a digest, or a few words such as a device's: a client writes them, and pages show them."""
Reason = Annotated[str, Field(max_length=REASON)]


class Document(BaseModel):
    """Frozen, strict about unknown fields and about NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SliceRange(Document):
    """Offsets [start, end) of one partition."""

    topic: str = Field(max_length=249)
    partition: Count
    start: Count
    end: Count


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
        input_config: the codec's configuration.
        class_counts: label -> records.
        digest: SHA-256 of all records (fedstream.stream.reader).
    """

    client: Word
    bootstrap_servers: str
    ranges: list[SliceRange]
    records: Count
    input_config: dict[str, Any]
    class_counts: dict[Word, Count] = Field(max_length=CLASSES)
    digest: Digest

    @property
    def ranges_text(self) -> str:
        """The ranges as in an announcement: `topic:partition:start:end[,...]`."""
        return ",".join(f"{r.topic}:{r.partition}:{r.start}:{r.end}" for r in self.ranges)


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


class VersionManifest(Document):
    """versions/<n>/manifest.json: its existence is the version's existence.

    Attributes:
        model: name of the model.
        version: its number.
        run: where it comes from.
        round: whose global model it is.
        commit: SHA-256 of that round's commit.
        head: SHA-256 of the run's last commit.
        weights_digest: of the weights.
        metrics: what the model scored in the run.
        files: name -> SHA-256 of each file of the version.
        features: names of the columns, in the order in which the model takes them; empty where they have none.
        classes: names of the classes 0, 1, ...; likewise.
    """

    model: str
    version: Count
    run: str
    round: Count
    commit: Digest
    head: Digest
    weights_digest: Digest
    metrics: dict[str, float]
    files: dict[str, Digest]
    features: list[str] = []
    classes: list[str] = []
    code_version: str

    @field_validator("files")
    @classmethod
    def _files_stay_inside(cls, files: dict[str, str]) -> dict[str, str]:
        if outside := [name for name in files if len(name) > LONGEST_FILE or not re.fullmatch(f"{_PART}(/{_PART})*", name)]:
            raise ValueError(f"{outside[0][:100]!r} is no name of a version's file")
        return files


class VersionPointer(Document):
    """aliases/<alias>.json: number of the version a name stands for, and SHA-256 of its manifest. It moves, as latest.json does, and nothing else."""

    version: int = Field(ge=1, lt=10**9)
    manifest: Digest


class LatestVersion(VersionPointer):
    """latest.json: the newest version."""


class RemovedVersion(Document):
    """versions/<n>/removed.json: all that is left of a version that was removed, so that its number is never given again.

    Attributes:
        manifest: SHA-256 of the manifest it had.
    """

    manifest: Digest


class Addition(Document):
    """added/<n>.json: the n-th model that was added under a name.

    Attributes:
        digest: SHA-256 of its .keras file.
    """

    digest: Digest


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
        clients: all that were asked, sorted.
        measured_round: round whose global model `metrics` belong to.
        metrics: of that model.
        evaluation_digest: of the evaluation topic's records that it was measured on; absent under federated evaluation.
        restores: in a rollback, the round whose global model the run goes back to.
        decision: whether the run goes on.
        verdicts_digest: of verdicts.json; absent in round 0.
        code_version: of fedstream.
    """

    run: str
    round: Count
    kind: Literal["initial", "training", "closing", "rollback"]
    parent: Digest
    base_digest: Digest
    weights_digest: Digest
    server_state_digest: Digest | None = None
    clients: list[ClientEntry] = []
    measured_round: Count | None = None
    metrics: Metrics | None = None
    evaluation_digest: Digest | None = None
    restores: Count | None = None
    decision: Decision
    verdicts_digest: Digest | None = None
    code_version: str

    @model_validator(mode="after")
    def _kind_fits(self) -> Commit:
        if (self.kind == "initial") != (self.round == 0):
            raise ValueError(f"round {self.round} cannot be of kind {self.kind}")
        if (self.kind == "rollback") != (self.restores is not None) or (self.restores is not None and self.restores >= self.round):
            raise ValueError(f"round {self.round} of kind {self.kind} cannot restore round {self.restores}")
        return self
