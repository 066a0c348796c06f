"""A run goes on across an upgrade in the middle of a round:
slices count as they are stored, whatever their documents have gained since.
"""

import json

import pytest
from recorded.streams import CLIENTS, send_streams
from support.recorded import RUN, RecordedStore

from fedstream import steps
from fedstream.audit import verify_run
from fedstream.record.canonical import sha256_hex
from fedstream.record.documents import SliceDoc
from fedstream.steps.context import Context
from fedstream.store.state import RunState
from fedstream.stream.broker import KafkaBrokers


class LaterSlice(SliceDoc):
    """A slice as a later version may write it."""

    added: str = "by default"


@pytest.fixture(scope="module")
def brokers(platform):
    send_streams(platform.kafka)
    return KafkaBrokers(platform.kafka)


@pytest.fixture(params=["ingest", "train"])
def halfway(request):
    """The store of a run whose first round was left after this step:
    slices are there, and with `train` one update too.
    """
    store = RecordedStore("evaluated")
    store.keep_rounds(1)
    done = "updates/a" if request.param == "train" else "no update"
    kept = {
        store.key(1, "selection.json"),
        *(key for key in store.objects if key.startswith((store.key(1, "slices/"), store.key(1, done)))),
    }
    for key in [key for key in store.objects if key.startswith(store.key(1, "")) and key not in kept]:
        del store.objects[key]
    return store


@pytest.mark.parametrize("kind", [SliceDoc, LaterSlice])
def test_a_round_that_an_earlier_version_began_is_finished(halfway, brokers, monkeypatch, kind):
    monkeypatch.setattr("fedstream.store.state.SliceDoc", kind)
    monkeypatch.setattr("fedstream.steps.slicing.SliceDoc", kind)
    context, before = Context(halfway, brokers), dict(halfway.objects)
    for client in CLIENTS:
        ingested = steps.ingest_from_kafka.within(context, RUN, 1, client, "again")
        assert steps.local_train.within(context, RUN, 1, client, ingested.slice_key, "again").startswith(
            (f"{client}: trained", f"{client}: had")
        )
    steps.aggregate.within(context, RUN, 1, "again")
    steps.evaluate.within(context, RUN, 1)
    assert {key: halfway.objects[key] for key in before} == before
    commit = RunState(halfway, RUN).ledger.commit(1)
    assert [entry.reason for entry in commit.clients] == ["valid"] * len(CLIENTS)
    for entry in commit.clients:
        stored = halfway.objects[halfway.key(1, f"slices/{entry.client}.json")]
        assert "input_format" not in json.loads(stored)
        assert entry.slice_document == sha256_hex(stored)
    assert verify_run(halfway, RUN, brokers=brokers).problems == []


def test_a_slice_that_says_something_else_is_not_taken_for_the_same(halfway, brokers):
    halfway.edit(halfway.key(1, "slices/b.json"), lambda document: document["class_counts"].update({"0": 1}))
    assert steps.ingest_from_kafka.within(Context(halfway, brokers), RUN, 1, "b", "again").slice_key == ""
    [refusal] = [
        json.loads(data) for key, data in halfway.objects.items() if key.startswith(halfway.key(1, "refusals/"))
    ]
    assert "slices/b.json is on record with other bytes" in refusal["reason"]
