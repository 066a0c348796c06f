"""open_round as a KFP component."""

from typing import NamedTuple

from fedstream.components.base import SLIM_IMAGE, step


@step(SLIM_IMAGE)
def open_round(
    run: str, rounds: int, attempt: str, slot: int, store_secret: str = "", client_store_secret: str = ""
) -> NamedTuple("Opened", [("Output", int), ("store_secret", str)]):
    """Return the round that this slot runs, and the secret with the key that its clients use for the store.

    Args:
        run: Name of the run.
        rounds: Total number of training rounds.
        attempt: Id of this submission.
        slot: Number of the loop's iteration.
        store_secret: Secret with the run's key for the store.
        client_store_secret: Secret with the clients' key for the store; empty for the run's.

    Returns:
        Output: Number of the round, or -1 when there is nothing to do.
        store_secret: Secret with the clients' key for the store.
    """
    from fedstream import steps

    return steps.open_round(run, rounds, attempt, slot, store_secret, client_store_secret)
