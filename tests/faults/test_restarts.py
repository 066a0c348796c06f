"""Kafka or the object store is killed in the middle of a run and comes back:
the run survives, or goes on when it is run again.
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from kafka import TopicPartition
from support.data import write_one
from support.serving import eventually

from fedstream.audit import verify_run
from fedstream.errors import BrokerAway
from fedstream.record.layout import ModelKeys
from fedstream.serving import inference
from fedstream.serving.inference import Inference, Pace, Streams
from fedstream.serving.versions import Served
from fedstream.stream import client
from fedstream.stream.announcement import MODEL_CONTROL_TOPIC
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.control import read_announcements

AFTER_A = r"0001/updates/a[^.]*\.json"


@pytest.mark.parametrize("part", ["kafka", "seaweedfs"])
def test_killed_and_back_a_run_survives(own, own_place, zygote, spec, undisturbed_round, part):
    spec |= {"rounds": 1}
    run = zygote.start(own_place.env, spec, "after", AFTER_A, "wait")
    zygote.await_waiting(run)
    server = getattr(own, part)
    server.kill()
    zygote.flag(run).unlink()
    server.start()
    assert zygote.answer(run) == {"signal": 0, "version": 1}, zygote.tail()
    assert own_place.digests == undisturbed_round
    assert verify_run(own_place.store, "r").problems == []


def test_a_run_is_planned_when_a_broker_that_is_away_comes_back(own, own_place, zygote, spec, undisturbed_round):
    spec |= {"rounds": 1}
    said = len(zygote.log.read_text())
    own.kafka.kill()
    run = zygote.start(own_place.env, spec)
    eventually(lambda: "waiting for the broker" in zygote.log.read_text()[said:], seconds=60.0)
    own.kafka.start()
    assert zygote.answer(run) == {"signal": 0, "version": 1}, zygote.tail()
    assert own_place.digests == undisturbed_round


def test_a_version_is_announced_when_a_broker_that_is_away_comes_back(own, own_place, zygote, spec):
    spec |= {"rounds": 1}
    run = zygote.start(own_place.env, spec, "after", r"versions/1/manifest\.json", "wait")
    zygote.await_waiting(run)
    said = len(zygote.log.read_text())
    own.kafka.kill()
    zygote.flag(run).unlink()
    eventually(lambda: "waiting for the broker" in zygote.log.read_text()[said:], seconds=60.0)
    own.kafka.start()
    assert zygote.answer(run) == {"signal": 0, "version": 1}, zygote.tail()
    key = ModelKeys(spec["model"]).latest
    assert json.loads(own_place.store.get(key))["version"] == 1
    heard = [json.loads(value) for _, _, value in read_announcements(own.kafka_settings, MODEL_CONTROL_TOPIC, 20)]
    assert heard[-1]["model_key"].startswith(own_place.store.settings.prefix)


def test_the_store_away_for_longer_than_anyone_waits(own, own_place, zygote, spec, undisturbed_round):
    spec |= {"rounds": 1}
    run = zygote.start({**own_place.env, "FEDSTREAM_TEST_PATIENCE_S": "1"}, spec, "after", AFTER_A, "wait")
    zygote.await_waiting(run)
    own.seaweedfs.kill()
    zygote.flag(run).unlink()
    error = zygote.answer(run)["error"]
    own.seaweedfs.start()
    assert error.startswith("StoreUnavailable: the object store at http://127.0.0.1:")
    assert zygote.run(own_place.env, spec) == {"signal": 0, "version": 1}, zygote.tail()
    assert own_place.digests == undisturbed_round


def test_inference_without_a_record_waits_for_a_broker_that_comes_back_and_ends_when_it_stays_away(
    own, topic, caplog, monkeypatch
):
    monkeypatch.setattr(inference, "ASK_S", 0.5)
    monkeypatch.setattr(client, "CONNECT_S", 1.0)
    echo = Served("m", 1, "e" * 64, RawCodec(np.dtype(np.uint8), (1,), np.dtype(np.uint8), ()), lambda x: x)
    stop = threading.Event()
    write_one(own.kafka_settings, topic, b"1")
    member = Inference(
        own.kafka_settings,
        Streams(topic, f"{topic}-out", "", topic),
        SimpleNamespace(current=lambda: echo),
        Pace(),
        stop,
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(member.run)
        try:
            with client.consumer(own.kafka_settings, topic) as reader:
                eventually(lambda: reader.committed(TopicPartition(topic, 0)) == 1, seconds=30.0)
            own.kafka.kill()
            eventually(lambda: "waiting for the brokers" in caplog.text, seconds=30.0)
            own.kafka.start()
            write_one(own.kafka_settings, topic, b"1")
            eventually(lambda: member.counts.predictions == 2, seconds=30.0)
            monkeypatch.setattr(inference, "AWAY_S", 2.0)
            own.kafka.kill()
            assert isinstance(running.exception(30.0), BrokerAway)
        finally:
            stop.set()
            own.kafka.start()
