"""Federated learning on Kafka streams, as Kubeflow pipelines.

In a notebook, `fedstream.history(run)` gives the rounds and the clients of a run as pandas DataFrames; `fedstream.show_report(run)` shows its report.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedstream.report.history import history
    from fedstream.report.inline import show_report

__version__ = "0.1.0"
__all__ = ["__version__", "history", "show_report"]

_FOR_NOTEBOOKS = {"history": "fedstream.report.history", "show_report": "fedstream.report.inline"}


def __getattr__(name: str) -> Any:
    """Import what a notebook uses when it does (PEP 562): a step of a run, which starts a thousand times, would wait for it."""
    if name not in _FOR_NOTEBOOKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FOR_NOTEBOOKS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_FOR_NOTEBOOKS})
