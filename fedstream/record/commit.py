"""The documents of a committed round: what its aggregation produced, its clients, its metrics and its decision."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fedstream.record.document import Count, Digest, Document, Number, Word
from fedstream.record.documents import Metrics, SliceRange

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
        statistics_digest: in round 0, digest of statistics.json; not written if the run gathers no statistics.
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
    statistics_digest: Digest | None = Field(default=None, exclude_if=lambda digest: digest is None)
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
