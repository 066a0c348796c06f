"""`fedstream trace` on the folder of a simulation, which needs no server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedstream.model.split import split_mask

SIMULATE = "simulate --model builtin:numpy-softmax --batch-size 10 --clients 4 --rounds 2 --store kept --publish always"


@pytest.fixture
def trace(command):
    """Simulate a run, and return a function that traces in it."""
    assert command(f"{SIMULATE} --name first")[0] == 0
    return lambda words: command(f"trace --store kept {words}")


@pytest.fixture
def used(trace):
    """Return the topic, the partition and the offset of a record that client-1 trained on."""
    (spec,) = Path("kept/runs").glob("first/spec.json")
    record = json.loads(spec.read_text())
    client = record["clients"][0]
    topic, partition, start, _ = client["ranges"].split(",")[0].split(":")
    offsets = np.arange(int(start), int(start) + 20)
    held_out = split_mask(record["spec"]["seed"], np.full(20, int(partition)), offsets, client["held_out_rate"])
    return topic, int(partition), int(offsets[~held_out][0])


def test_it_names_rounds_client_digest_and_model(trace, used):
    code, said, err = trace("--topic {} --partition {} --offset {}".format(*used))
    assert (code, err) == (0, "")
    assert "1 published model has learned from it; it is served. (1 run searched)" in said
    assert "run first: trained on in rounds 1–2" in said
    code, out, _ = trace("--topic {} --partition {} --offset {} --json".format(*used))
    found = json.loads(out)
    assert [(use["round"], use["client"], use["trained"]) for use in found["runs"][0]["uses"]] == [
        (1, "client-1", 1),
        (2, "client-1", 1),
    ]
    assert all(use["update_digest"] in said for use in found["runs"][0]["uses"])
    assert [(version["version"], version["latest"]) for version in found["versions"]] == [(1, True)]


def test_an_index_is_written_when_asked_for_and_then_used(trace, used):
    asked = "--topic {} --partition {} --offset {} --json".format(*used)
    assert not Path("kept/traces").exists()
    first = json.loads(trace(f"{asked} --index")[1])
    assert Path("kept/traces/first.json").is_file()
    assert json.loads(trace(f"{asked} --run first")[1]) == first


def test_a_page_is_written(trace, used):
    code, out, _ = trace("--topic {} --partition {} --offset {} --html withdrawn.html".format(*used))
    assert code == 0
    assert out.endswith("wrote withdrawn.html\n")
    assert "fedstream rollback first --to 0" in Path("withdrawn.html").read_text()


@pytest.mark.parametrize(
    "words", ["--topic nowhere --partition 0 --offset 1", "--topic {} --partition {} --offset 999999"]
)
def test_a_record_that_no_run_used_is_an_answer_and_no_error(trace, used, words):
    code, out, err = trace(words.format(*used))
    assert (code, err) == (0, "")
    assert out.rstrip().endswith("No model has used it. (1 run searched)")


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        ("--topic ward7", 2, "the records of a simulation end with it, so they cannot be searched; pass --offset"),
        ("--topic ward7 --offset 1", 2, "name the partition, such as 0"),
        ("--topic a/b --partition 0 --offset 1", 2, "'a/b' is no topic name"),
        ("--topic ward7 --partition 0 --offset 1 --run nobody", 1, "there is no run 'nobody' in this bucket"),
        ("--topic ward7 --partition 0 --offset 1 --run a/b", 2, "run 'a/b' is not a valid name"),
        ("--topic ward7 --partition 0 --offset 1 --html no/folder.html", 2, "cannot write 'no/folder.html'"),
    ],
)
def test_what_cannot_be_asked_is_refused(trace, words, code, reason):
    ended, _, err = trace(words)
    assert ended == code
    assert reason in err


def test_an_answer_that_may_be_incomplete_ends_with_1(trace, used):
    path = Path("kept/runs/first/rounds/0001/commit.json")
    path.write_bytes(path.read_bytes()[:-1])
    code, out, _ = trace("--topic {} --partition {} --offset {}".format(*used))
    assert code == 1
    assert "run 'first' cannot be read: runs/first/rounds/0001/commit.json is no Commit" in out
