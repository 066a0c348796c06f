"""The index of a trace: quick, made again at any time, and never believed alone."""

from __future__ import annotations

import json

import pytest
from support.federation import federation, run
from support.ledgers import TOPIC, WrittenRun, digest

from fedstream.audit import verify_run
from fedstream.audit.index import COMPARED, read_index, rebuild_index
from fedstream.audit.question import Question
from fedstream.audit.trace import trace, trace_records
from fedstream.errors import ObjectNotFound
from fedstream.record.canonical import canonical_json
from fedstream.record.layout import RunKeys
from fedstream.store.memory import MemoryStore

ROUNDS = 40
KEY = RunKeys("r").trace
ASKED = Question.of(TOPIC, 0, 3)


class ReadOnlyStore(MemoryStore):
    """A store whose key can only read."""

    def put_if_match(self, key, data, etag):
        raise AssertionError(f"{key} is written")


@pytest.fixture
def made():
    made = WrittenRun(MemoryStore(), "r", {"a": f"{TOPIC}:0:0:20"})
    for _ in range(ROUNDS):
        made.train({"a": f"{TOPIC}:0:0:20"})
    return made


@pytest.fixture
def store(made):
    return made.store


def edit(store, change):
    """Change the index as someone with the bucket's keys can."""
    data, etag = store.get_with_etag(KEY)
    document = json.loads(data)
    change(document)
    store.put_if_match(KEY, canonical_json(document), etag)


def read_only(store):
    copy = ReadOnlyStore()
    copy.objects = store.objects
    return copy


def test_it_is_written_on_request_alone_and_reading_needs_no_other_right(store):
    before = trace_records(read_only(store), ASKED)
    assert before.commits_read == ROUNDS + 1
    with pytest.raises(ObjectNotFound):
        store.get(KEY)
    assert trace_records(store, ASKED, rebuild=True) == before
    after = trace_records(read_only(store), ASKED)
    assert COMPARED <= after.commits_read <= COMPARED + 1  # the last commit, and those chosen at random
    assert after.problems == []
    assert after.model_copy(update={"commits_read": before.commits_read}) == before


def test_only_newer_commits_are_read_and_the_index_made_at_once_is_the_same(store, made):
    rebuild_index(store, "r")
    number = made.train({"a": f"{TOPIC}:0:5:25"})
    grown = read_index(store, "r")
    assert len(grown.index.commits) == number + 1
    assert grown.commits_read <= COMPARED + 2
    assert rebuild_index(store, "r").index == grown.index
    assert [use.round for use in trace(TOPIC, 0, 24, store=store).runs[0].uses] == [number]


def test_an_index_that_hides_every_use_is_found_and_not_used(store):
    honest = trace(TOPIC, 0, 3, store=store)
    rebuild_index(store, "r")
    edit(store, lambda index: index.update(slices=[]))
    found = trace(TOPIC, 0, 3, store=store)
    assert found.runs == honest.runs
    (problem,) = found.problems
    assert problem.startswith(f"{KEY} was not used, because it differs from the commit of round ")
    assert problem.endswith("`fedstream trace --index` makes it again from the commits")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda index: index.update(run="s"), "traces/r.json is the index of run 's'"),
        (lambda index: index["commits"][ROUNDS].update(digest="f" * 64), f"it knows another commit of round {ROUNDS}"),
        (
            lambda index: index["commits"].append({"digest": "f" * 64, "kind": "training", "restores": None}),
            f"it knows round {ROUNDS + 1}, which is not committed",
        ),
        (lambda index: index["slices"][0]["updates"].append([ROUNDS + 1, "f" * 64]), "is no RunIndex"),
        (lambda index: index["commits"][1].update(restores=1), "is no RunIndex"),
        (lambda index: index.update(more=1), "is no RunIndex (more)"),
    ],
)
def test_an_index_that_cannot_be_the_run_s_is_not_used(store, change, reason):
    honest = trace(TOPIC, 0, 3, store=store)
    rebuild_index(store, "r")
    edit(store, change)
    found = trace(TOPIC, 0, 3, store=store)
    assert reason in found.problems[0]
    assert found.runs == honest.runs
    assert trace_records(store, ASKED, rebuild=True).problems == []
    assert trace(TOPIC, 0, 3, store=store).problems == []


def test_an_index_of_a_run_that_was_deleted_and_made_again_is_not_used(store):
    rebuild_index(store, "r")
    other = MemoryStore()
    made = WrittenRun(other, "r", {"a": f"{TOPIC}:0:0:9"}, initial=digest("another"))
    for _ in range(ROUNDS + 5):
        made.train({"a": f"{TOPIC}:0:0:9"})
    other.put_new(KEY, store.get(KEY))
    found = trace(TOPIC, 0, 3, store=other)
    assert "was not used, because it knows another commit of round" in found.problems[0]
    assert len(found.runs[0].uses) == ROUNDS + 5
    assert trace(TOPIC, 0, 12, store=other).runs == []


def test_an_index_that_hides_one_round_is_found_by_verify():
    store = run(federation()).store
    assert verify_run(store, "r").ok
    rebuild_index(store, "r")
    honest = verify_run(store, "r")
    assert honest.ok
    edit(store, lambda index: index["slices"][0]["updates"].pop(1))
    (problem,) = verify_run(store, "r").problems
    assert (problem.key, problem.what) == (
        KEY,
        "differs from the commits of the run; `fedstream trace --index` makes it again from the commits",
    )


def test_an_index_tells_verify_that_rounds_were_removed():
    state = run(federation())
    rebuild_index(state.store, "r")
    last = state.ledger.commits()[-1].round
    for info in state.store.list(state.keys.at(last).root):
        state.store.remove(info.key)
    for info in state.store.list("models/builtin-numpy-softmax/versions/"):
        state.store.remove(info.key)
    state.store.remove("models/builtin-numpy-softmax/latest.json")
    (problem,) = verify_run(state.store, "r").problems
    assert problem.key == KEY
    assert problem.what == f"knows {last + 1} commits, but the run has {last}: commits were removed since then"


def test_an_index_that_is_too_large_is_not_written(store, monkeypatch):
    monkeypatch.setattr("fedstream.audit.index.DOCUMENT_BYTES", 1000)
    found = trace_records(store, ASKED, rebuild=True)
    assert "bytes and is not written, because at most 1,000 are read" in found.problems[0]
    assert len(found.runs[0].uses) == ROUNDS
    assert not store.exists(KEY)
