"""A run that one of two named clients cannot take part in: it is published, and says so wherever a person looks."""

import logging

import numpy as np
from kafka import KafkaProducer
from support.data import send_clients

from fedstream.local.inprocess import run_inprocess
from fedstream.record.format import StreamFormat
from fedstream.record.layout import ModelKeys
from fedstream.record.offsets import OffsetRange
from fedstream.report.html import render_report
from fedstream.report.view import build_view
from fedstream.steps.outcome import outcome
from fedstream.store.objects import ObjectStore
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.records import UNLABELLED
from fedstream.stream.send import DATA_CONTROL_TOPIC
from fedstream.stream.sink import announcement_of


def test_a_degraded_run_is_published_and_names_who_is_missing(platform, platform_env, topic, caplog):
    (there,), missing = send_clients(platform.kafka, ("a",)), f"b-{topic}"
    promise(platform.kafka, missing, topic)
    spec = {
        "run": "r",
        "model": "builtin:digits-mlp",
        "clients": [there, missing],
        "min_clients": 1,
        "rounds": 1,
        "round_deadline_s": 8,
    }
    with caplog.at_level(logging.INFO, logger="fedstream.run"):
        version = run_inprocess(spec, 10**9)
    store = ObjectStore.from_env()
    found = outcome(store, "r", 1, version)
    assert version
    assert found["degraded"] is True
    assert found["clients"] == {"took_part": 1, "meant": 2}
    (absence,) = found["absent"]
    assert (absence["client"], absence["rounds"], absence["closing_passes"]) == (missing, [1], 1)
    assert found["records"]["announced"] == 60 + 40
    assert 0 < found["records"]["trained_on"] < 60

    assert f"run r: {missing} did not take part in round 1 and a closing pass: {absence['reason']}" in caplog.text
    assert "of run r, with 1 of 2 clients" in caplog.text
    keys = ModelKeys("builtin:digits-mlp")
    published = store.get(keys.version(version, "report.html")).decode()
    for page in (published, render_report(build_view(store, "r"))):
        assert "! Finished with 1 of 2 clients" in page
        assert f"<b>{missing}</b>, in round 1 and a closing pass: " in page
    assert missing in store.get(keys.version(version, "model_card.md")).decode().split("## Limits")[1]


def promise(kafka, client, topic):
    """Announce 40 records that are never sent."""
    with KafkaProducer(**kafka.client_args()) as producer:
        producer.send(topic, b"\0" * 64, key=b"\0").get(20)
        codec = RawCodec.from_sample(np.zeros((8, 8), np.float32), np.asarray(np.uint8(0)))
        said = announcement_of(
            kafka, client, StreamFormat("RAW", codec.config()), [OffsetRange(topic, 0, 0, 40)], validation_rate=0.2
        )
        producer.send(DATA_CONTROL_TOPIC, said.to_bytes(), key=UNLABELLED).get(20)
