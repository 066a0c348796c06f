"""evaluate: measure the model, decide whether the run continues, and write the commit of the round."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fedstream import __version__
from fedstream.aggregation.metrics import combine
from fedstream.errors import CorruptObject, ObjectNotFound, RunError
from fedstream.privacy.accounting import within_budget
from fedstream.record.canonical import sha256_hex
from fedstream.record.commit import Aggregation, ClientEntry, Commit, Contribution
from fedstream.record.decision import decide, measurements
from fedstream.record.documents import Manifest, Verdict
from fedstream.record.run import MatchedClient
from fedstream.steps.context import Context
from fedstream.steps.evaluation import measure_left_out, measure_on, read_evaluation
from fedstream.steps.retry import patiently
from fedstream.steps.round_zero import write_round_zero
from fedstream.steps.runtime import MetricsArtifact, step
from fedstream.store.state import RunState, log
from fedstream.stream.records import RawRecords

MEASURED = ("metrics", "measured_round", "evaluation_digest", "left_out")
"""Fields of a commit that can differ slightly when another processor measures them."""


@step
def evaluate(context: Context, run: str, round: int, metrics: MetricsArtifact | None = None) -> str:
    """Commit a round and return the decision.

    With an evaluation topic, the round's new model is measured on that topic. Without one, the measurements of the
    model that the clients received are combined, weighted by the number of examples. In round 0, commit the initial
    model together with the statistics.

    Args:
        context: The context in which the step runs.
        run: Name of the run.
        round: Number of the round.
        metrics: KFP artifact to fill.

    Raises:
        RunError: The new model has no finite metrics.
        CorruptObject: The round is already committed, and its commit does not match the store.
    """
    state = context.run(run)
    if round == 0:
        write_round_zero(state, state.record)
        return state.ledger.commit(0).decision.action
    commit = (
        _on_record(context, state, round)
        if state.store.exists(state.keys.at(round).commit)
        else state.ledger.append(_commit(context, state, round))
    )
    _show(commit, metrics)
    return commit.decision.action


def _on_record(context: Context, state: RunState, round: int) -> Commit:
    """Return the commit of a round that is already committed, after checking that this run made it.

    Raises:
        CorruptObject: The commit does not match what the store contains.
    """
    commit = state.ledger.commit(round)
    if commit.kind == "rollback" and commit.parent == state.ledger.digest(round - 1):
        log.info(
            "round %d was not committed: the run was rolled back to round %s in the meantime", round, commit.restores
        )
        return commit
    if state.record.evaluation:
        expected = _decided(
            state, _unmeasured(state, round).model_copy(update={name: getattr(commit, name) for name in MEASURED})
        )
    else:
        expected = _commit(context, state, round)
    for name in Commit.model_fields.keys() - {"code_version"}:
        if getattr(commit, name) != getattr(expected, name):
            raise CorruptObject(
                f"{state.keys.at(round).commit} was not made by this run: its {name} is not what the store "
                f"says; see `fedstream verify {state.run}`"
            )
    return commit


def _unmeasured(state: RunState, round: int) -> Commit:
    """Return the commit of a round with only those fields that do not depend on a measurement."""
    keys, base, selection = state.keys.at(round), state.base(round), state.selection(round)
    verdicts, closing = state.verdicts(round).verdicts, selection.kind == "closing"
    manifests = {verdict.client: _judged(state, round, verdict) for verdict in verdicts if verdict.accepted}
    beside = Aggregation(server_state_digest=base.server_state_digest, broadcast_digest=base.broadcast_digest)
    if not closing:
        beside = state.read(Aggregation, keys.aggregation) if state.store.exists(keys.aggregation) else Aggregation()
    return Commit(
        run=state.run,
        round=round,
        kind=selection.kind,
        parent=state.ledger.digest(base.round),
        base_digest=base.weights_digest,
        weights_digest=base.weights_digest if closing else sha256_hex(state.store.get(keys.weights)),
        server_state_digest=beside.server_state_digest,
        broadcast_digest=beside.broadcast_digest,
        clients=[
            _entry(state, round, verdict, manifests.get(verdict.client), beside.contributions.get(verdict.client))
            for verdict in verdicts
        ],
        decision=base.decision,
        verdicts_digest=sha256_hex(state.store.get(keys.verdicts)),
        figures=beside.figures,
        code_version=__version__,
    )


def _commit(context: Context, state: RunState, round: int) -> Commit:
    commit = _unmeasured(state, round)
    measured = (
        _on_topic(context, state, commit, state.record.evaluation)
        if state.record.evaluation
        else _of_clients(state, commit)
    )
    return _decided(state, commit.model_copy(update=measured))


def _decided(state: RunState, commit: Commit) -> Commit:
    """Return a commit with the decision that follows from its metrics, those of earlier rounds, and the budget."""
    commits = [*(state.ledger.commit(round) for round in range(commit.round)), commit]
    history = measurements(commits, state.spec.target_metric)
    decision = decide(state.spec, [value for _, value in history]) if commit.metrics else commit.decision
    return commit.model_copy(update={"decision": within_budget(state.record, commits, decision)})


def _judged(state: RunState, round: int, verdict: Verdict) -> Manifest | None:
    """Return the manifest that the verdict judged.

    If the client has changed the manifest since, its current content was never judged, and the result is None.
    """
    key = state.keys.at(round).manifest(verdict.client)
    with suppress(CorruptObject, ObjectNotFound):
        if state.manifest_digest(round, verdict.client) == verdict.manifest_digest:
            return state.manifest(round, verdict.client)
    log.warning("round %d: %s was changed after it was judged; what its client measured does not count", round, key)
    return None


def _entry(
    state: RunState, round: int, verdict: Verdict, manifest: Manifest | None, contribution: Contribution | None
) -> ClientEntry:
    try:
        document = state.slice(round, verdict.client)
    except CorruptObject:
        document = None  # The verdict already reports this.
    return ClientEntry(
        client=verdict.client,
        accepted=verdict.accepted,
        reason=verdict.reason,
        num_examples=verdict.num_examples,
        epochs=verdict.epochs,
        update_digest=verdict.update_digest,
        client_state_digest=verdict.client_state_digest,
        manifest_digest=verdict.manifest_digest,
        slice_digest=document.digest if document else None,
        slice_document=state.slice_digest(round, verdict.client) if document else None,
        ranges=document.ranges if document else [],
        incoming=manifest.incoming if manifest else None,
        trained=manifest.trained if manifest else None,
        contribution=contribution,
    )


def _of_clients(state: RunState, commit: Commit) -> dict[str, Any]:
    """Return the fields of a commit with the clients' measurements of the model that they received."""
    measured = [entry.incoming for entry in commit.clients if entry.accepted and entry.incoming]
    return {
        "metrics": combine(measured) if measured else None,
        "measured_round": state.ledger.model_round(commit.round - 1),
    }


