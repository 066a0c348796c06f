"""Clients that ask for a GPU where there is none, with a real Kafka and a real store."""

import uuid

import pytest
from support.data import blobs, send_clients

from fedstream import steps
from fedstream.audit import verify_run
from fedstream.errors import QuorumError
from fedstream.local.inprocess import run_inprocess
from fedstream.model import devices
from fedstream.record.documents import Manifest
from fedstream.report.html import render_report
from fedstream.report.model_card import render_model_card
from fedstream.report.view import build_view
from fedstream.steps.context import Context
from fedstream.store.objects import ObjectStore
from fedstream.stream.send import send_dataset

GPU = {"gpu_type": "nvidia.com/gpu", "gpu_count": 1}


@pytest.fixture(scope="module")
def streams(platform):
    evaluation = f"held-{uuid.uuid4().hex[:6]}"
    send_dataset(platform.kafka, evaluation, evaluation, *blobs(9, 30))
    return send_clients(platform.kafka), evaluation


@pytest.fixture
def values(streams, platform_env, monkeypatch):
    monkeypatch.setattr(devices, "gpu_names", list)
    clients, evaluation = streams
    shared = {
        "model": "builtin:digits-mlp",
        "clients": clients,
        "rounds": 1,
        "evaluation_topic": evaluation,
        "batch_size": 10,
        "seed": 5,
    }
    return lambda run, **more: {"run": run, **shared, **more}


class Artifact:
    def __init__(self):
        self.said = {}

    def log_metric(self, name, value):
        self.said[name] = value


def test_a_client_without_its_gpu_does_not_take_part_and_says_why(values, streams):
    (_, second), _ = streams
    assert run_inprocess(values("without", sites={second: {"placement": GPU}}, min_clients=1)) == 1
    (entry,) = [entry for entry in Context.from_env().run("without").ledger.commit(1).clients if not entry.accepted]
    assert entry.client == second
    for part in (
        "its placement asks for 1 nvidia.com/gpu, but TensorFlow 2",
        "sees only CPU",
        "image fedstream-python-gpu",
        "cpu_fallback",
    ):
        assert part in entry.reason
    with pytest.raises(QuorumError, match=r"its placement asks for 1 nvidia\.com/gpu"):
        run_inprocess(values("none", placement=GPU))


def test_falling_back_is_on_record_and_changes_no_weight(values, streams):
    (first, second), _ = streams
    run_inprocess(values("plain"))
    run_inprocess(values("fallen", sites={second: {"placement": GPU}}, cpu_fallback=True))
    plain, fallen = Context.from_env().run("plain"), Context.from_env().run("fallen")
    assert fallen.manifest(1, second).cpu_fallback
    assert not fallen.manifest(1, first).cpu_fallback
    assert fallen.ledger.commit(1).weights_digest == plain.ledger.commit(1).weights_digest
    assert verify_run(ObjectStore.from_env(), "fallen").ok
    view = build_view(ObjectStore.from_env(), "fallen", 1)
    assert "(no GPU available)" in render_report(view)
    assert "(no GPU available)" in render_model_card(view, 1)


def test_what_a_training_used_is_told_and_not_on_record(values, streams):
    client = streams[0][0]
    steps.plan_training(values("used", mixed_precision=True), 1000)
    steps.select_clients("used", 1, 1)
    key = steps.ingest_from_kafka("used", 1, client, "a").slice_key
    usage = Artifact()
    said = steps.local_train("used", 1, client, key, "a", usage)
    assert said.startswith(f"{client}: trained on ")
    assert "(device_seconds " in said
    assert set(usage.said) == {"device_seconds", "examples_per_second", "peak_memory_mib", "cpu_percent"}
    manifest = Context.from_env().run("used").manifest(1, client)
    assert not set(usage.said) & set(manifest.model_dump())
    older = manifest.model_dump(exclude={"cpu_fallback"})
    assert Manifest.model_validate(older) == manifest
