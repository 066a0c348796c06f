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
    """The report of a run, which a notebook shows below the cell.

    Attributes:
        html: The page, as written by `fedstream report`.
    """

    html: str

    def __repr__(self) -> str:
        return f"<report of {len(self.html)} characters>"

    def _repr_html_(self) -> str:
        """Return the page in a frame, which separates its styles from those of the notebook."""
        return (
            f'<iframe srcdoc="{escape(self.html)}" style="width: 100%; height: {HEIGHT_PX}px; border: '
            '1px solid #ccc"></iframe>'
        )


def show_report(run: str, store: Store | None = None) -> InlineReport:
    """Return the report of a run, which a notebook shows below the cell.

    Args:
        run: Name of the run.
        store: Bucket of the run; None for the bucket in the environment.

    Raises:
        RunError: There is no such run in the bucket.
    """
    return InlineReport(render_report(build_view(store or ObjectStore.from_env(), run)))
