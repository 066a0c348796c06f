"""Owners whose tables differ in the order of columns and classes train as if they did not."""

import json
import uuid
from typing import Any

import numpy as np
import pytest

from fedstream.audit import verify_run
from fedstream.catalog.models import add_model
from fedstream.errors import RunError
from fedstream.local.inprocess import run_inprocess
from fedstream.model._tensorflow import keras
from fedstream.model.files import save_keras
from fedstream.record.canonical import sha256_hex
from fedstream.record.layout import ModelKeys
from fedstream.serving.versions import ServedVersion
from fedstream.settings import KafkaSettings
from fedstream.steps.markdown import plan_page
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.stream.announced import withdraw
from fedstream.stream.announcement import DataAnnouncement
from fedstream.stream.broker import EnvironmentBrokers
from fedstream.stream.send import send_dataset

FEATURES, CLASSES = ["age", "bmi", "pressure", "sugar"], ["ill", "unclear", "well"]


def table(seed: int, records: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Return records whose class is seen in the difference of the first and the last column."""
    x = np.random.default_rng(seed).normal(size=(records, 4)).astype(np.float32)
    return x, np.array(CLASSES)[(x[:, 0] - x[:, 3] > -0.5).astype(int) + (x[:, 0] - x[:, 3] > 0.5)]


@pytest.fixture
def model() -> bytes:
    keras().utils.set_random_seed(1)
    network = keras().Sequential([keras().Input((4,)), keras().layers.Dense(3, activation="softmax")])
    network.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return save_keras(network)


class Owners:
    """Data owners a and b, and an evaluation topic.

    A variant's streams have topics of their own, so that its records lie at the same offsets.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka, self.store, self.name = kafka, ObjectStore.from_env(), f"o{uuid.uuid4().hex[:6]}"

    def send(
        self, variant: str, owner: str, features: list[str], classes: list[str], **options: Any
    ) -> DataAnnouncement:
        x, texts = table(len(owner) + ord(owner[-1]))
        own, names = (
            x[:, [FEATURES.index(name) for name in features]],
            {"features": features, "classes": classes, **options},
        )
        return send_dataset(self.kafka, f"{self.name}.{variant}.{owner}", f"{self.name}.{owner}", own, texts, **names)

    def train(self, variant: str, model: str = "table", **fields: Any) -> RunState:
        values: dict[str, Any] = {
            "run": f"{self.name}-{variant}",
            "model": model,
            "clients": [f"{self.name}.a", f"{self.name}.b"],
        }
        values |= {"rounds": 2, "batch_size": 10, "evaluation_topic": f"{self.name}.{variant}.held", **fields}
        run_inprocess(values)
        return RunState(self.store, values["run"])


@pytest.fixture
def owners(platform: Any, platform_env: dict[str, str], model: bytes) -> Owners:
    found = Owners(platform.kafka)
    add_model(found.store, "table", model)
    return found


def outcome(state: RunState) -> list[tuple[Any, ...]]:
    """Return of each commit what must not depend on the order in which an owner keeps its columns."""
    return [(c.weights_digest, [entry.update_digest for entry in c.clients], c.metrics) for c in state.ledger.commits()]


def test_reversed_columns_and_classes_give_the_digests_of_the_unreversed_ones(owners: Owners) -> None:
    for variant, features, classes in (("usual", FEATURES, CLASSES), ("other", FEATURES[::-1], CLASSES[::-1])):
        owners.send(variant, "a", FEATURES, CLASSES)
        owners.send(variant, "b", features, classes)
        owners.send(variant, "held", features, classes)
        owners.train(variant)
    usual, other = (RunState(owners.store, f"{owners.name}-{variant}") for variant in ("usual", "other"))
    assert usual.record.features == other.record.features == FEATURES
    assert usual.record.classes == other.record.classes == CLASSES
    assert other.record.client(f"{owners.name}.b").features == FEATURES[::-1]
    assert outcome(usual) == outcome(other)
    one, two = (state.store.get_json(state.keys.at(1).slice(f"{owners.name}.b")) for state in (usual, other))
    assert (one["class_counts"], one["records"]) == (two["class_counts"], 50)
    assert one["digest"] != two["digest"]
    assert verify_run(owners.store, other.run, brokers=EnvironmentBrokers()).problems == []
    manifest = owners.store.get_json(ModelKeys("table").version(2, "manifest.json"))
    assert (manifest["features"], manifest["classes"]) == (FEATURES, CLASSES)


def test_the_model_s_names_decide_the_order_and_unnamed_streams_are_taken_as_they_are(
    owners: Owners, model: bytes
) -> None:
    add_model(owners.store, "named", model, FEATURES[::-1], CLASSES)
    owners.send("v", "a", FEATURES, CLASSES)
    owners.send("v", "b", FEATURES, CLASSES[::-1])
    owners.send("v", "held", FEATURES[::-1], [])
    state = owners.train("v", "named")
    assert state.record.features == FEATURES[::-1]
    assert state.record.evaluation
    assert state.record.evaluation.features == FEATURES[::-1]
    assert "the run's order: sugar, pressure, bmi, age." in plan_page(state.record, "done")


def test_a_newer_version_of_other_names_does_not_predict_the_stream_of_the_older_one(
    owners: Owners, caplog: pytest.LogCaptureFixture
) -> None:
    for owner in ("a", "b", "held"):
        owners.send("v", owner, FEATURES, CLASSES)
    owners.train("v", rounds=1)
    keys, store = ModelKeys("table"), owners.store
    served = ServedVersion(store, "table", None, None, 0.0)
    assert served.current().features == FEATURES
    for number, what in ((2, "features"), (3, "classes")):
        manifest = store.get_json(keys.version(1, "manifest.json"))
        store.put_new(keys.version(number, "model.keras"), store.get(keys.version(1, "model.keras")))
        store.put_new_json(
            keys.version(number, "manifest.json"), manifest | {"version": number, what: manifest[what][::-1]}
        )
        digest = sha256_hex(store.get(keys.version(number, "manifest.json")))
        assert store.put_if_match(
            keys.latest,
            json.dumps({"version": number, "manifest": digest}).encode(),
            store.get_with_etag(keys.latest)[1],
        )
        assert served.current().number == 1
        assert f"version {number} has {what} {manifest[what][-1]}, " in caplog.text


def test_other_columns_are_refused_when_the_run_is_planned(owners: Owners) -> None:
    owners.send("v", "a", FEATURES, CLASSES)
    x, y = table(1)
    send_dataset(
        owners.kafka, f"{owners.name}.v.b", f"{owners.name}.b", x, y, features=["age", "bmi", "pressure", "glucose"]
    )
    owners.send("v", "held", FEATURES, CLASSES)
    with pytest.raises(
        RunError, match=r"b' cannot take part: its columns are not the run's: it lacks 'sugar' and has 'glucose'"
    ):
        owners.train("v")


def test_a_run_trains_on_what_was_appended_or_on_all_and_on_nothing_withdrawn(owners: Owners) -> None:
    owners.send("old", "a", FEATURES, CLASSES)
    for owner, append in (("a", False), ("b", False), ("a", True), ("held", False)):
        owners.send("v", owner, FEATURES, CLASSES, append=append)
    assert owners.train("v", rounds=1).ledger.commits()[-1].clients[0].ranges[0].end == 100
    whole = owners.train("v", run=f"{owners.name}-all", slices="all", rounds=1)
    assert [client.records for client in whole.record.clients] == [150, 50]
    assert verify_run(owners.store, whole.run).problems == []
    assert withdraw(owners.kafka, f"{owners.name}.a", f"{owners.name}.v.a") == [f"{owners.name}.v.a"]
    left = owners.train("v", run=f"{owners.name}-left", rounds=1)
    assert left.record.client(f"{owners.name}.a").ranges == f"{owners.name}.old.a:0:0:50"
    withdraw(owners.kafka, f"{owners.name}.a")
    with pytest.raises(RunError, match=r"a' cannot take part: .*a withdrew what it had announced of topic"):
        owners.train("v", run=f"{owners.name}-none", rounds=1)
