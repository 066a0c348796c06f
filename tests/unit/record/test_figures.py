"""Figures stand in a commit only where there are some, and are bounded."""

import json

import pytest
from pydantic import ValidationError
from support.recorded import RUN, RecordedStore

from fedstream.record.canonical import canonical_json
from fedstream.record.commit import Commit

KEY = f"runs/{RUN}/rounds/0001/commit.json"


@pytest.fixture
def data():
    return RecordedStore("federated").objects[KEY]


def test_a_commit_from_before_figures_is_written_as_it_was(data):
    commit = Commit.model_validate_json(data)
    assert (commit.figures, commit.broadcast_digest) == ({}, None)
    assert canonical_json(commit.model_dump(mode="json")) == data


def test_figures_that_are_there_are_written_and_read(data):
    commit = Commit.model_validate_json(data).model_copy(
        update={"figures": {"norm": 1.5, "first": "a"}, "broadcast_digest": "0" * 64}
    )
    written = canonical_json(commit.model_dump(mode="json"))
    assert Commit.model_validate_json(written) == commit
    assert json.loads(written)["figures"] == {"first": "a", "norm": 1.5}


@pytest.mark.parametrize(
    "figures",
    [
        {"a": "x" * 20_001},
        {"a" * 61: 1.0},
        {"": 1.0},
        {"a": [1]},
        {"a": {"b": 1}},
        {"a": None},
        {str(number): 1 for number in range(31)},
    ],
)
def test_figures_are_few_and_short(data, figures):
    with pytest.raises(ValidationError):
        Commit.model_validate(json.loads(data) | {"figures": figures})
