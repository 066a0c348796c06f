"""The pages that are published beside a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedstream.report.html import render_report
from fedstream.report.model_card import render_model_card
from fedstream.report.view import RunView

REPORT = "report.html"


@dataclass(frozen=True)
class Attachment:
    """A page that is published beside a model.

    Attributes:
        name: Name of the file.
        render: Makes the page of a run and one of its rounds, whose global model is the best one.
    """

    name: str
    render: Callable[[RunView, int], str]


ATTACHMENTS = (
    Attachment(REPORT, lambda view, round: render_report(view)),
    Attachment("model_card.md", render_model_card),
)
