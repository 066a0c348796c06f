"""The report inside a notebook."""

from __future__ import annotations

from html import unescape

import pytest

import fedstream
from fedstream.errors import RunError
from fedstream.report.html import render_report
from fedstream.report.view import build_view


def test_the_frame_holds_the_page_that_the_command_writes(bucket, run_of):
    run = run_of(bucket, ["a", "b"], 2)
    shown = fedstream.show_report(run, bucket)
    page = render_report(build_view(bucket, run))
    frame = shown._repr_html_()
    assert shown.html == page
    assert unescape(frame.split('srcdoc="')[1].split('"')[0]) == page
    assert repr(shown) == f"<report of {len(page)} characters>"


def test_a_run_that_is_not_there(bucket):
    with pytest.raises(RunError, match="there is no run 'r' in this bucket"):
        fedstream.show_report("r", bucket)
