"""open_round: ask the store which round a slot of the loop runs."""

from __future__ import annotations

from fedstream.record.documents import Opening
from fedstream.steps.context import Context
from fedstream.steps.live import await_any, why_none
from fedstream.steps.runtime import step
from fedstream.steps.selecting import clients_of, freeze_selection
from fedstream.store.state import Kind, RunState, log


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

    The number is -1 when there is nothing to do: the run is finished or stopped, another slot of this submission opened
    the round and failed, or no client of a live run has new records in time. The secret is chosen here because the
    default of a pipeline parameter cannot be another parameter.

    Args:
        context: The context in which the step runs.
        run: Name of the run.
        rounds: Total number of training rounds; of an indefinite run, the number in this submission.
        attempt: Id of this submission.
        slot: Number of the loop's iteration.
        store_secret: Kubernetes secret with the run's store credentials.
        client_store_secret: Kubernetes secret with the clients' store credentials; empty for the run's.
    """
    return _open(context, context.run(run), rounds, attempt, slot), client_store_secret or store_secret


def _open(context: Context, state: RunState, rounds: int, attempt: str, slot: int) -> int:
    coming = state.next_round(rounds)
    if not coming:
        log.info("run %s is finished", state.run)
        return -1
    round, kind = coming
    keys = state.keys.at(round)
    opened, own = state.store.list(keys.opened_by(attempt)), keys.opened(attempt, slot)
    if others := [info.key for info in opened if info.key != own]:
        log.info(
            "round %d was opened by another slot of this submission, which did not commit it (%s)", round, others[0]
        )
        return -1
    idle = ""
    if state.record.spec.feed.live and kind == "training":
        kind, idle = _live(context, state, round, attempt, slot < rounds)
    if not opened:
        opening = Opening(attempt=attempt, slot=slot, round=round, kind=kind, idle=idle)
        state.store.put_new_json(own, opening.model_dump(mode="json"))
    log.info("round %d is %s", round, f"not opened: {idle}" if idle else f"open ({kind})")
    return -1 if idle else round


def _live(context: Context, state: RunState, round: int, attempt: str, within: bool) -> tuple[Kind, str]:
    """Return what the next round of a live run is for, and why this submission ends without it, if it does.

    An indefinite run has no last round. Its submission ends with a closing round, so that publish has figures for the
    newest model: when no client has new records, or when it has run its number of rounds.

    Args:
        context: The context in which the step runs.
        state: The run.
        round: Number of the round.
        attempt: Id of this submission.
        within: Whether this submission can run another training round.
    """
    spec, asked = state.record.spec, state.store.exists(state.keys.at(round).selection)
    if asked and state.selection(round).kind == "closing":
        return "closing", ""
    if state.base(round).kind == "closing" and state.store.list(state.keys.at(round - 1).opened_by(attempt)):
        return "training", "a closing round has ended this submission"
    more = within or not spec.indefinite
    if more and await_any(context, state, round, clients_of(state, round)):
        return "training", ""
    if spec.indefinite and not asked and state.unmeasured():
        return freeze_selection(state, round, "closing").kind, ""
    return "training", why_none(spec) if more else "this submission has run all of its rounds"
