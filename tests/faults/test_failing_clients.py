"""One client fails, hangs, diverges or sends rubbish: the round goes on with the rest and its verdict says why,
or the run fails with that reason.
"""

import json
import re
import uuid

import numpy as np
import pytest
from kafka import TopicPartition

from fedstream import steps
from fedstream.audit import verify_run
from fedstream.errors import QuorumError, TopicError
from fedstream.local.process import free_ports, wait_until
from fedstream.record.canonical import sha256_hex
from fedstream.record.documents import Manifest, Metrics
from fedstream.record.format import StreamFormat
from fedstream.record.offsets import OffsetRange
from fedstream.record.weights import from_bytes, to_bytes
from fedstream.store.state import RunState
from fedstream.stream import client
from fedstream.stream.client import admin
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.reader import topic_bounds
from fedstream.stream.records import UNLABELLED
from fedstream.stream.send import DATA_CONTROL_TOPIC
from fedstream.stream.sink import announcement_of
from fedstream.stream.writer import RecordWriter

RECORDS = 20


def records(labels=10, size=64):
    rng = np.random.default_rng(3)
    return [
        (rng.uniform(0, 16, size).astype(np.float32).tobytes(), bytes([number % labels])) for number in range(RECORDS)
    ]


def write(kafka, topic, pairs):
    writer = RecordWriter(kafka)
    for value, key in pairs:
        writer.write(topic, value, key)
    ranges = writer.flush()
    writer.close()
    return ranges


def announce(kafka, name, pairs, promised=0):
    """Send records and announce them, with some more that never come."""
    (written,) = write(kafka, name, pairs)
    ranges = [OffsetRange(name, written.partition, written.start, written.end + promised)]
    codec = RawCodec.from_sample(np.zeros((8, 8), np.float32), np.asarray(np.uint8(0)))
    said = announcement_of(kafka, name, StreamFormat("RAW", codec.config()), ranges, validation_rate=0.2)
    write(kafka, DATA_CONTROL_TOPIC, [(said.to_bytes(), UNLABELLED)])


class Round:
    """The first round of a run, step by step in this process: what needs TensorFlow is forged."""

    def __init__(self, place):
        self.place, self.state = place, RunState(place.store, "r")
        self.keys, self.attempt = self.state.keys.at(1), ""

    def plan(self, clients, **spec):
        steps.plan_training(
            {
                "run": "r",
                "model": "builtin:digits-mlp",
                "clients": clients,
                "rounds": 1,
                "batch_size": 10,
                "min_clients": 1,
                **spec,
            },
            10**9,
        )

    def ask(self):
        """Submit the run: open the round and let each client validate its records; return the slices' keys."""
        return {name: self.ingest(name) for name in self.open()}

    def open(self):
        self.attempt = uuid.uuid4().hex
        assert steps.open_round("r", 1, self.attempt, 0)[0] == 1
        return steps.select_clients("r", 1, 1)

    def ingest(self, name):
        return steps.ingest_from_kafka("r", 1, name, self.attempt).slice_key

    def forge(self, name, weights=None, data=None, **fields):
        """Write an update and a manifest that are as local_train would write them, but for what is given."""
        document = self.state.slice(1, name)
        data = data or to_bytes(weights or self.trained())
        manifest = Manifest(
            run="r",
            round=1,
            client=name,
            base_digest=self.state.base(1).weights_digest,
            update_digest=sha256_hex(data),
            num_examples=document.records - 4,
            slice_key=self.keys.slice(name),
            slice_digest=document.digest,
            slice_document=sha256_hex(self.place.store.get(self.keys.slice(name))),
            seed=0,
            threads=2,
            device="CPU",
            code_version="1",
            measure_only=False,
            incoming=Metrics(num_examples=4, values={"loss": 1.0, "accuracy": 0.5}),
            trained=None,
            training=None,
        ).model_dump(mode="json")
        self.place.store.put_new(self.keys.update(name, sha256_hex(data)), data)
        self.place.store.put_new(
            self.keys.manifest(name), json.dumps({**manifest, **fields}, sort_keys=True, separators=(",", ":")).encode()
        )

    def trained(self):
        base = self.place.store.get(self.state.keys.at(0).weights)
        return {name: value + np.float32(0.5) for name, value in from_bytes(base, "base").items()}

    def close(self):
        """Aggregate and commit, and return the verdicts by client."""
        steps.aggregate("r", 1, self.attempt)
        steps.evaluate("r", 1)
        assert verify_run(self.place.store, "r").problems == []
        return {verdict.client: verdict for verdict in self.state.verdicts(1).verdicts}


