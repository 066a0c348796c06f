"""Records without labels on a real broker: docs/training-modes.md's sink, a run of what it announced, and an audit."""

import pytest
from support.markdown import ROOT, blocks

from fedstream.audit import verify_run
from fedstream.local.inprocess import run_inprocess
from fedstream.steps.context import Context

SPEC = {"run": "few", "model": "builtin:numpy-softmax", "rounds": 2, "epochs": 10, "learning_rate": 0.5}


@pytest.fixture
def digits(platform, platform_env):
    """The records of the page, sent as it shows."""
    page = blocks(ROOT / "docs/training-modes.md")
    [sink] = [block.text for block in page if block.section == "Records without labels" and block.language == "python"]
    exec(compile(sink, "training-modes.md", "exec"), {})


def test_a_run_trains_on_what_a_sink_announced_without_labels(digits):
    run_inprocess(SPEC | {"clients": ["digits"], "unsupervised": True, "confidence": 0.8}, 10**9)
    context = Context.from_env()
    state = context.run("few")
    document, manifest = state.slice(1, "digits"), state.manifest(1, "digits")
    assert (document.records, document.unlabelled.records) == (90, 1707)
    assert manifest.num_examples <= 90
    assert 0 < manifest.pseudo_labelled <= 1707
    assert verify_run(context.store, "few", brokers=context.brokers).problems == []
