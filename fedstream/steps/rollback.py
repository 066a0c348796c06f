"""rollback: go back to the global model of an earlier round. The ledger stays whole: going back is a commit of its own."""

from __future__ import annotations

from fedstream.errors import RunError
from fedstream.record.decision import rolled_back
from fedstream.record.documents import Commit
from fedstream.store.state import RunState, log


def rollback(state: RunState, to: int) -> Commit:
    """Append the commit that makes the next round build on the model of an earlier one, and return it.

    Rounds after that one stay on record, but no longer count: neither their models nor the budget they used.

    Args:
        state: the run.
        to: the round to go back to; 0 for the initial model.

    Raises:
        UsageError: there is no such round to go back to; names those there are.
        RunError: there is no such run, it is not planned yet, or another round was committed meanwhile.
    """
    run, commits = state.record.spec.run, state.ledger.commits()
    if not commits:
        raise RunError(f"run {run!r} has no initial model yet, so there is nothing to go back to")
    commit = rolled_back(commits, state.ledger.digest(commits[-1].round), to)
    if state.ledger.append(commit) != commit:
        raise RunError(
            f"round {commit.round} of run {run!r} was committed meanwhile; look at it with `fedstream rounds {run}` first"
        )
    log.info("run %s went back to the model of round %d", run, to)
    return commit
