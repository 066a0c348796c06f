"""aggregate: freeze which updates count, then make the round's global model of them."""

from __future__ import annotations

import numpy as np

from fedstream.aggregation.fedavg import Updates
from fedstream.aggregation.strategies import get_strategy
from fedstream.aggregation.validation import why_bad_metrics, why_invalid
from fedstream.errors import FedstreamError, ObjectConflict, ObjectNotFound, QuorumError, StoreUnavailable
from fedstream.run import quorum
from fedstream.state import RunState, log
from fedstream.steps.refusal import why_refused
from fedstream.steps.runtime import step
from fedstream.store.canonical import sha256_hex
from fedstream.store.documents import Manifest, Selection, Verdict, Verdicts
from fedstream.store.mapped import Downloads
from fedstream.store.weights import from_bytes, to_bytes

Weights = dict[str, np.ndarray]


@step
def aggregate(run: str, round: int, attempt: str) -> str:
    """Write verdicts.json, then the global model, and return the model's key.

    1. judge every client asked; 2. freeze the verdicts once the quorum holds; 3. aggregate the accepted updates in canonical order.

    Args:
        run: name of the run.
        round: number of the round.
        attempt: id of this submission, whose refusals give the reasons.

    Raises:
        QuorumError: too few updates were accepted; says why each client is missing.
    """
    state = RunState.from_env(run)
    keys, selection, base = state.keys.at(round), state.selection(round), state.base(round)
    base_key = state.base_keys(round).weights
    base_bytes = state.store.get_verified(base_key, base.weights_digest)
    if selection.kind == "closing":
        _freeze(state, selection, {}, attempt)
        return base_key
    weights = from_bytes(base_bytes, base_key)
    verdicts = _freeze(state, selection, weights, attempt)
    server_state: Weights = {}
    if base.server_state_digest:
        state_key = state.base_keys(round).server_state
        server_state = from_bytes(state.store.get_verified(state_key, base.server_state_digest), state_key)
    strategy = get_strategy(state.record.spec.strategy)
    with Downloads(state.store) as downloads:
        new, server_state = strategy.aggregate(weights, _accepted(state, verdicts, downloads), server_state)
    state.store.put_new(keys.weights, to_bytes(new))
    if server_state:
        state.store.put_new(keys.server_state, to_bytes(server_state))
    log.info("round %d: global model from %d updates", round, sum(verdict.accepted for verdict in verdicts.verdicts))
    return keys.weights


def _freeze(state: RunState, selection: Selection, base: Weights, attempt: str) -> Verdicts:
    key = state.keys.at(selection.round).verdicts
    if not state.store.exists(key):
        verdicts = Verdicts(
            run=state.run, round=selection.round, verdicts=[_judge(state, selection, client, base, attempt) for client in selection.clients]
        )
        _check_quorum(state, selection, verdicts)
        try:
            state.store.put_new_json(key, verdicts.model_dump(mode="json"))
        except ObjectConflict:
            log.info("another submission has closed round %d; its verdicts count", selection.round)
    return state.verdicts(selection.round)


def _check_quorum(state: RunState, selection: Selection, verdicts: Verdicts) -> None:
    needed = quorum(state.record.spec, len(selection.clients)) if selection.kind == "training" else 1
    accepted = sum(verdict.accepted for verdict in verdicts.verdicts)
    if accepted < needed:
        missing = "; ".join(f"{verdict.client}: {verdict.reason}" for verdict in verdicts.verdicts if not verdict.accepted)
        raise QuorumError(
            f"round {selection.round} of run {state.run!r}: {accepted} of {len(selection.clients)} updates are accepted and the quorum is {needed}. "
            f"{missing}. Mend that and submit the run again; finished updates are kept"
        )


def _judge(state: RunState, selection: Selection, client: str, base: Weights, attempt: str) -> Verdict:
    keys = state.keys.at(selection.round)
    try:
        data = state.store.get(keys.manifest(client))
    except ObjectNotFound:
        reason = why_refused(state, selection.round, client, attempt) or "no update arrived"
        return Verdict(client=client, accepted=False, reason=reason, num_examples=0)
    rejected = Verdict(client=client, accepted=False, reason="", num_examples=0, manifest_digest=sha256_hex(data))
    try:
        manifest = state.manifest(selection.round, client)
        if reason := _why_unexpected(state, selection, manifest, client):
            return rejected.model_copy(update={"reason": reason})
        reason = _why_unusable(state, selection, manifest, base)
    except StoreUnavailable:
        raise
    except FedstreamError as error:
        return rejected.model_copy(update={"reason": str(error)})
    return Verdict(
        client=client,
        accepted=not reason,
        reason=reason or "valid",
        num_examples=manifest.num_examples,
        update_digest=manifest.update_digest,
        manifest_digest=sha256_hex(data),
    )


def _why_unexpected(state: RunState, selection: Selection, manifest: Manifest, client: str) -> str:
    """Return what in a manifest is not of this round, this client and this slice."""
    keys, closing, document = state.keys.at(selection.round), selection.kind == "closing", state.slice(selection.round, client)
    if document is None:
        return "its slice is not in the store"
    expected = {
        "run": state.run,
        "round": selection.round,
        "client": client,
        "base_digest": state.base(selection.round).weights_digest,
        "slice_key": keys.slice(client),
        "slice_digest": document.digest,
        "slice_document": sha256_hex(state.store.get(keys.slice(client))),
        "measure_only": closing,
    }
    for name, value in expected.items():
        if (said := getattr(manifest, name)) != value:
            return f"its manifest says {name} {said!r}, expected {value!r}"
    if closing and manifest.update_digest:
        return "its manifest names an update, but this round only measures"
    return ""


def _why_unusable(state: RunState, selection: Selection, manifest: Manifest, base: Weights) -> str:
    records, metric = state.record.client(manifest.client).records, state.record.spec.target_metric
    reason = why_bad_metrics(manifest.incoming, records, metric)
    if reason or selection.kind == "closing":
        return reason
    return why_invalid(base, _update(state, selection.round, manifest.client, manifest.update_digest), manifest.num_examples, records)


def _update(state: RunState, round: int, client: str, digest: str | None) -> Weights:
    key = state.keys.at(round).update(client, digest or "none")
    return from_bytes(state.store.get_verified(key, digest or "none"), key)


def _accepted(state: RunState, verdicts: Verdicts, downloads: Downloads) -> Updates:
    keys = state.keys.at(verdicts.round)
    accepted = [(verdict.num_examples, verdict.client, verdict.update_digest or "none") for verdict in verdicts.verdicts if verdict.accepted]
    return [(examples, downloads.weights(keys.update(client, digest), digest)) for examples, client, digest in accepted]
