"""select_clients: decide, once, which clients a round asks and whether they train or only measure."""

from __future__ import annotations

from fedstream.errors import ObjectConflict, RunError
from fedstream.record.documents import Selection
from fedstream.record.selection import select
from fedstream.steps.context import Context
from fedstream.steps.runtime import step
from fedstream.store.state import log


@step
def select_clients(context: Context, run: str, round: int, rounds: int) -> list[str]:
    """Freeze the round's selection and return its clients, sorted.

    Args:
        context: where the step works.
        run: name of the run.
        round: number of the round.
        rounds: training rounds wanted in all; with fewer done, the clients train.

    Raises:
        RunError: the round is not the next one.
    """
    state = context.run(run)
    key = state.keys.at(round).selection
    if not state.store.exists(key):
        coming = state.next_round(rounds)
        if not coming or coming[0] != round:
            raise RunError(
                f"round {round} of run {run!r} is not open; the store says that {f'round {coming[0]} is next' if coming else 'the run is finished'}"
            )
        clients = select(state.record.spec, round, [client.client for client in state.record.clients])
        selection = Selection(run=run, round=round, kind=coming[1], clients=clients)
        try:
            state.store.put_new_json(key, selection.model_dump(mode="json"))
        except ObjectConflict:
            log.info("another submission has selected the clients of round %d; its selection counts", round)
    selection = state.selection(round)
    log.info("round %d asks %s", round, ", ".join(selection.clients))
    return selection.clients