@pytest.fixture
def names():
    suffix = uuid.uuid4().hex[:6]
    return f"bad-{suffix}", f"good-{suffix}"


@pytest.fixture
def first_round(undisturbed, monkeypatch):
    """The first round of a run that is not planned yet, whose model is there."""
    place = undisturbed.copied("models/builtin-digits-mlp/initial/")
    for name, value in place.env.items():
        monkeypatch.setenv(name, value)
    return Round(place)


def delete_topic(kafka, topic):
    def gone():
        try:
            topic_bounds(kafka, topic)
        except TopicError:
            return True
        return False

    with admin(kafka) as asked:
        asked.delete_topics([topic])
    assert wait_until(gone, 30)


def expire(kafka, topic):
    with admin(kafka) as asked:
        asked.delete_records({TopicPartition(topic, 0): 5})


STREAMS = {
    "its topic is deleted": (records(), 0, delete_topic, r"there is no such topic at .*: 'bad-"),
    "its first records have expired": (
        records(),
        0,
        expire,
        r"records bad-\w+:0:0 to 4 are no longer kept \(the first one left is 5\)",
    ),
    "a label is no class": (
        records(labels=11),
        0,
        None,
        r"label 10 of record 10 is no class of model 'builtin:digits-mlp', which has classes 0",
    ),
    "a record is too short": ([*records(), (b"\0" * 10, b"\1")], 0, None, r"record .*20.* 10 bytes"),
    "it announced more than it sent": (
        records(),
        3,
        None,
        r"20 of 23 announced records arrived in 5 s \(bad-\w+:0:0:23\); send the rest",
    ),
}


@pytest.mark.parametrize("fault", STREAMS)
def test_a_stream_that_cannot_be_used(first_round, platform, names, fault):
    (pairs, promised, spoil, reason), (bad, good) = STREAMS[fault], names
    announce(platform.kafka, bad, pairs, promised)
    announce(platform.kafka, good, records())
    first_round.plan([bad, good], round_deadline_s=5 if promised else 60)
    if spoil:
        spoil(platform.kafka, bad)
    slices = first_round.ask()
    assert slices[bad] == ""
    first_round.forge(good)
    verdicts = first_round.close()
    assert verdicts[good].accepted
    assert not verdicts[bad].accepted
    assert re.search(reason, verdicts[bad].reason), verdicts[bad].reason


def test_below_the_quorum_the_run_fails_and_goes_on_when_mended(first_round, platform, names):
    bad, good = names
    announce(platform.kafka, bad, records(), promised=3)
    announce(platform.kafka, good, records())
    first_round.plan([bad, good], round_deadline_s=4, min_clients=2)
    first_round.ask()
    first_round.forge(good)
    with pytest.raises(
        QuorumError,
        match=rf"1 of 2 updates are accepted and the quorum is 2. {bad}: 20 of 23 announced records arrived",
    ) as error:
        first_round.close()
    assert "finished updates are kept" in str(error.value)
    assert not first_round.place.store.exists(first_round.keys.verdicts)
    assert steps.open_round("r", 1, first_round.attempt, 1)[0] == -1, (
        "another slot of the same submission does not try again"
    )

    write(platform.kafka, bad, records()[:3])
    finished = first_round.place.times
    assert first_round.ask()[bad], "the next submission asks the client again"
    first_round.forge(bad)
    assert all(verdict.accepted for verdict in first_round.close().values())
    assert {key: first_round.place.times[key] for key in finished} == finished


