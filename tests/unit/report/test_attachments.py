"""The pages that are published beside a model."""

from fedstream.report.attachments import ATTACHMENTS, REPORT
from fedstream.report.html import render_report
from fedstream.report.model_card import render_model_card
from fedstream.report.view import build_view


def test_report_and_model_card_are_those_of_the_run_and_its_round(bucket, run_of):
    view = build_view(bucket, run_of(bucket, ["a", "b"], 2))
    assert {page.name: page.render(view, 1) for page in ATTACHMENTS} == {
        REPORT: render_report(view),
        "model_card.md": render_model_card(view, 1),
    }
