"""The example of docs/live.md prints what stands below it, and its table has the defaults of the form."""

import contextlib
import io

from support.markdown import ROOT, blocks

from fedstream.record.feed_spec import FeedSpec
from fedstream.record.spec import RunSpec

PAGE = ROOT / "docs/live.md"


def test_the_example_prints_what_stands_below_it():
    example, printed, _ = blocks(PAGE)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(example.text, str(PAGE), "exec"), {})
    assert [line for line in said.getvalue().splitlines() if line[:1].isdigit() and "[" in line][-3:] == (
        printed.text.splitlines()
    )


def test_the_tables_show_the_defaults():
    text = PAGE.read_text(encoding="utf-8")
    for name, value in FeedSpec().model_dump().items():
        shown = f"{value:g}" if isinstance(value, float) else value
        assert f"| `{name}` | `{shown}` |" in text
    for name in ("indefinite", "change", "improvement"):
        assert f"| `{name}` | `{str(RunSpec.model_fields[name].default).lower()}` |" in text
