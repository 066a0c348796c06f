"""evaluate: measure, decide whether the run goes on, and write the commit that makes the round exist."""

from __future__ import annotations

import time

from fedstream import __version__
from fedstream.aggregation.metrics import combine
from fedstream.decision import decide, measurements
from fedstream.errors import CorruptObject, RunError
from fedstream.run import MatchedClient
from fedstream.state import RunState, log
from fedstream.steps.global_model import load_global_model
from fedstream.steps.patience import patiently
from fedstream.steps.runtime import MetricsArtifact, step
from fedstream.store.canonical import sha256_hex
from fedstream.store.documents import ClientEntry, Commit, Manifest, Metrics, Selection, Verdict
from fedstream.stream.codec import get_codec
from fedstream.stream.offsets import parse_ranges
from fedstream.stream.reader import read_ranges, wait_for_data


@step
def evaluate(run: str, round: int, metrics: MetricsArtifact | None = None) -> str:
    """Commit a round, and return the decision.

    With an evaluation topic, the round's new model is measured on it. Without one, the clients' measurements of the model they received are combined,
    weighted by examples.

    Args:
        run: name of the run.
        round: number of the round.
        metrics: KFP artifact to fill.

    Raises:
        RunError: the new model has no finite metrics.
    """
    state = RunState.from_env(run)
    commit = state.ledger.commit(round) if state.store.exists(state.keys.at(round).commit) else state.ledger.append(_commit(state, round))
    _show(commit, metrics)
    return commit.decision.action


def _commit(state: RunState, round: int) -> Commit:
    keys, base, selection = state.keys.at(round), state.base(round), state.selection(round)
    verdicts = state.verdicts(round).verdicts
    manifests = {verdict.client: state.manifest(round, verdict.client) for verdict in verdicts if verdict.accepted}
    closing = selection.kind == "closing"
    weights_digest = base.weights_digest if closing else sha256_hex(state.store.get(keys.weights))
    state_digest = base.server_state_digest
    if not closing:
        state_digest = sha256_hex(state.store.get(keys.server_state)) if state.store.exists(keys.server_state) else None
    measured, measured_round = _measure(state, selection, list(manifests.values()))
    metric, history = state.record.spec.target_metric, dict(measurements(state.ledger.commits(), state.record.spec.target_metric))
    if measured and measured_round is not None:
        history.setdefault(measured_round, measured.values[metric])
    return Commit(
        run=state.run,
        round=round,
        kind=selection.kind,
        parent=state.ledger.digest(base.round),
        base_digest=base.weights_digest,
        weights_digest=weights_digest,
        server_state_digest=state_digest,
        clients=[_entry(state, round, verdict, manifests.get(verdict.client)) for verdict in verdicts],
        measured_round=measured_round,
        metrics=measured,
        decision=decide(state.record.spec, list(history.values())) if measured else base.decision,
        verdicts_digest=sha256_hex(state.store.get(keys.verdicts)),
        code_version=__version__,
    )


def _entry(state: RunState, round: int, verdict: Verdict, manifest: Manifest | None) -> ClientEntry:
    try:
        document = state.slice(round, verdict.client)
    except CorruptObject:
        document = None  # The verdict says so.
    return ClientEntry(
        client=verdict.client,
        accepted=verdict.accepted,
        reason=verdict.reason,
        num_examples=verdict.num_examples,
        update_digest=verdict.update_digest,
        manifest_digest=verdict.manifest_digest,
        slice_digest=document.digest if document else None,
        slice_document=sha256_hex(state.store.get(state.keys.at(round).slice(verdict.client))) if document else None,
        ranges=document.ranges if document else [],
        incoming=manifest.incoming if manifest else None,
        trained=manifest.trained if manifest else None,
    )


def _measure(state: RunState, selection: Selection, manifests: list[Manifest]) -> tuple[Metrics | None, int | None]:
    if state.record.evaluation:
        return _on_topic(state, selection.round, state.record.evaluation), selection.round
    measured = [manifest.incoming for manifest in manifests if manifest.incoming]
    return (combine(measured), state.ledger.model_round(selection.round - 1)) if measured else (None, None)


def _on_topic(state: RunState, round: int, evaluation: MatchedClient) -> Metrics:
    from fedstream.model._tensorflow import configure
    from fedstream.model.evaluation import evaluate_model

    spec, kafka = state.record.spec, state.evaluation_kafka
    ranges = parse_ranges(evaluation.ranges)
    deadline = time.monotonic() + spec.round_deadline_s
    patiently(deadline, lambda left_s: wait_for_data(kafka, ranges, left_s))
    codec = get_codec("RAW", evaluation.input_config)
    records = patiently(deadline, lambda left_s: read_ranges(kafka, ranges, left_s, codec.record_size))
    samples, labels = codec.decode_records(records)
    configure(spec.threads, spec.seed)
    key = state.keys.at(round).weights
    model = load_global_model(state, state.store.get(key), key, spec.threads)
    measured = evaluate_model(model, samples, labels)
    if spec.target_metric not in measured.values:
        raise RunError(
            f"round {round} of run {state.run!r}: the global model has no finite {spec.target_metric}: training diverged; "
            "use a smaller learning rate in a new run"
        )
    return measured


def _show(commit: Commit, metrics: MetricsArtifact | None) -> None:
    accepted = sum(entry.accepted for entry in commit.clients)
    said: dict[str, float] = {
        "round": commit.round,
        "clients": accepted,
        "refused": len(commit.clients) - accepted,
        "examples": sum(entry.num_examples for entry in commit.clients if entry.accepted),
    }
    if commit.metrics and commit.measured_round is not None:
        said |= {"measured_round": commit.measured_round, **commit.metrics.values}
    for name, value in said.items():
        if metrics:
            metrics.log_metric(name, value)
    log.info("round %d is committed: %s; %s", commit.round, said, commit.decision.action)
