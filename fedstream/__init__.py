"""Federated learning on Kafka streams, as Kubeflow pipelines.

In a notebook, `fedstream.history(run)` gives the rounds and the clients of a run as pandas DataFrames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedstream.report.history import History
    from fedstream.store.objects import ObjectStore

__version__ = "0.1.0"
__all__ = ["__version__", "history"]


def history(run: str, store: ObjectStore | None = None) -> History:
    """Return what is on record about a run, as DataFrames.

        fedstream.history("first").rounds.plot(x="round", y="accuracy")

    Args:
        run: name of the run.
        store: its bucket; absent for the one the environment names.

    Raises:
        RunError: there is no such run in the bucket.
    """
    from fedstream.report.history import history as read

    return read(run, store)
