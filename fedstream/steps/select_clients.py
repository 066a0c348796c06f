"""select_clients: decide once which clients take part in a round, and whether they train or only measure."""

from __future__ import annotations

from fedstream.errors import RunError
from fedstream.steps.context import Context
from fedstream.steps.runtime import step
from fedstream.steps.selecting import freeze_selection
from fedstream.store.state import log


@step
def select_clients(context: Context, run: str, round: int, rounds: int) -> list[str]:
    """Freeze the selection of a round and return its clients, sorted by name.

    Args:
        context: The context in which the step runs.
        run: Name of the run.
        round: Number of the round.
        rounds: Total number of training rounds. The clients train until this number is reached.

    Raises:
        RunError: The round is not the next one.
    """
    state = context.run(run)
    key = state.keys.at(round).selection
    if not state.store.exists(key):
        coming = state.next_round(rounds)
        if not coming or coming[0] != round:
            raise RunError(
                f"round {round} of run {run!r} is not open; the store says that "
                f"{f'round {coming[0]} is next' if coming else 'the run is finished'}"
            )
        freeze_selection(state, round, coming[1])
    selection = state.selection(round)
    log.info("round %d asks %s", round, ", ".join(selection.clients))
    return selection.clients
