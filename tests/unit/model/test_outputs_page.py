"""The example of docs/training-modes.md that needs no server: it runs as shown, and prints what is shown."""

import contextlib
import io
import re

from support.markdown import ROOT, blocks


def test_the_example_of_several_outputs_prints_what_is_below_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = [
        block for block in blocks(ROOT / "docs/training-modes.md") if block.section == "Models with several outputs"
    ]
    [example] = [block.text for block in page if block.language == "python"]
    [expected] = [block.text for block in page if not block.language]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(example, "training-modes.md", "exec"), {})
    assert without_figures(said.getvalue()) == without_figures(expected)


def without_figures(text):
    """Return a text without metrics, which differ a little between processors."""
    return re.sub(r"\d\.\d{4}", "#", text)