def _on_topic(context: Context, state: RunState, commit: Commit, evaluation: MatchedClient) -> dict[str, Any]:
    """Measure the round's new model on the evaluation topic and return these fields of its commit.

    Raises:
        RunError: The model's target metric is not finite.
    """
    broker, deadline = context.brokers.at(""), context.deadline(state.spec.round_deadline_s)

    def read() -> RawRecords:
        return patiently(deadline, lambda _: read_evaluation(broker, evaluation, deadline))

    before = state.base(commit.round).evaluation_digest
    if before:  # the records at these offsets never change, so this process need not read them again
        records = context.records.get(Context.records_id("", evaluation.ranges, before), read)
    else:
        records = read()
        context.records.put(Context.records_id("", evaluation.ranges, records.digest), records)
    measured = measure_on(context, state, commit.round, commit.weights_digest, records)
    if state.spec.target_metric not in measured.values:
        raise RunError(
            f"round {commit.round} of run {state.run!r}: the global model has no finite "
            f"{state.spec.target_metric}: training diverged; "
            "use a smaller learning rate in a new run"
        )
    left_out = measure_left_out(context, state, commit, records) if state.spec.leave_one_out else {}
    return {
        "metrics": measured,
        "measured_round": commit.round,
        "evaluation_digest": records.digest,
        "left_out": left_out,
    }


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
