"""The report inside a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from fedstream.report.html import render_report
from fedstream.report.view import build_view
from fedstream.store.objects import ObjectStore
from fedstream.store.store import Store

HEIGHT_PX = 640


@dataclass(frozen=True)
class InlineReport:
    """A run's report; as a cell's last value, it is shown below the cell.

    Attributes:
        html: the page, as `fedstream report` writes it.
    """

    html: str

    def __repr__(self) -> str:
        return f"<report of {len(self.html)} characters>"

    def _repr_html_(self) -> str:
        """Return a frame, in which neither the page's styles nor the notebook's reach the other."""
        return f'<iframe srcdoc="{escape(self.html)}" style="width: 100%; height: {HEIGHT_PX}px; border: 1px solid #ccc"></iframe>'


def show_report(run: str, store: Store | None = None) -> InlineReport:
    """Return a run's report, which a notebook shows below the cell.

    Args:
        run: name of the run.
        store: its bucket; absent for the one the environment names.

    Raises:
        RunError: there is no such run in the bucket.
    """
    return InlineReport(render_report(build_view(store or ObjectStore.from_env(), run)))
