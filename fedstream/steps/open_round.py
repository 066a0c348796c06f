"""open_round: ask the store which round a slot runs."""

from __future__ import annotations

from fedstream.state import RunState, log
from fedstream.steps.runtime import step
from fedstream.store.documents import Opening


@step
def open_round(run: str, rounds: int, attempt: str, slot: int) -> int:
    """Return the number of the round to run, or -1 when there is nothing to do.

    -1 means that the run is finished or stopped, or that another slot of this attempt has opened the round and failed at it.

    Args:
        run: name of the run.
        rounds: training rounds wanted in all.
        attempt: id of this submission.
        slot: number of the loop's iteration.
    """
    state = RunState.from_env(run)
    coming = state.next_round(rounds)
    if not coming:
        log.info("run %s is finished", run)
        return -1
    round, kind = coming
    keys = state.keys.at(round)
    opened, own = state.store.list(keys.opened_by(attempt)), keys.opened(attempt, slot)
    if others := [info.key for info in opened if info.key != own]:
        log.info("round %d was opened by another slot of this submission and failed (%s)", round, others[0])
        return -1
    if not opened:
        state.store.put_new_json(own, Opening(attempt=attempt, slot=slot, round=round, kind=kind).model_dump(mode="json"))
    log.info("round %d is open (%s)", round, kind)
    return round
