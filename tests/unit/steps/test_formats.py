"""Whole runs in memory whose clients send records of every format."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.inprocess import context_of, pictures

from fedstream.audit import verify_run
from fedstream.catalog.models import add_model
from fedstream.errors import RunError
from fedstream.local.inprocess import run_inprocess
from fedstream.model import keras
from fedstream.model.files import load_keras, save_keras
from fedstream.record.format import StreamFormat
from fedstream.record.layout import ModelKeys
from fedstream.serving.predictions import answers
from fedstream.serving.versions import ServedVersion
from fedstream.stream.announcement import DataAnnouncement, parse_data_announcement
from fedstream.stream.codec import CODECS, codec_class
from fedstream.stream.columns import decode_in_order
from fedstream.stream.records import UNLABELLED
from fedstream.stream.send import DATA_CONTROL_TOPIC, send_dataset

OF_PICTURES = sorted(CODECS.keys() - {"TEXT"})
SPEC = {"run": "r", "rounds": 2, "batch_size": 10, "epochs": 3}


def announced(context, topic):
    """Return the announcement of a topic."""
    messages = context.brokers.at("").read_announcements(DATA_CONTROL_TOPIC, 1)
    found = [parse_data_announcement(data) for _, _, data in messages]
    return next(said for said in found if topic in said.topics)


def predicted(context, model, laid_out, values):
    """Return what inference answers to records."""
    served = ServedVersion(context.store, model, None, laid_out, 0.0).current()
    return np.array([json.loads(answer)["values"] for answer in answers(served, values)])


def test_records_of_every_format_are_matched_trained_on_measured_and_verified():
    context = context_of()
    broker, (x, y) = context.brokers.at(""), pictures(3, 60)
    for name in [*OF_PICTURES, "held"]:
        format = "AVRO" if name == "held" else name
        send_dataset(broker, name, name, x, y, format=format, validation_rate=0.2)
    spec = {**SPEC, "model": "builtin:numpy-softmax", "clients": OF_PICTURES, "evaluation_topic": "held"}
    run_inprocess(spec, context=context)
    state = context.run("r")
    assert [entry.reason for entry in state.ledger.commits()[-1].clients] == ["valid"] * len(OF_PICTURES)
    assert {client.input_format for client in state.record.clients} == set(OF_PICTURES)
    for client in state.record.clients:
        records = broker.read_ranges(announced(context, client.client).ranges, 5)
        got_x, got_y = decode_in_order(state.record, client, records)
        np.testing.assert_array_equal(got_x, x)
        np.testing.assert_array_equal(got_y, y)
    assert verify_run(context.store, "r", brokers=context.brokers).problems == []


@pytest.fixture(scope="module")
def of_pictures():
    """A published Keras model that was trained on AVRO records."""
    context = context_of()
    network = keras.Sequential(
        [keras.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    )
    network.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    add_model(context.store, "pictures", save_keras(network))
    send_dataset(context.brokers.at(""), "a", "a", *pictures(1, 40), format="AVRO", validation_rate=0.2)
    run_inprocess({**SPEC, "rounds": 1, "model": "pictures"}, context=context)
    return context


@pytest.mark.parametrize("name", OF_PICTURES)
def test_records_of_every_format_are_predicted(of_pictures, name):
    x, y = pictures(2, 6)
    codec = codec_class(name).from_sample(x[0], y[0])
    values = [codec.encode(sample, None)[0] for sample in x]
    config = {field: said for field, said in codec.config().items() if field not in ("label_type", "label_reshape")}
    got = predicted(of_pictures, "pictures", StreamFormat(name, config), values)
    file = of_pictures.store.get(ModelKeys("pictures").version(1, "model.keras"))
    np.testing.assert_allclose(got, load_keras(file).predict(x, verbose=0), rtol=1e-5, atol=1e-7)
    if name == "AVRO":
        np.testing.assert_array_equal(predicted(of_pictures, "pictures", None, values), got)


TEXTS = ["a good day", "what a good cat", "good, and good again", "a bad day", "what a bad cat", "bad, and bad again"]


def reader(*others):
    """Return the layers that read a text: words become numbers in the model itself."""
    words = keras.layers.TextVectorization(vocabulary=["good", "bad", "day", "cat"], output_sequence_length=6)
    return [words, keras.layers.Embedding(6, 4), keras.layers.GlobalAveragePooling1D(), *others]


def test_a_model_learns_from_texts_whose_labels_are_names():
    context = context_of()
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [keras.Input((1,), dtype="string"), *reader(keras.layers.Dense(2, activation="softmax"))]
    )
    network.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    description = add_model(context.store, "mood", save_keras(network))
    assert (description.input_shape, description.inputs[""].dtype) == ([1], "string")
    broker, writer = context.brokers.at(""), context.brokers.at("").writer()
    for number in range(60):
        writer.write("posts", TEXTS[number % 6].encode(), b"happy" if number % 6 < 3 else b"sad")
    said = DataAnnouncement(
        topic="posts:0:0:60",
        input_format="TEXT",
        input_config={"label_type": "string"},
        classes=["sad", "happy"],
        validation_rate=0.2,
        client="posts",
    )
    writer.write(DATA_CONTROL_TOPIC, said.to_bytes(), UNLABELLED)
    unnamed = said.model_copy(update={"client": "unnamed", "classes": []})
    writer.write(DATA_CONTROL_TOPIC, unnamed.to_bytes(), UNLABELLED)
    pixels = np.zeros((30, 1), np.float32)
    send_dataset(broker, "pixels", "pixels", pixels, np.zeros(30, np.uint8))
    run_inprocess({**SPEC, "model": "mood", "epochs": 5}, context=context)
    state = context.run("r")
    reasons = {row.client: row.reason for row in state.record.announcements}
    assert reasons["posts"] == "takes part"
    assert "labels that are text, but announces no classes" in reasons["unnamed"]
    assert "has input (1,) of text, which does not fit the stream's records of shape (1,)" in reasons["pixels"]
    commit = state.ledger.commits()[-1]
    assert commit.metrics.values["accuracy"] == 1.0
    assert state.slice(1, "posts").class_counts == {"0": 30, "1": 30}
    assert verify_run(context.store, "r", brokers=context.brokers).problems == []
    assert predicted(context, "mood", None, [b"good cat", b"bad cat"]).argmax(axis=1).tolist() == [1, 0]
    names = replace(StreamFormat("JSON", {}), config={"fields": ["text"], "data_type": "string"})
    assert predicted(context, "mood", names, [b'{"text": "bad day"}']).argmax(axis=1).tolist() == [0]


@pytest.mark.parametrize("format", ["JSON", "AVRO", "CONFLUENT_JSON", "CONFLUENT_AVRO"])
def test_a_model_with_several_inputs_gets_each_of_them(format):
    context = context_of()
    keras.utils.set_random_seed(1)
    vitals, note = keras.Input((2,), name="vitals"), keras.Input((1,), dtype="string", name="note")
    read = note
    for layer in reader():
        read = layer(read)
    output = keras.layers.Dense(2, activation="softmax")(keras.layers.Concatenate()([vitals, read]))
    network = keras.Model([vitals, note], output)
    network.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    description = add_model(context.store, "patient", save_keras(network))
    assert {name: (one.shape, one.dtype) for name, one in description.inputs.items()} == {
        "vitals": ([2], "float32"),
        "note": ([1], "string"),
    }
    x = np.zeros(60, [("vitals", np.float32, (2,)), ("note", object, (1,))])
    x["note"] = np.array([TEXTS[number % 6] for number in range(60)], object)[:, None]
    x["vitals"] = np.random.default_rng(0).normal(size=(60, 2))
    y = (np.arange(60) % 6 < 3).astype(np.uint8)
    broker = context.brokers.at("")
    send_dataset(broker, "ward", "ward", x, y, format=format, validation_rate=0.2)
    send_dataset(broker, "flat", "flat", x["vitals"], y)
    run_inprocess({**SPEC, "model": "patient", "clients": ["ward"], "epochs": 5}, context=context)
    state = context.run("r")
    assert state.ledger.commits()[-1].metrics.values["accuracy"] == 1.0
    assert verify_run(context.store, "r", brokers=context.brokers).problems == []
    codec = codec_class(format).from_sample(x[0], y[0])
    values = [codec.encode(sample, None)[0] for sample in x[:8][list(codec.data_dtype.names)]]
    assert predicted(context, "patient", None, values).argmax(axis=1).tolist() == y[:8].tolist()
    with pytest.raises(RunError, match=r"has input note \(1,\) of text, vitals \(2,\), which does not fit"):
        run_inprocess({**SPEC, "run": "other", "model": "patient", "clients": ["flat"]}, context=context)
