"""A data owner with Kafka alone, and a forger whose numbers fit:
what the plan refuses, and what only reading the streams again can find.
"""

import json

import numpy as np
import pytest
from recorded.streams import EVALUATION, records, send_streams, topic_of
from support.recorded import MODEL, RUN, RecordedStore

from fedstream import steps
from fedstream.audit import verify_run
from fedstream.errors import RunError
from fedstream.record.format import StreamFormat
from fedstream.record.offsets import parse_ranges
from fedstream.settings import StoreSettings
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.stream.announcement import DATA_CONTROL_TOPIC
from fedstream.stream.broker import EnvironmentBrokers
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.records import UNLABELLED
from fedstream.stream.send import send_dataset
from fedstream.stream.sink import announcement_of
from fedstream.stream.writer import RecordWriter


@pytest.fixture(scope="module")
def streams(platform):
    """The recorded runs' records, at the offsets they were recorded at."""
    send_streams(platform.kafka)


@pytest.fixture
def planner(platform_env, topic):
    """A store with the recorded model, and a function that plans a run of it."""
    store = ObjectStore(StoreSettings.from_env(platform_env))
    recorded = RecordedStore("federated")
    for key in [key for key in recorded.objects if "/initial/" in key or "/added/" in key]:
        store.put_new(key, recorded.objects[key])

    def plan(*clients, **fields):
        steps.plan_training({"run": "r", "model": MODEL, "clients": list(clients), **fields}, 10**9)
        return RunState(store, "r").record

    return plan


def announce(kafka, client, ranges, **said):
    """Announce records, whoever has sent them."""
    codec = RawCodec.from_sample(np.zeros(4, np.float32), np.asarray(np.uint8(0)))
    writer = RecordWriter(kafka)
    try:
        writer.write(
            DATA_CONTROL_TOPIC,
            announcement_of(
                kafka, client, StreamFormat("RAW", codec.config()), parse_ranges(ranges), **said
            ).to_bytes(),
            UNLABELLED,
        )
        writer.flush()
    finally:
        writer.close()


def test_a_client_that_announces_another_s_records(planner, platform, topic):
    send_dataset(platform.kafka, topic, f"{topic}-honest", *records(1, 20))
    announce(platform.kafka, f"{topic}-evil", f"{topic}:0:5:15", validation_rate=0.5)
    with pytest.raises(
        RunError,
        match=rf"client '{topic}-honest' and client '{topic}-evil' both announce records {topic}:0:5:15; "
        r"a record has one use",
    ):
        planner(f"{topic}-evil", f"{topic}-honest")
    assert [client.client for client in planner(f"{topic}-honest").clients] == [f"{topic}-honest"]


def test_a_client_that_trains_on_the_evaluation_topic(planner, platform, topic):
    send_dataset(platform.kafka, topic, "evaluation", *records(1, 20))
    announce(platform.kafka, f"{topic}-evil", f"{topic}:0:0:20,{topic}-more:0:0:3")
    with pytest.raises(
        RunError, match=rf"client '{topic}-evil' and the evaluation topic both announce records {topic}:0:0:20"
    ):
        planner(f"{topic}-evil", evaluation_topic=topic)


def test_an_evaluation_topic_that_somebody_shrinks_to_one_record(planner, platform, topic):
    send_dataset(platform.kafka, f"{topic}-held", "evaluation", *records(1, 20))
    send_dataset(platform.kafka, topic, topic, *records(2, 20))
    announce(platform.kafka, "evil", f"{topic}-held:0:0:1")
    with pytest.raises(
        RunError,
        match=rf"is announced in 2 ways, and anyone may announce: {topic}-held:0:0:1 by 'evil'; "
        r".* its offsets, in evaluation_topic",
    ):
        planner(topic, evaluation_topic=f"{topic}-held")
    assert planner(topic, evaluation_topic=f"{topic}-held:0:0:20").evaluation.records == 20


def test_an_announcement_in_another_owner_s_name(planner, platform, topic):
    send_dataset(platform.kafka, f"{topic}.data", topic, *records(1, 20))
    announce(platform.kafka, topic, f"evil-{topic}:0:0:9")
    assert planner(topic, own_topics=True).clients[0].ranges == f"{topic}.data:0:0:20"


def test_every_record_and_every_measurement_can_be_repeated(streams, platform_env, federated, evaluated):
    for store, count in ((federated, 120), (evaluated, 160)):
        report = verify_run(store, RUN, brokers=EnvironmentBrokers())
        assert (report.problems, report.records_checked) == ([], count)


def test_a_better_score_that_fits_in_all_else(streams, platform_env, evaluated, forger_of):
    forger = forger_of(evaluated, 2)
    forger.store.edit(forger.key("commit.json"), lambda commit: commit["metrics"]["values"].update(accuracy=0.95))
    assert forger.found() == {}, "the bucket alone cannot tell"
    (problem,) = verify_run(evaluated, RUN, brokers=EnvironmentBrokers()).problems
    assert problem.key == forger.key("commit.json")
    assert "its accuracy is 0.95, but measured again it is 0.8" in problem.what


def test_each_client_s_records_are_read_though_another_has_the_same_digest(streams, platform_env, forger):
    """A slice that borrows another one's digest: the digest was seen before, its own records were not."""
    digest = forger.read("slices/a.json")["digest"]
    forger.slice("b", lambda document: document.update(digest=digest))
    assert forger.found() == {}, "the bucket alone cannot tell"
    (problem,) = verify_run(forger.store, RUN, brokers=EnvironmentBrokers()).problems
    assert problem.key == forger.key("slices/b.json")
    assert f"the records of {topic_of('b')}:0:0:40 have digest" in problem.what


def test_classes_that_the_records_do_not_have(streams, platform_env, forger):
    """The report shows a client's classes from its slice; the digest of the records says nothing of them."""
    forger.slice("b", lambda document: document.update(class_counts={"0": 38, "1": 1, "2": 1}))
    assert forger.found() == {}, "the bucket alone cannot tell"
    (problem,) = verify_run(forger.store, RUN, brokers=EnvironmentBrokers()).problems
    assert problem.key == forger.key("slices/b.json")
    assert f"its class_counts are 0: 38, 1: 1, 2: 1, but the records of {topic_of('b')}:0:0:40 have 0: " in problem.what


def test_the_classes_of_one_round_are_not_taken_for_those_of_another(streams, platform_env, federated, forger_of):
    """The records of a client are read once, and compared with its slice of each round."""
    forger = forger_of(federated, 4)
    forger.slice("b", lambda document: document.update(class_counts={"0": 40}))
    assert [problem.key for problem in verify_run(federated, RUN, brokers=EnvironmentBrokers()).problems] == [
        forger.key("slices/b.json")
    ]


def test_the_evaluation_topic_of_the_recorded_run_is_its_own(evaluated):
    assert json.loads(evaluated.objects[f"runs/{RUN}/spec.json"])["evaluation"]["ranges"] == f"{EVALUATION}:0:0:40"
