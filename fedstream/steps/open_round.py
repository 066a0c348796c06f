"""open_round: ask the store which round a slot runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from fedstream.state import RunState, log
from fedstream.steps.runtime import step


class Opened(NamedTuple):
    """What a slot runs.

    Attributes:
        round: number of the round, or -1 when there is nothing to do: the run is finished or stopped, or another slot of this attempt has opened the
            round and failed at it.
        store_secret: Kubernetes secret with the key that its clients use for the store.
    """

    round: int
    store_secret: str


@step
def open_round(run: str, rounds: int, attempt: str, slot: int, store_secret: str = "", client_store_secret: str = "") -> Opened:
    """Return the round to run, and which key its clients use, which Kubeflow Pipelines cannot decide: a parameter's default is a constant there.

    Args:
        run: name of the run.
        rounds: training rounds wanted in all.
        attempt: id of this submission.
        slot: number of the loop's iteration.
        store_secret: Kubernetes secret with the run's key for the store.
        client_store_secret: the same with the clients' key; empty for the run's.
    """
    return Opened(_open(run, rounds, attempt, slot), client_store_secret or store_secret)


def _open(run: str, rounds: int, attempt: str, slot: int) -> int:
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
        state.store.put_new_json(
            own, {"attempt": attempt, "slot": slot, "round": round, "kind": kind, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        )
    log.info("round %d is open (%s)", round, kind)
    return round
