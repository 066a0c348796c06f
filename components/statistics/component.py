"""statistics as a KFP component."""

from fedstream.components.base import SLIM_IMAGE, step


@step(SLIM_IMAGE)
def statistics(run: str, client: str, attempt: str) -> str:
    """Write what one client contributes to the statistics of a run, and return one line about it.

    Only sums, histograms and counts leave the client.

    Args:
        run: Name of the run.
        client: Name of the client.
        attempt: Id of this submission.
    """
    from fedstream import steps

    return steps.statistics(run, client, attempt)
