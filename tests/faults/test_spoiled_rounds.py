"""A few records of one owner must not ruin the model of all; and where nobody looked, the run can go back."""

import numpy as np
import pytest
from support.data import blobs

from fedstream.audit import verify_run
from fedstream.record.weights import from_bytes
from fedstream.steps.rollback import rollback
from fedstream.store.state import RunState
from fedstream.stream.send import send_dataset


@pytest.fixture(scope="module")
def owners(platform):
    """Three clients, one of whom has scaled 4 of 94 records by 1e6. Their names seed the order of training."""
    names = ["spoiled-a", "spoiled-b", "spoiled-evil"]
    for seed, name in enumerate(names):
        x, y = blobs(seed, 94)
        if name.endswith("evil"):
            x[:4] *= np.float32(1e6)
        send_dataset(platform.kafka, name, name, x, y)
    return names


def test_an_outlier_gets_a_verdict_and_the_others_a_model(place, zygote, owners, spec):
    answer = zygote.run(place.env, {**spec, "clients": owners, "min_clients": 2})
    assert answer == {"signal": 0, "version": 1}, zygote.tail()
    for commit in place.commits[1:3]:
        verdicts = {entry.client: entry for entry in commit.clients}
        assert [verdicts[name].accepted for name in owners] == [True, True, False]
        assert "outlier_bound allows 10 times" in verdicts[owners[2]].reason
    assert verify_run(place.store, "r").problems == []


def test_a_model_that_was_spoiled_is_gone_back_behind(place, zygote, owners, spec):
    values = {**spec, "clients": owners, "min_clients": 1, "outlier_bound": 0, "rounds": 1}
    zygote.run(place.env, values)
    state = RunState(place.store, "r")
    spoiled = from_bytes(place.store.get(state.keys.at(1).weights), "global")
    assert max(float(np.abs(array).max()) for array in spoiled.values()) > 1e3, "finite, and useless"
    commit = rollback(RunState(place.store, "r"), 0)
    assert (commit.kind, commit.weights_digest) == ("rollback", place.commits[0].weights_digest)
    assert verify_run(place.store, "r").problems == []
    assert RunState(place.store, "r").next_round(1) == (commit.round + 1, "training")