def test_a_broker_that_is_away_past_the_deadline(first_round, platform, names, monkeypatch):
    bad, good = names
    for name in names:
        announce(platform.kafka, name, records())
    first_round.plan([bad, good], round_deadline_s=3, min_clients=2)
    first_round.open()
    monkeypatch.setattr(client, "CONNECT_S", 1.0)
    with monkeypatch.context() as patch:
        patch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_ports(1)[0]}")
        assert not first_round.ingest(bad)
    assert first_round.ingest(good)
    first_round.forge(good)
    with pytest.raises(
        QuorumError, match=rf"the quorum is 2. {bad}: the brokers 127.0.0.1:\d+ do not answer as PLAINTEXT"
    ):
        first_round.close()
    assert first_round.ask()[bad]
    first_round.forge(bad)
    assert all(verdict.accepted for verdict in first_round.close().values())


@pytest.fixture(scope="module")
def validated(undisturbed, platform):
    """A place, and its clients, whose first round is open and whose slices are there."""
    names = [f"{kind}-{uuid.uuid4().hex[:6]}" for kind in ("bad", "good")]
    with pytest.MonkeyPatch.context() as patch:
        place = undisturbed.copied("models/builtin-digits-mlp/initial/")
        for name, value in place.env.items():
            patch.setenv(name, value)
        for name in names:
            announce(platform.kafka, name, records())
        round = Round(place)
        round.plan(names)
        assert all(round.ask().values())
    return place, round.attempt, *names


@pytest.fixture
def validated_round(validated, monkeypatch):
    place, attempt, bad, good = validated
    place = place.copied("runs/", "models/")
    for name, value in place.env.items():
        monkeypatch.setenv(name, value)
    round = Round(place)
    round.attempt = attempt
    return round, bad, good


def with_kernel(change):
    def forged(round):
        weights = round.trained()
        name = sorted(weights)[-1]
        return {"weights": {**weights, name: change(weights[name])}}

    return forged


def without_kernel(round):
    weights = round.trained()
    del weights[sorted(weights)[-1]]
    return {"weights": weights}


def measured(**values):
    metrics = {"num_examples": 4, "values": {"loss": 1.0, "accuracy": 0.5}, "confusion": None}
    return lambda _: {"incoming": {**metrics, **values}}


def said(**fields):
    return lambda _: fields


