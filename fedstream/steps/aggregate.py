"""aggregate: freeze which updates count, then compute the round's global model from them."""

from __future__ import annotations

from fedstream.errors import CorruptObject, ObjectConflict, QuorumError
from fedstream.privacy.secret import required_secret
from fedstream.record.commit import Aggregation
from fedstream.record.documents import Selection, Verdict, Verdicts
from fedstream.record.judge import judge, quorum_of, why_wrong_selection, why_wrong_verdicts
from fedstream.record.weights import Weights, from_bytes, to_bytes
from fedstream.steps.aggregation import aggregate_round, beside_model
from fedstream.steps.candidates import arrived, read_candidates, read_refusals
from fedstream.steps.context import Context
from fedstream.steps.exchange import downloads_of
from fedstream.steps.noise import check_same_secret
from fedstream.steps.pooling import combine_statistics
from fedstream.steps.runtime import step
from fedstream.store.mapped import Downloads
from fedstream.store.state import RunState, log


@step
def aggregate(context: Context, run: str, round: int, attempt: str) -> str:
    """Write verdicts.json, the global model and the objects that belong to it, and return the key of the model.

    1. Judge every selected client.
    2. Freeze the verdicts once the quorum is reached, or check the verdicts on record.
    3. Aggregate the accepted updates in canonical order.

    In round 0, combine the clients' statistics instead, and return their key.

    Args:
        context: The context in which the step runs.
        run: Name of the run.
        round: Number of the round.
        attempt: Id of this submission; the reasons of clients without an update come from its refusals.

    Raises:
        QuorumError: Too few updates were accepted; the message says why each client is missing.
        CorruptObject: The selection or the verdicts on record do not follow from the spec and the updates.
        SettingsError: The run has central noise, and there is no secret for it.
        RunError: The noise on record was made with another secret.
    """
    state = context.run(run)
    if round == 0:
        return combine_statistics(state, attempt)
    keys, selection, base = state.keys.at(round), state.selection(round), state.base(round)
    if wrong := why_wrong_selection(state.record, selection, round):
        raise CorruptObject(f"{keys.selection}: {wrong}; it was changed, see `fedstream verify {run}`")
    base_key = state.base_keys(round).weights
    weights = from_bytes(state.store.get_verified(base_key, base.weights_digest), base_key)
    secret = _noise_secret(context, state, selection.kind)
    with downloads_of(state.store, state.record, weights) as downloads:
        verdicts = _freeze(state, selection, weights, attempt, downloads)
        if selection.kind == "closing":
            return base_key
        if secret:
            check_same_secret(state, round, secret)
        outcome = aggregate_round(state, round, weights, verdicts.verdicts, downloads, secret)
    del weights  # a large model would not fit three times
    for key, arrays in ((keys.server_state, outcome.state), (keys.broadcast, outcome.broadcast)):
        if arrays:
            state.store.put_new(key, to_bytes(arrays))
    if (beside := beside_model(outcome)) != Aggregation():
        state.store.put_new_json(keys.aggregation, beside.model_dump(mode="json"))
    state.store.put_new(keys.weights, to_bytes(outcome.weights))
    log.info("round %d: global model from %d updates", round, sum(verdict.accepted for verdict in verdicts.verdicts))
    return keys.weights


def _noise_secret(context: Context, state: RunState, kind: str) -> bytes | None:
    """Return the secret of the noise, before the round is closed, so that a round without it stays open."""
    if kind != "training" or not state.record.spec.privacy.central:
        return None
    return required_secret(context.noise_secret(), f"the noise of run {state.run!r}")


def _freeze(state: RunState, selection: Selection, base: Weights, attempt: str, downloads: Downloads) -> Verdicts:
    """Return the verdicts that count: new ones, or those on record after judging them again."""
    key, refusals = state.keys.at(selection.round).verdicts, read_refusals(state, selection.round)
    if not state.store.exists(key):
        verdicts, judged = [], None
        # An update of another submission can arrive while the others are examined.
        while judged != (judged := arrived(state, selection)):
            verdicts = _judge(state, selection, base, refusals.get(attempt, {}), None, downloads)
        _check_quorum(state, selection, verdicts)
        document = Verdicts(run=state.run, round=selection.round, verdicts=verdicts)
        try:
            state.put_new(key, document)
            return document
        except ObjectConflict:
            log.info("another submission has closed round %d; its verdicts count", selection.round)
    known = {client: {told[client] for told in refusals.values() if client in told} for client in selection.clients}
    said = state.verdicts(selection.round)
    if wrong := why_wrong_verdicts(
        state.record, selection, _judge(state, selection, base, {}, said, downloads), said, known
    ):
        raise CorruptObject(
            f"{key} is not what the updates say: {wrong[0]}; it was changed or forged, "
            f"see `fedstream verify {state.run}`"
        )
    return said


def _judge(
    state: RunState,
    selection: Selection,
    base: Weights,
    reasons: dict[str, str],
    said: Verdicts | None,
    downloads: Downloads,
) -> list[Verdict]:
    candidates = read_candidates(state, selection, base, downloads, reasons, said)
    return judge(state.record, selection, state.base(selection.round).weights_digest, candidates)


def _check_quorum(state: RunState, selection: Selection, verdicts: list[Verdict]) -> None:
    accepted, needed = sum(verdict.accepted for verdict in verdicts), quorum_of(state.record, selection)
    if accepted < needed:
        missing = "; ".join(f"{verdict.client}: {verdict.reason}" for verdict in verdicts if not verdict.accepted)
        raise QuorumError(
            f"round {selection.round} of run {state.run!r}: {accepted} of {len(selection.clients)} updates are "
            f"accepted and the quorum is {needed}. "
            f"{missing}. Correct that and submit the run again; finished updates are kept"
        )
