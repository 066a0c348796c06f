"""rollback: go back to the global model of an earlier round.

A rollback is a commit of its own, so the ledger stays complete.
"""

from __future__ import annotations

from fedstream.errors import RunError
from fedstream.record.commit import Commit
from fedstream.record.decision import rolled_back
from fedstream.store.state import RunState, log


def rollback(state: RunState, to: int) -> Commit:
    """Append the commit that makes the next round build on the model of an earlier one, and return it.

    Later rounds stay on record, but neither their models nor the budget that they used count any more.

    Args:
        state: The run.
        to: Number of the round to go back to; 0 for the initial model.

    Raises:
        UsageError: The run cannot go back to this round; the message names the rounds that it can go back to.
        RunError: The run does not exist or is not planned yet, or another round was committed in the meantime.
    """
    run, commits = state.record.spec.run, state.ledger.commits()
    if not commits:
        raise RunError(f"run {run!r} has no initial model yet, so there is nothing to go back to")
    commit = rolled_back(commits, state.ledger.digest(commits[-1].round), to)
    if state.ledger.append(commit) != commit:
        raise RunError(
            f"round {commit.round} of run {run!r} was committed in the meantime; "
            f"inspect it with `fedstream rounds {run}` first"
        )
    log.info("run %s went back to the model of round %d", run, to)
    return commit