FORGED = {
    "NaN": (with_kernel(lambda value: value * np.float32("nan")), r"values that are not finite \(first: nan\)"),
    "infinity": (with_kernel(lambda value: value + np.float32("inf")), r"values that are not finite \(first: inf\)"),
    "shape": (with_kernel(lambda value: value[:-1]), r"has shape .*, expected"),
    "dtype": (with_kernel(lambda value: value.astype(np.float64)), r"has dtype float64, expected float32"),
    "missing variable": (without_kernel, r"is missing \(1 in all\)"),
    "one more variable": (
        lambda round: {"weights": {**round.trained(), "zz": np.zeros(1, np.float32)}},
        r"variable 'zz' is not in the global model",
    ),
    "too many examples": (said(num_examples=21), r"num_examples is 21, but its slice has 20 records"),
    "no examples": (said(num_examples=0), r"num_examples is 0, expected at least 1"),
    "another base": (said(base_digest="0" * 64), r"in its manifest base_digest is '0+', expected"),
    "other records": (said(slice_digest="0" * 64), r"in its manifest slice_digest is '0+', expected"),
    "another slice": (said(slice_document="0" * 64), r"in its manifest slice_document is '0+', expected"),
    "another run": (said(run="s"), r"in its manifest run is 's', expected 'r'"),
    "another round": (said(round=2), r"in its manifest round is 2, expected 1"),
    "another client": (said(client="good"), r"in its manifest client is 'good', expected 'bad-"),
    "only measured": (said(measure_only=True), r"in its manifest measure_only is True, expected False"),
    "another update": (said(update_digest="0" * 64), r"there is no object .*bad-\w+-0+\.safetensors"),
    "no update": (said(update_digest=None), r"its weights are not in the store"),
    "no safetensors": (said(data=b"rubbish"), r"holds no valid safetensors"),
    "no manifest": (said(client=7), r"is no Manifest \(client\): Input should be a valid string"),
    "NaN in the manifest": (measured(values={"loss": float("nan")}), r"is no Manifest"),
    "no target metric": (measured(values={"loss": 1.0}), r"it measured no finite accuracy"),
    "no loss": (measured(values={"accuracy": 1.0}), r"it measured no finite loss"),
    "no measurement": (
        measured(values={"loss": 1e308, "accuracy": 0.5}),
        r"its loss is 1e\+308, which no model can score",
    ),
    "measured too many": (
        measured(num_examples=10**9),
        r"it says it measured on 1000000000 records, but its slice has 20",
    ),
    "ragged confusion": (measured(confusion=[[1, 2], [1]]), r"its confusion matrix is not square"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_an_update_that_must_not_count(validated_round, forgery):
    (forge, reason), (round, bad, good) = FORGED[forgery], validated_round
    round.forge(good)
    round.forge(bad, **forge(round))
    verdicts = round.close()
    assert verdicts[good].accepted
    assert not verdicts[bad].accepted
    assert re.search(reason, verdicts[bad].reason), verdicts[bad].reason
    new = from_bytes(round.place.store.get(round.keys.weights), "global")
    assert all(np.array_equal(new[name], value) for name, value in round.trained().items()), (
        "the good client's update alone"
    )


def test_confusion_matrices_of_two_sizes_are_left_out(validated_round):
    round, bad, good = validated_round
    round.forge(good, **measured(confusion=[[4]])(round))
    round.forge(bad, **measured(confusion=[[2, 0], [0, 2]])(round))
    assert all(verdict.accepted for verdict in round.close().values())
    assert round.place.commits[1].metrics.confusion is None


def test_only_rubbish_is_below_the_quorum(validated_round):
    round, bad, good = validated_round
    round.forge(good, num_examples=21)
    round.forge(bad, round=2)
    with pytest.raises(
        QuorumError,
        match=r"0 of 2 updates are accepted and the quorum is 1. bad-\w+: in its manifest round is 2.*; good-\w+: num_",
    ):
        round.close()


def test_records_of_nan_make_one_client_refuse(place, zygote, platform, clients, spec):
    name = f"nan-{uuid.uuid4().hex[:6]}"
    announce(platform.kafka, name, [(np.full(64, np.nan, np.float32).tobytes(), b"\1")] * RECORDS)
    answer = zygote.run(place.env, {**spec, "clients": [clients[0], name], "rounds": 1, "min_clients": 1})
    assert answer == {"signal": 0, "version": 1}, zygote.tail()
    (entry,) = [entry for entry in place.commits[1].clients if entry.client == name]
    assert not entry.accepted
    assert "training diverged with the compiled learning rate" in entry.reason
    assert "look for NaN in the records" in entry.reason
    (entry,) = [entry for entry in place.commits[2].clients if entry.client == name]
    assert entry.reason == "it measured no finite loss; look for NaN in its records"
    assert verify_run(place.store, "r").problems == []


def test_a_learning_rate_at_which_all_diverge_fails_with_that_reason(place, zygote, clients, spec):
    error = zygote.run(place.env, {**spec, "learning_rate": 1e9})["error"]
    assert error.startswith("QuorumError: round 1 of run 'r': 0 of 2 updates are accepted and the quorum is 2.")
    assert error.count("training diverged with learning rate 1e+09") == 2
