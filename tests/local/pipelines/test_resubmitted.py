"""A run whose placement was wrong is submitted again with another one, and goes on:
the same run, with the weights of one that nothing disturbed.
"""

import pytest
from support.data import blobs, send_clients

from fedstream.audit import verify_run
from fedstream.errors import QuorumError, SpecError
from fedstream.local.inprocess import run_inprocess
from fedstream.local.launch import run_pipeline
from fedstream.model import devices
from fedstream.record.form import packed_form
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec
from fedstream.report.html import render_report
from fedstream.report.view import build_view
from fedstream.steps import ingest_from_kafka
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.stream.send import send_dataset

WRONG = {"gpu_type": "nvidia.com/gpu", "gpu_count": 1}
RIGHT = {"node_selector": {"zone": "here"}}


@pytest.fixture
def values(platform, platform_env, topic, monkeypatch):
    monkeypatch.setattr(devices, "gpu_names", list)
    clients = send_clients(platform.kafka)
    send_dataset(platform.kafka, topic, topic, *blobs(9, 30))
    return {"model": "builtin:digits-mlp", "clients": clients, "rounds": 1, "evaluation_topic": topic, "batch_size": 10}


def by_form(values, tmp_path):
    """Submit as the Kubeflow UI does: with every entry of the form,
    those that nobody touched with the form's defaults.
    """
    untouched = {field.name: field.default for field in packed_form(RunSpec, PipelineOptions) if not field.required}
    return run_pipeline(untouched | {"node_budget": 10**9} | values, tmp_path / "log")


@pytest.mark.parametrize("submit", [lambda values, _: run_inprocess(values), by_form], ids=["fedstream run", "form"])
def test_a_run_with_a_wrong_placement_goes_on_with_another_one(values, tmp_path, submit):
    assert run_inprocess({**values, "run": "undisturbed"}) == 1
    stuck = values["clients"][1]
    with pytest.raises(QuorumError, match=r"its placement asks for 1 nvidia\.com/gpu"):
        run_inprocess({**values, "run": "r", "sites": {stuck: {"placement": WRONG}}})
    again = {**values, "run": "r", "placement": RIGHT, "round_deadline_s": 300.0}

    assert submit(again, tmp_path) == 2

    store = ObjectStore.from_env()
    state, undisturbed = RunState(store, "r"), RunState(store, "undisturbed")
    assert state.record.spec.placement_of(stuck).gpu_count == 1
    assert state.spec == RunSpec(**again)
    assert [commit.weights_digest for commit in state.ledger.commits()] == [
        commit.weights_digest for commit in undisturbed.ledger.commits()
    ]
    assert ingest_from_kafka("r", 2, stuck, "a").node_selector == {"zone": "here"}
    assert [state.manifest(1, client).submission for client in values["clients"]] == [None, 1]
    assert '"zone": "here"' in render_report(build_view(store, "r")).replace("&#34;", '"')
    assert verify_run(store, "r").problems == []

    run_inprocess(again)
    assert len(RunState(store, "r").submissions) == 1
    with pytest.raises(SpecError, match="epochs was 1 and is now 2"):
        run_inprocess({**again, "epochs": 2})
