"""The functions of `import fedstream`, on a real Kafka and a real store."""

from __future__ import annotations

import numpy as np
import pytest
from support.data import blobs

import fedstream
from fedstream.errors import ModelError, UsageError


@pytest.mark.usefixtures("platform_env", "home")
def test_from_the_first_record_to_a_prediction(topic, capsys):
    owners = [f"{topic}-{place}" for place in ("north", "south")]
    said = [fedstream.send(*blobs(seed, 120), client=owner, validation_rate=0.2) for seed, owner in enumerate(owners)]
    assert [(one.client, one.total_msg) for one in said] == [(owner, 120) for owner in owners]
    layers = fedstream.keras.layers
    model = fedstream.keras.Sequential([fedstream.keras.Input((8, 8)), layers.Flatten(), layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    assert fedstream.add_model(model, "mine").parameters == 650
    done = fedstream.run("first", model="mine", clients=owners, rounds=2, epochs=20, batch_size=5)
    assert (done.finished, done.version, done.reason, done.rounds) == (True, 1, "", 2)
    assert done.absent == []
    assert capsys.readouterr().out.splitlines()[0].startswith("round 1 of 2: 2/2 clients, ")
    assert list(fedstream.history("first").rounds["round"]) == [0, 1, 2, 3]
    assert fedstream.show_report("first").html.startswith("<!DOCTYPE html>")
    x, y = blobs(9, 50)
    predicted = fedstream.predict("mine", x)
    assert np.array_equal(predicted, fedstream.predict(fedstream.load_model("mine@1"), x))
    assert (predicted.argmax(axis=1) == y).mean() > 0.5
    with pytest.raises(ModelError, match=r"the model expects samples of shape \(8, 8\), but these have shape \(64,\)"):
        fedstream.predict("mine", x.reshape(50, 64))
    with pytest.raises(ModelError, match="has no version 'champion'"):
        fedstream.load_model("mine@champion")
    with pytest.raises(UsageError, match="is not a valid model name"):
        fedstream.add_model(model, "no name")
    fedstream.send(x, np.full(50, 99), client=(third := f"{topic}-east"))
    less = fedstream.run("third", model="mine", clients=[*owners, third], rounds=1, min_clients=2)
    (absence,) = less.absent
    assert (absence.client, absence.rounds, absence.closing_passes) == (third, [1], 1)
    assert f"{third} did not take part in round 1 and a closing pass: label 99 of record 0" in capsys.readouterr().out
    with pytest.raises(UsageError, match="epochs: "):
        fedstream.run("second", model="mine", epochs=0)
