"""A trace says what a slow scan of all commits says, and tells rejected, undone, held-out and inherited apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.federation import federation, run
from support.ledgers import HELD_OUT, TOPIC, TRAINED, WrittenRun, digest, held_out

import fedstream
from fedstream.audit.question import Question
from fedstream.audit.trace import trace, trace_records
from fedstream.catalog.aliases import promote
from fedstream.catalog.versions import find_version
from fedstream.errors import RunError, UsageError
from fedstream.model.split import split_mask
from fedstream.record.commit import ClientEntry
from fedstream.record.layout import ModelKeys, RunKeys
from fedstream.store.ledger import Ledger
from fedstream.store.memory import MemoryStore
from fedstream.stream.search import Search

PLAN = {"a": f"{TOPIC}:0:0:20", "b": f"{TOPIC}:1:0:20,other:0:0:20"}


def slow_uses(store, run, partition, offset):
    """Return (round, client, digest, held out, counts) of each use, by looking at every range of every commit."""
    commits = Ledger(store, run).commits()
    reached, number = set(), len(commits) - 1
    while number >= 0:
        reached.add(number)
        number = number - 1 if commits[number].restores is None else commits[number].restores
    return [
        (commit.round, entry.client, entry.update_digest, held_out(partition, offset), commit.round in reached)
        for commit in commits
        if commit.kind == "training"
        for entry in commit.clients
        if entry.accepted
        and any((r.topic, r.partition) == (TOPIC, partition) and r.start <= offset < r.end for r in entry.ranges)
    ]


def slow_learned(store, run, partition, offset):
    """Return the rounds whose model builds on a record, from the first round to the last."""
    used = {use[0] for use in slow_uses(store, run, partition, offset)} if not held_out(partition, offset) else set()
    learned = {}
    for commit in Ledger(store, run).commits():
        base = commit.round - 1 if commit.restores is None else commit.restores
        learned[commit.round] = commit.round in used or learned.get(base, False)
    return {round for round, has in learned.items() if has}


ranges = st.tuples(st.integers(0, 18), st.integers(1, 6)).map(lambda at: (at[0], at[0] + at[1]))
rounds = st.one_of(
    st.tuples(st.just("training"), ranges, ranges, st.sets(st.sampled_from("ab"))),
    st.tuples(st.just("closing"), ranges, ranges, st.just(set())),
    st.tuples(st.just("rollback"), st.integers(0, 10)),
)


def written(histories):
    """Write runs, and publish every round of them."""
    store, version = MemoryStore(), 0
    for number, history in enumerate(histories):
        made = WrittenRun(store, f"r{number}", PLAN)
        for kind, *how in history:
            if kind == "rollback":
                made.roll_back(how[0] % (made.head + 1))
                continue
            (start, end), (other, last), rejected = how
            slices = {"a": f"{TOPIC}:0:{start}:{end}", "b": f"{TOPIC}:1:{other}:{last},other:0:0:20"}
            made.train(slices, tuple(rejected), kind)
        for round in range(1, made.head + 1):
            version += 1
            made.publish(version, round)
    return store


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(rounds, max_size=8), min_size=1, max_size=3),
    st.integers(0, 1),
    st.integers(0, 24),
    st.sampled_from(["no index", "an index", "an old index"]),
)
def test_it_says_what_a_scan_of_all_commits_says(histories, partition, offset, index):
    store = written(histories)
    if index == "an old index":
        older = written([history[: len(history) // 2] for history in histories])
        for number in range(len(histories)):
            trace_records(older, Question.of(TOPIC, 0, 0), rebuild=True)
            store.put_new(RunKeys(f"r{number}").trace, older.get(RunKeys(f"r{number}").trace))
    elif index == "an index":
        trace_records(store, Question.of(TOPIC, 0, 0), rebuild=True)
    found = trace(TOPIC, partition, offset, store=store)
    assert found.problems == []
    runs = [f"r{number}" for number in range(len(histories))]
    assert [
        (traced.run, use.round, use.client, use.update_digest, bool(use.held_out), use.counts)
        for traced in found.runs
        for use in traced.uses
    ] == [(name, *use) for name in runs for use in slow_uses(store, name, partition, offset)]
    learned = {(name, round) for name in runs for round in slow_learned(store, name, partition, offset)}
    assert {(version.run, version.round) for version in found.learned} == learned


def test_a_real_run_is_traced_as_it_was_split():
    context = federation()
    state = run(context)
    matched = state.record.client("north")
    mask = split_mask(state.record.spec.seed, np.zeros(80, int), np.arange(80), matched.held_out_rate)
    commits = state.ledger.commits()
    for offset in range(80):
        (traced,) = trace("north", 0, offset, store=context.store).runs
        assert [(use.round, use.trained, use.held_out) for use in traced.uses] == [
            (round, int(not mask[offset]), int(mask[offset])) for round in (1, 2, 3)
        ]
        assert [use.update_digest for use in traced.uses] == [
            next(entry.update_digest for entry in commits[round].clients if entry.client == "north")
            for round in (1, 2, 3)
        ]
    assert trace("north", 0, 80, store=context.store).runs == []


@pytest.fixture
def store():
    return MemoryStore()


def test_rejected_updates_are_not_listed(store):
    made = WrittenRun(store, "r", PLAN)
    made.train({"a": PLAN["a"]}, rejected=("a",))
    assert trace(TOPIC, 0, TRAINED, store=store).runs == []


def test_a_closing_round_trains_on_nothing(store):
    WrittenRun(store, "r", PLAN).train({"a": PLAN["a"]}, kind="closing")
    assert trace(TOPIC, 0, TRAINED, store=store).runs == []


def test_rounds_that_were_rolled_back_are_told_as_such_and_their_versions_have_learned(store):
    made = WrittenRun(store, "r", PLAN)
    made.train({"b": PLAN["b"]})
    made.train({"a": PLAN["a"]})
    made.publish(1, 2)
    (traced,) = trace(TOPIC, 0, TRAINED, store=store).runs
    assert (traced.undone, traced.clean_round) == ([], 1)
    made.roll_back(1)
    made.train({"b": PLAN["b"]})
    made.publish(2, 4)
    found = trace(TOPIC, 0, TRAINED, store=store)
    (traced,) = found.runs
    assert (traced.undone, traced.clean_round) == ([2], None)
    assert [(version.name, version.latest) for version in found.versions] == [("mine@1", False)]
    assert found.clean == {"mine": 2}


def test_a_held_out_record_has_measured_models_and_taught_none(store):
    made = WrittenRun(store, "r", PLAN)
    made.train({"a": PLAN["a"]})
    made.publish(1, 1)
    found = trace(TOPIC, 0, HELD_OUT, store=store)
    assert [(version.name, version.trained) for version in found.versions] == [("mine@1", False)]
    assert found.learned == []
    assert found.runs[0].clean_round is None


@pytest.mark.parametrize("link", ["file", "weights"])
def test_runs_that_start_from_a_version_inherit_from_it_and_so_do_theirs(store, link):
    first = WrittenRun(store, "first", PLAN)
    first.train({"a": PLAN["a"]})
    first.publish(1, 1)
    WrittenRun(store, "unrelated", {"c": "c:0:0:9"}).train({"c": "c:0:0:9"})
    file = digest("first", 1, "keras")
    if link == "weights":
        file = digest("saved again")
        first.publish(2, 1, weights_digest=digest(file, "weights"))
    second = WrittenRun(store, "second", {"c": "c:0:0:9"}, initial=file)
    second.train({"c": "c:0:0:9"})
    second.publish(3, 1)
    third = WrittenRun(store, "third", {"c": "c:0:0:9"}, initial=digest("second", 1, "keras"))
    third.train({"c": "c:0:0:9"})
    third.publish(4, 1)
    found = trace(TOPIC, 0, TRAINED, store=store)
    begun = "mine@1" if link == "file" else "mine@2"
    assert {version.name: version.inherited_from for version in found.learned if version.version > 2} == {
        "mine@3": begun,
        "mine@4": "mine@3",
    }
    assert {traced.run: traced.inherited_from for traced in found.runs} == {
        "first": "",
        "second": begun,
        "third": "mine@3",
    }
    assert [v.run for v in trace(TOPIC, 0, TRAINED, run="first", store=store).versions if v.version > 2] == []


def test_what_is_served_is_told(store):
    made = WrittenRun(store, "r", PLAN)
    made.train({"a": PLAN["a"]})
    made.publish(1, 1)
    made.publish(2, 1)
    promote(store, find_version(store, "mine", 1), "champion")
    found = trace(TOPIC, 0, TRAINED, store=store).versions
    assert [(v.name, v.latest, v.aliases, v.served) for v in found] == [
        ("mine@1", False, ["champion"], True),
        ("mine@2", True, [], True),
    ]


def test_the_evaluation_topic_is_told(store):
    WrittenRun(store, "r", PLAN, evaluation="exam:0:0:9")
    (traced,) = trace("exam", 0, 8, store=store).runs
    assert (traced.evaluated, traced.uses) == (True, [])
    assert trace("exam", 0, 9, store=store).runs == []


def test_a_search_asks_the_brokers_of_the_clients_and_no_others(store):
    WrittenRun(store, "far", {"a": f"{TOPIC}:0:0:20"}, changes={"bootstrap_servers": "far:9092"}).train(
        {"a": f"{TOPIC}:0:0:20"}
    )
    WrittenRun(store, "near", {"b": f"{TOPIC}:0:0:20"}).train({"b": f"{TOPIC}:0:0:20"})
    WrittenRun(store, "unrelated", {"c": "c:0:0:20"}, changes={"bootstrap_servers": "other:9092"})
    asked = []

    def find(address, topic, partition, wanted):
        asked.append((address, topic, partition, wanted.key))
        return Search({0: [TRAINED] if address else [HELD_OUT, 30]}, 40)

    found = trace_records(store, Question.of(TOPIC, key="p-1"), find=find)
    assert asked == [("", TOPIC, None, b"p-1"), ("far:9092", TOPIC, None, b"p-1")]
    assert (found.looked_at, found.records) == (80, 3)
    assert [(t.run, t.uses[0].trained, t.uses[0].held_out) for t in found.runs] == [("far", 1, 0), ("near", 0, 1)]
    assert "p-1" not in found.model_dump_json()


def test_a_topic_that_no_run_has_used_asks_no_broker(store):
    WrittenRun(store, "r", PLAN)
    found = trace_records(store, Question.of("nowhere", key="p-1"), find=None)
    assert (found.runs, found.records, found.runs_searched) == ([], 0, 1)


def test_a_damaged_run_and_a_foreign_version_are_named(store):
    for name in ("good", "bad"):
        WrittenRun(store, name, PLAN).train({"a": PLAN["a"]})
    key = RunKeys("bad").spec
    store.put_if_match(key, store.get(key).replace(b"urgent", b"URGENT"), store.get_with_etag(key)[1])
    made = WrittenRun(store, "third", PLAN)
    made.publish(1, 0)
    made.publish(2, 0)
    key = ModelKeys("mine").version(1, "manifest.json")
    forged = store.get(key).replace(Ledger(store, "third").digest(0).encode(), b"f" * 64)
    store.put_if_match(key, forged, store.get_with_etag(key)[1])
    gone = key.replace("/1/", "/2/")
    store.put_if_match(gone, store.get(gone).replace(b"third", b"lost!"), store.get_with_etag(gone)[1])
    found = trace(TOPIC, 0, TRAINED, store=store)
    assert [traced.run for traced in found.runs] == ["good"]
    assert found.problems == [
        "run 'bad' cannot be read: its spec.json and its commits do not fit together; see `fedstream verify bad`",
        f"{key} names no commit of run 'third'; see `fedstream verify third`",
        f"{gone} belongs to run 'lost!', which is not in this bucket",
    ]


def test_a_run_without_its_plan_is_named_if_it_has_commits(store):
    WrittenRun(store, "r", PLAN).train({"a": PLAN["a"]})
    store.remove(RunKeys("r").spec)
    store.put_new("runs/begun/opened", b"{}")
    found = trace(TOPIC, 0, TRAINED, store=store)
    assert found.problems == ["run 'r' cannot be read: it has commits, but no runs/r/spec.json"]


def test_each_kind_of_offsets_in_a_commit_is_traced():
    """Whoever adds another kind decides in fedstream.record.provenance whether an update was trained on it."""
    kinds = {name for name, field in ClientEntry.model_fields.items() if "SliceRange" in str(field.annotation)}
    assert kinds == {"ranges", "unlabelled"}


def test_one_run_is_searched_and_must_be_there(store):
    for name in ("r1", "r2"):
        WrittenRun(store, name, PLAN).train({"a": PLAN["a"]})
    found = fedstream.trace(TOPIC, 0, TRAINED, run="r2", store=store)
    assert ([traced.run for traced in found.runs], found.runs_searched) == (["r2"], 1)
    with pytest.raises(RunError, match="there is no run 'r3' in this bucket"):
        trace(TOPIC, 0, TRAINED, run="r3", store=store)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({}, "name the record by one of offset, key and timestamp"),
        ({"offset": 1, "partition": 0, "key": "k"}, "name the record by one of offset, key and timestamp"),
        ({"offset": 1}, "name the partition, such as 0"),
        ({"offset": -1, "partition": 0}, "no record has partition 0 and offset -1; both begin with 0"),
        ({"offset": 1, "partition": 2**31}, "no record has partition 2147483648 and offset 1"),
        ({"topic": "no topic", "key": "k"}, "'no topic' is no topic name"),
        ({"timestamp": "yesterday"}, "timestamp 'yesterday' is not a time such as 2026-01-31T12:00:00"),
        ({"timestamp": "2026-01-31"}, "timestamp '2026-01-31' is not a time such as"),
        ({"timestamp": "0"}, "timestamp 0 is not a number of milliseconds since 1970"),
    ],
)
def test_a_question_that_names_no_record_is_refused(question, reason):
    with pytest.raises(UsageError) as refused:
        Question.of(**{"topic": TOPIC} | question)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("timestamp", "first", "milliseconds"),
    [
        ("2026-01-31T12:00:00", 1769860800000, 1000),
        ("2026-01-31T13:00:00+01:00", 1769860800000, 1000),
        ("2026-01-31T12:00:00.250", 1769860800250, 1),
        ("1769860800123", 1769860800123, 1),
        (1769860800123, 1769860800123, 1),
    ],
)
def test_a_time_covers_a_second_or_a_millisecond(timestamp, first, milliseconds):
    wanted = Question.of(TOPIC, timestamp=timestamp).wanted
    assert (wanted.since_ms, wanted.until_ms) == (first, first + milliseconds)
