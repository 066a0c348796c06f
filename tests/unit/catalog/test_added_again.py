"""A model file that is added again, after another version of fedstream described it."""

from __future__ import annotations

import json

import pytest

from fedstream.catalog.models import add_model
from fedstream.errors import ModelError
from fedstream.model.numpy_learner import SoftmaxModel
from fedstream.record.canonical import canonical_json
from fedstream.record.layout import ModelKeys
from fedstream.store.memory import MemoryStore

FILE = SoftmaxModel(input_shape=[2], classes=3).to_bytes()


def test_a_description_that_an_earlier_version_wrote_counts() -> None:
    store = MemoryStore()
    key = ModelKeys("mine").initial(add_model(store, "mine", FILE).keras_digest, "json")
    described = json.loads(store.get(key))
    for variable in described["variables"]:
        del variable["trainable"]
    store.remove(key)
    store.put_new(key, canonical_json(described))
    again = add_model(store, "mine", FILE)
    assert [variable.trainable for variable in again.variables] == [None, None]


def test_other_names_of_the_same_file_are_refused() -> None:
    store = MemoryStore()
    add_model(store, "mine", FILE, features=["a", "b"])
    with pytest.raises(ModelError, match="already added as 'mine' with different names of columns or classes"):
        add_model(store, "mine", FILE, features=["b", "a"])
