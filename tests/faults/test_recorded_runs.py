"""Runs that an earlier version of fedstream has recorded are read, verified, reported and gone on with."""

import json

import pytest
from recorded.streams import send_streams
from support.recorded import RUN, RecordedStore

from fedstream.audit import verify_run
from fedstream.errors import CorruptObject
from fedstream.record.canonical import canonical_json
from fedstream.report.history import history
from fedstream.report.html import render_report
from fedstream.report.view import build_view
from fedstream.store.ledger import Ledger
from fedstream.store.state import RunState

RUNS = {
    "federated": (1, ["initial", "training", "training", "rollback", "training", "closing"]),
    "evaluated": (1, ["initial", "training", "training"]),
}


@pytest.fixture(scope="module")
def streams(platform):
    send_streams(platform.kafka)


@pytest.mark.parametrize("name", RUNS)
def test_a_recorded_run_is_readable(name):
    store = RecordedStore(name)
    assert verify_run(store, RUN).problems == []
    assert [commit.kind for commit in Ledger(store, RUN).commits()] == RUNS[name][1]
    assert list(history(RUN, store).rounds.kind) == RUNS[name][1]
    assert "Tell three kinds of record apart" in json.dumps(RunState(store, RUN).record.model_dump(mode="json"))
    assert RUN in render_report(build_view(store, RUN))


@pytest.mark.parametrize("name", RUNS)
def test_a_recorded_run_goes_on(name, streams, place, zygote):
    recorded = RecordedStore(name)
    recorded.copy_to(place.store)
    before = [commit.weights_digest for commit in Ledger(recorded, RUN).commits()]
    spec = RunState(recorded, RUN).record.spec.model_dump(mode="json")
    again = zygote.run(place.env, spec)
    assert again == {"signal": 0, "version": 1}, zygote.tail()
    more = zygote.run(place.env, {**spec, "rounds": 3, "publish": spec["publish"]})
    assert more["signal"] == 0, zygote.tail()
    after = [commit.weights_digest for commit in Ledger(place.store, RUN).commits()]
    assert after[: len(before)] == before
    assert len(after) > len(before)
    assert verify_run(place.store, RUN).problems == []


def test_another_layout_is_refused():
    store = RecordedStore("federated")
    key = f"runs/{RUN}/spec.json"
    store.objects[key] = canonical_json(json.loads(store.objects[key]) | {"layout": 7})
    with pytest.raises(
        CorruptObject,
        match=r"spec.json cannot be read: it has layout 7, and this version of fedstream reads layout 1; "
        r"use the version",
    ):
        _ = RunState(store, RUN).record
    assert "it has layout 7" in verify_run(store, RUN).problems[0].what
