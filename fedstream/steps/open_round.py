"""open_round: ask the store which round a slot of the loop runs."""

from __future__ import annotations

from fedstream.record.documents import Opening
from fedstream.steps.context import Context
from fedstream.steps.runtime import step
from fedstream.store.state import RunState, log


@step
def open_round(
    context: Context,
    run: str,
    rounds: int,
    attempt: str,
    slot: int,
    store_secret: str = "",
    client_store_secret: str = "",
) -> tuple[int, str]:
    """Return the number of the round to run, and the secret that its clients use for the store.

    The number is -1 when there is nothing to do: the run is finished or stopped, or another slot of this submission
    opened the round and failed. The secret is chosen here because the default of a pipeline parameter cannot be another
    parameter.

    Args:
        context: The context in which the step runs.
        run: Name of the run.
        rounds: Total number of training rounds.
        attempt: Id of this submission.
        slot: Number of the loop's iteration.
        store_secret: Kubernetes secret with the run's store credentials.
        client_store_secret: Kubernetes secret with the clients' store credentials; empty for the run's.
    """
    return _open(context.run(run), rounds, attempt, slot), client_store_secret or store_secret


def _open(state: RunState, rounds: int, attempt: str, slot: int) -> int:
    coming = state.next_round(rounds)
    if not coming:
        log.info("run %s is finished", state.run)
        return -1
    round, kind = coming
    keys = state.keys.at(round)
    opened, own = state.store.list(keys.opened_by(attempt)), keys.opened(attempt, slot)
    if others := [info.key for info in opened if info.key != own]:
        log.info("round %d was opened by another slot of this submission and failed (%s)", round, others[0])
        return -1
    if not opened:
        state.store.put_new_json(
            own, Opening(attempt=attempt, slot=slot, round=round, kind=kind).model_dump(mode="json")
        )
    log.info("round %d is open (%s)", round, kind)
    return round
