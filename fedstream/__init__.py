"""Federated learning on Kafka streams, as Kubeflow pipelines.

In a notebook, `fedstream.history(run)` gives the rounds and the clients of a run as pandas DataFrames; `fedstream.show_report(run)` shows its report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedstream.report.history import History
    from fedstream.report.inline import InlineReport
    from fedstream.store.objects import ObjectStore

__version__ = "0.1.0"
__all__ = ["__version__", "history", "show_report"]


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


def show_report(run: str, store: ObjectStore | None = None) -> InlineReport:
    """Return a run's report, which a notebook shows below the cell.

    Args:
        run: name of the run.
        store: its bucket; absent for the one the environment names.

    Raises:
        RunError: there is no such run in the bucket.
    """
    from fedstream.report.inline import inline_report

    return inline_report(run, store)
