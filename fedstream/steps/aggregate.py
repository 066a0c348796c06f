"""aggregate: freeze which updates count, then make the round's global model of them."""

from __future__ import annotations

from fedstream.errors import CorruptObject, ObjectConflict, QuorumError
from fedstream.record.documents import Aggregation, Selection, Verdict, Verdicts
from fedstream.record.judge import judge, quorum_of, why_wrong_selection, why_wrong_verdicts
from fedstream.record.weights import Weights, from_bytes, to_bytes
from fedstream.steps.aggregation import aggregate_round, beside_model, returned_arrays
from fedstream.steps.candidates import arrived, read_candidates, read_refusals
from fedstream.steps.context import Context
from fedstream.steps.runtime import step
from fedstream.store.mapped import Downloads, largest_update
from fedstream.store.state import RunState, log


@step
def aggregate(context: Context, run: str, round: int, attempt: str) -> str:
    """Write verdicts.json, then the global model and what belongs to it, and return the model's key.

    1. judge every client asked; 2. freeze the verdicts once the quorum holds, or compare those on record; 3. aggregate the accepted updates in
    canonical order.

    Args:
        context: where the step works.
        run: name of the run.
        round: number of the round.
        attempt: id of this submission, whose refusals give the reasons.

    Raises:
        QuorumError: too few updates were accepted; says why each client is missing.
        CorruptObject: the selection or the verdicts on record are not what spec and updates say.
    """
    state = context.run(run)
    keys, selection, base = state.keys.at(round), state.selection(round), state.base(round)
    if wrong := why_wrong_selection(state.record, selection, round):
        raise CorruptObject(f"{keys.selection}: {wrong}; it was changed, see `fedstream verify {run}`")
    base_key = state.base_keys(round).weights
    weights = from_bytes(state.store.get_verified(base_key, base.weights_digest), base_key)
    with Downloads(state.store, largest_update(weights, returned_arrays(state.record, weights))) as downloads:
        verdicts = _freeze(state, selection, weights, attempt, downloads)
        if selection.kind == "closing":
            return base_key
        outcome = aggregate_round(state, round, weights, verdicts.verdicts, downloads)
    for key, arrays in ((keys.server_state, outcome.state), (keys.broadcast, outcome.broadcast)):
        if arrays:
            state.store.put_new(key, to_bytes(arrays))
    if (beside := beside_model(outcome)) != Aggregation():
        state.store.put_new_json(keys.aggregation, beside.model_dump(mode="json"))
    state.store.put_new(keys.weights, to_bytes(outcome.weights))
    log.info("round %d: global model from %d updates", round, sum(verdict.accepted for verdict in verdicts.verdicts))
    return keys.weights


def _freeze(state: RunState, selection: Selection, base: Weights, attempt: str, downloads: Downloads) -> Verdicts:
    """Return the verdicts that count: those on record, judged again, or new ones."""
    key, refusals = state.keys.at(selection.round).verdicts, read_refusals(state, selection.round)
    if not state.store.exists(key):
        verdicts, judged = [], None
        while judged != (
            judged := arrived(state, selection)
        ):  # another submission's update may come while the others are examined
            verdicts = _judge(state, selection, base, refusals.get(attempt, {}), None, downloads)
        _check_quorum(state, selection, verdicts)
        document = Verdicts(run=state.run, round=selection.round, verdicts=verdicts)
        try:
            state.store.put_new_json(key, document.model_dump(mode="json"))
            return document
        except ObjectConflict:
            log.info("another submission has closed round %d; its verdicts count", selection.round)
    known = {client: {told[client] for told in refusals.values() if client in told} for client in selection.clients}
    said = state.verdicts(selection.round)
    if wrong := why_wrong_verdicts(
        state.record, selection, _judge(state, selection, base, {}, said, downloads), said, known
    ):
        raise CorruptObject(
            f"{key} is not what the updates say: {wrong[0]}; it was changed or forged, see `fedstream verify {state.run}`"
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
    candidates = read_candidates(state, selection, base, downloads.weights, reasons, said)
    return judge(state.record, selection, state.base(selection.round).weights_digest, candidates)


def _check_quorum(state: RunState, selection: Selection, verdicts: list[Verdict]) -> None:
    accepted, needed = sum(verdict.accepted for verdict in verdicts), quorum_of(state.record, selection)
    if accepted < needed:
        missing = "; ".join(f"{verdict.client}: {verdict.reason}" for verdict in verdicts if not verdict.accepted)
        raise QuorumError(
            f"round {selection.round} of run {state.run!r}: {accepted} of {len(selection.clients)} updates are accepted and the quorum is {needed}. "
            f"{missing}. Correct that and submit the run again; finished updates are kept"
        )
