"""select_clients as a KFP component."""

from typing import List

from fedstream.components.base import SLIM_IMAGE, step


@step(SLIM_IMAGE)
def select_clients(run: str, round: int, rounds: int) -> List[str]:
    """Return the clients to ask in a round: a pure function of the run's seed and the round.

    Args:
        run: Name of the run.
        round: Number of the round.
        rounds: Training rounds in all.
    """
    from fedstream import steps

    return steps.select_clients(run, round, rounds)
