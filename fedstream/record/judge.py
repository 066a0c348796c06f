"""Which updates of a round count, and why. Pure.

aggregate judges updates with this module, even where verdicts are already on record, and so does verify.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedstream.record.documents import Manifest, Selection, SliceDoc, Verdict, Verdicts, offsets_of
from fedstream.record.measurement import why_implausible
from fedstream.record.offsets import total_records
from fedstream.record.run import MatchedClient, RunRecord
from fedstream.record.selection import quorum, select

NO_UPDATE = "no update arrived"
"""The reason for a client that has neither an update nor a refusal on record."""

FEWEST = 3
"""Minimum number of valid updates for a meaningful median: of two updates, either could be the outlier."""


@dataclass(frozen=True)
class Examined:
    """The result of examining the weights of an update.

    Attributes:
        problem: why the weights cannot be averaged; empty if they can.
        norm: Euclidean norm of their difference from the global model that the client received; 0 if there is a
            problem.
    """

    problem: str
    norm: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """What is on record of one client in a round.

    Attributes:
        client: name of the client.
        manifest: the manifest of the client's update; None if there is no readable manifest.
        manifest_digest: SHA-256 of the manifest's bytes; None if there is no manifest.
        slice: the client's slice; None if there is no readable slice.
        slice_document: SHA-256 of the slice's bytes.
        weights: the result of examining the weights; None in a closing round, or if the weights were not read.
        problem: why there is nothing, or nothing more, to judge: the reason of a refusal, or a damaged object.
        not_fed: why the slice cannot have its offsets; empty if the run's feed allows them for this client in this
            round.
    """

    client: str
    manifest: Manifest | None = None
    manifest_digest: str | None = None
    slice: SliceDoc | None = None
    slice_document: str | None = None
    weights: Examined | None = None
    problem: str = ""
    not_fed: str = ""


def judge(record: RunRecord, selection: Selection, base_digest: str, candidates: Sequence[Candidate]) -> list[Verdict]:
    """Return a verdict for each client of the selection, sorted by client.

    Each update is first judged independently: its manifest, slice, measurements, count and weights. If at least three
    updates are valid, those that are far from the others are rejected too.

    Args:
        record: the run's spec and matched clients.
        selection: which clients were asked, and for what.
        base_digest: SHA-256 of the global model that the clients received.
        candidates: what is on record of each client of the selection.
    """
    reasons = {candidate.client: _why_not(record, selection, base_digest, candidate) for candidate in candidates}
    if selection.kind == "training":
        reasons |= _outliers(
            record.spec.outlier_bound, [candidate for candidate in candidates if not reasons[candidate.client]]
        )
    return [
        _verdict(candidate, reasons[candidate.client])
        for candidate in sorted(candidates, key=lambda candidate: candidate.client)
    ]


def why_wrong_selection(record: RunRecord, selection: Selection, round: int) -> str:
    """Return how a selection differs from the one that the spec yields for this round, or an empty string."""
    asked = select(record.spec, round, [client.client for client in record.clients])
    expected = {"run": record.spec.run, "round": round, "clients": asked}
    return _first_difference({name: getattr(selection, name) for name in expected}, expected)


def why_wrong_verdicts(
    record: RunRecord,
    selection: Selection,
    expected: Sequence[Verdict],
    said: Verdicts,
    refusals: Mapping[str, set[str]],
) -> list[str]:
    """Return how the verdicts on record differ from what the updates show.

    Args:
        record: the run's spec and matched clients.
        selection: which clients were asked.
        expected: the verdicts that `judge` returns now.
        said: the verdicts on record.
        refusals: client -> the reasons on record why it did not take part in this round.
    """
    if difference := _first_difference(
        {"run": said.run, "round": said.round}, {"run": record.spec.run, "round": selection.round}
    ):
        return [difference]
    clients = [verdict.client for verdict in said.verdicts]
    if clients != selection.clients:
        return [f"its clients are {', '.join(clients) or 'none'}, but the round asked {', '.join(selection.clients)}"]
    wrong = [
        reason
        for e, s in zip(expected, said.verdicts, strict=True)
        if (reason := _why_wrong(e, s, refusals.get(s.client, set())))
    ]
    accepted = sum(verdict.accepted for verdict in said.verdicts)
    if accepted < (needed := quorum_of(record, selection)):
        wrong.append(f"it accepts {accepted} updates, but the quorum is {needed}")
    return wrong


def quorum_of(record: RunRecord, selection: Selection) -> int:
    """Return how many accepted updates a round needs. A round that only measures needs one measurement."""
    return quorum(record.spec, len(selection.clients)) if selection.kind == "training" else 1


def why_not_planned(document: SliceDoc, planned: MatchedClient) -> str:
    """Return how a slice differs from what its client was planned with, or an empty string.

    The run's feed decides which offsets a slice can have.
    """
    if document.records != (held := total_records(document.offsets)):
        return f"records is {document.records}, but its ranges hold {held}"
    left_out = [*document.gaps, *document.skipped]
    if left_out and held + total_records(offsets_of(left_out)) != total_records(document.fed):
        return "its ranges, gaps and skipped records overlap"
    if document.unlabelled and not planned.unlabelled:
        return "it names records without labels, but the run uses none of this client"
    if document.unlabelled and document.unlabelled.records != (held := total_records(document.unlabelled_offsets)):
        return f"its unlabelled records are {document.unlabelled.records}, but their ranges hold {held}"
    return _first_difference(
        {
            "client": document.client,
            "bootstrap_servers": document.bootstrap_servers,
            "input_format": document.input_format,
            "input_config": document.input_config,
        },
        {
            "client": planned.client,
            "bootstrap_servers": planned.bootstrap_servers,
            "input_format": planned.input_format,
            "input_config": planned.input_config,
        },
    )


def _why_wrong(expected: Verdict, said: Verdict, refusals: set[str]) -> str:
    if said.accepted and not expected.accepted:
        return f"it accepts client {said.client!r}, whose update cannot count: {expected.reason}"
    if expected.accepted and not said.accepted:
        return f"it leaves out the valid update of client {said.client!r}, saying {said.reason!r}"
    if expected.manifest_digest is None:
        known = {NO_UPDATE, *refusals}
        if said.reason not in known or said != expected.model_copy(update={"reason": said.reason}):
            on_record = " or ".join(map(repr, sorted(known)))
            return f"it says of client {said.client!r} {said.reason!r}, but on record is {on_record}"
        return ""
    # A later version can give the reason for a rejection in other words.
    words = {"reason"} if not expected.accepted else set()
    difference = _first_difference(*({name: value for name, value in v if name not in words} for v in (said, expected)))
    return f"of client {said.client!r} it says that {difference}" if difference else ""


def _first_difference(said: Mapping[str, object], expected: Mapping[str, object]) -> str:
    return next(
        (f"{name} is {said[name]!r}, expected {value!r}" for name, value in expected.items() if said[name] != value), ""
    )


def _verdict(candidate: Candidate, reason: str) -> Verdict:
    counts = candidate.manifest if not reason else None
    return Verdict(
        client=candidate.client,
        accepted=not reason,
        reason=reason or "valid",
        num_examples=counts.num_examples if counts else 0,
        epochs=counts.epochs if counts else None,
        update_digest=counts.update_digest if counts else None,
        client_state_digest=counts.client_state_digest if counts else None,
        manifest_digest=candidate.manifest_digest,
    )


def _why_not(record: RunRecord, selection: Selection, base_digest: str, candidate: Candidate) -> str:
    manifest, planned = candidate.manifest, record.client(candidate.client)
    if candidate.problem or candidate.manifest_digest is None or manifest is None:
        return candidate.problem or NO_UPDATE
    if candidate.slice is None:
        return "its slice is not in the store"
    if reason := candidate.not_fed or why_not_planned(candidate.slice, planned):
        return f"its slice is not the planned one: {reason}"
    if reason := _why_unexpected(record, selection, base_digest, candidate.slice, candidate):
        return reason
    return _why_unusable(record, selection, manifest, candidate.slice, candidate.weights)


def _why_unexpected(
    record: RunRecord, selection: Selection, base_digest: str, document: SliceDoc, candidate: Candidate
) -> str:
    """Return how a manifest differs from what this round, this client and this slice require."""
    expected = {
        "run": record.spec.run,
        "round": selection.round,
        "client": candidate.client,
        "base_digest": base_digest,
        "slice_digest": document.digest,
        "slice_document": candidate.slice_document,
        "measure_only": selection.kind == "closing",
    }
    if difference := _first_difference({name: getattr(candidate.manifest, name) for name in expected}, expected):
        return f"in its manifest {difference}"
    manifest = candidate.manifest
    if selection.kind == "closing" and manifest and (manifest.update_digest or manifest.client_state_digest):
        what = "an update" if manifest.update_digest else "a client state"
        return f"its manifest names {what}, but this round only measures"
    return ""


def _why_unusable(
    record: RunRecord, selection: Selection, manifest: Manifest, document: SliceDoc, weights: Examined | None
) -> str:
    metric, records = record.spec.target_metric, document.records
    unlabelled = document.unlabelled.records if document.unlabelled else 0
    for measured, most, needed in (
        (manifest.incoming, records, metric),
        (manifest.trained, records, metric),
        (manifest.training, records + unlabelled, ""),
        (manifest.alone, records, ""),
    ):
        if measured and (reason := why_implausible(measured, most, needed)):
            return reason
    if selection.kind == "closing":
        return ""
    if reason := _why_bad_count(manifest.num_examples, records):
        return reason
    if (labelled := manifest.pseudo_labelled or 0) > unlabelled:
        return f"pseudo_labelled is {labelled}, but its slice has {unlabelled} records without labels"
    if manifest.epochs is not None and not 1 <= manifest.epochs < record.spec.epochs:
        return f"epochs is {manifest.epochs}, but partial work has at least 1 and fewer than {record.spec.epochs}"
    return weights.problem if weights else "its weights are not in the store"


def _why_bad_count(num_examples: int, slice_records: int) -> str:
    """Return why a client cannot have trained on this number of examples, or an empty string.

    Args:
        num_examples: number of examples that the client claims to have trained on.
        slice_records: number of records in the client's slice, the most that it can have trained on.
    """
    if num_examples < 1:
        return f"num_examples is {num_examples}, expected at least 1"
    if num_examples > slice_records:
        return f"num_examples is {num_examples}, but its slice has {slice_records} records"
    return ""


def _outliers(bound: float, valid: Sequence[Candidate]) -> dict[str, str]:
    """Return why some of the valid updates are too far from the others.

    Updates are compared by the norm of their change, and by their trained loss.
    """
    if not bound or len(valid) < FEWEST:
        return {}
    norms = {candidate.client: candidate.weights.norm for candidate in valid if candidate.weights}
    losses = {candidate.client: loss for candidate in valid if (loss := _trained_loss(candidate.manifest)) is not None}
    norm, loss = statistics.median(norms.values()), max(1.0, statistics.median(losses.values()) if losses else 0.0)
    far = {
        client: f"the norm of its update is {value:.4g}, the round's median is {norm:.4g}; "
        f"outlier_bound allows {bound:g} times the median"
        for client, value in norms.items()
        if norm and not value <= bound * norm
    }
    absurd = {
        client: f"its trained loss is {value:.4g}; "
        f"outlier_bound allows {bound:g} times the round's median, or {bound:g} where that is more"
        for client, value in losses.items()
        if value > bound * loss
    }
    return absurd | far


def _trained_loss(manifest: Manifest | None) -> float | None:
    measured = manifest.training or manifest.trained if manifest else None
    loss = measured.values.get("loss") if measured else None
    return loss if loss is not None and math.isfinite(loss) else None
