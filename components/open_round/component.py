"""open_round as a KFP component."""

from fedstream.components.base import SLIM_IMAGE, step


@step(SLIM_IMAGE)
def open_round(run: str, rounds: int, attempt: str, slot: int) -> int:
    """Return the number of the round this slot runs, or -1 when there is nothing to do.

    Args:
        run: Name of the run.
        rounds: Training rounds in all.
        attempt: Id of this submission.
        slot: Number of the loop's iteration.
    """
    from fedstream import steps

    return steps.open_round(run, rounds, attempt, slot)
