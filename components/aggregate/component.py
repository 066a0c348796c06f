"""aggregate as a KFP component."""

from typing import List

from fedstream.components.base import SLIM_IMAGE, step


@step(SLIM_IMAGE)
def aggregate(run: str, round: int, attempt: str, trained: List[str]) -> str:
    """Freeze which updates count, aggregate them into the next global model, and return its key.

    Args:
        run: Name of the run.
        round: Number of the round.
        attempt: Id of this submission.
        trained: Outputs of the clients' training tasks; they make this task wait for those tasks.
    """
    from fedstream import steps

    return steps.aggregate(run, round, attempt)
