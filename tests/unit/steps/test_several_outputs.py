"""A run of a model with two outputs: judged, verified, reported and published like one with a single output."""

import json

import numpy as np
import pytest
from support.inprocess import context_of, pictures, send

from fedstream.audit import verify_run
from fedstream.catalog.models import add_model
from fedstream.catalog.versions import find_version, read_version_file
from fedstream.local.inprocess import run_inprocess
from fedstream.model.files import load_keras
from fedstream.model.source import read_model
from fedstream.report.html import render_report
from fedstream.report.view import build_view
from fedstream.serving.predictions import answers
from fedstream.serving.versions import codec_of, load

NAMES = {"accuracy", "loss", "edge_accuracy", "edge_loss", "cloud_loss"}


@pytest.fixture(scope="module")
def context():
    context = context_of()
    send(context, "a", "b")
    add_model(context.store, "early-exit", read_model("examples.model_early_exit:build"))
    run_inprocess({"run": "r", "model": "early-exit", "rounds": 2, "epochs": 3, "batch_size": 10}, context=context)
    return context


def test_every_model_is_measured_at_all_outputs_and_verified(context):
    commits = context.run("r").ledger.commits()
    assert all(commit.metrics.values.keys() == NAMES for commit in commits if commit.metrics)
    assert commits[-1].metrics.values["loss"] < commits[1].metrics.values["loss"]
    assert verify_run(context.store, "r", brokers=context.brokers).problems == []


def test_the_report_shows_the_metrics_of_all_outputs(context):
    page = render_report(build_view(context.store, "r"))
    assert all(name in page for name in NAMES)


def test_the_published_model_has_all_outputs_and_serving_answers_with_the_last(context):
    version = find_version(context.store, "early-exit", 1)
    model = load_keras(read_version_file(context.store, version))
    assert model.output_names == ["edge", "cloud"]
    x, _ = pictures(0, 3)
    served = load(context.store, version, codec_of(context.store, version))
    expected = np.asarray(model(x.astype(np.float32))[-1])
    found = [json.loads(answer)["values"] for answer in answers(served, [picture.tobytes() for picture in x])]
    assert np.allclose(found, expected, atol=1e-6)
