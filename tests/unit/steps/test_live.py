"""Live runs: what is new since the last commit, each record once."""

import re
import threading
from dataclasses import replace

import pytest
from support.inprocess import NO_BUDGET, DyingStore, Killed
from support.live import SPEC, announce, commits, follow, grow, learned, online

from fedstream import steps
from fedstream.audit import verify_run
from fedstream.audit.streams import Streams
from fedstream.catalog.versions import list_versions
from fedstream.errors import QuorumError, RunError, SpecError
from fedstream.local.inprocess import InProcess
from fedstream.record.documents import SliceDoc
from fedstream.record.offsets import OffsetRange
from fedstream.record.spec import parse_spec
from fedstream.steps.ingest import describe_slice
from fedstream.steps.outcome import outcome
from fedstream.steps.rollback import rollback
from fedstream.steps.slices import SliceRecords, examples_of
from fedstream.store.state import RunState

KINDS = ["initial", "training"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Look for new records and announcements more often than once a second."""
    for module in ("live", "beginnings"):
        monkeypatch.setattr(f"fedstream.steps.{module}.AGAIN_S", 0.01)


def verified(context):
    return verify_run(context.store, "r", brokers=context.brokers).problems


def later(seconds, call):
    timer = threading.Timer(seconds, call)
    timer.start()
    return timer


def feed(**values):
    return {"feed": SPEC["feed"] | values}


def test_rounds_take_what_is_new_until_there_is_nothing():
    context, broker = online()
    grow(broker, "north", 250)
    grow(broker, "south", 40, seed=1)
    assert follow(context, rounds=5) == 0
    assert learned(context, "north") == ["north:0:0:100", "north:0:100:200", "north:0:200:250"]
    assert learned(context, "south") == ["south:0:0:40"]
    refused = [entry.reason for entry in commits(context)[2].clients if not entry.accepted]
    assert refused == ["fewer than 30 new records within 0.02 s"]
    assert verified(context) == []
    said = outcome(context.store, "r", 5, 0)
    assert (said["finished"], said["idle"]) == (False, "fewer than 30 new records within 0.02 s")


def test_a_submission_goes_on_where_the_last_one_stopped():
    context, broker = online()
    grow(broker, "north", 60)
    follow(context, rounds=2)
    follow(context, rounds=2)
    assert len(commits(context)) == 2, "nobody had new records"
    grow(broker, "north", 45)
    assert follow(context, rounds=2) > 0, "the budget is used up, so the run is published"
    assert learned(context, "north") == ["north:0:0:60", "north:0:60:105"]
    assert [commit.kind for commit in commits(context)] == [*KINDS, "training", "closing"]
    assert verified(context) == []


def test_a_run_whose_data_and_announcements_come_later_waits_for_them():
    context, broker = online("south")

    def arrive():
        grow(broker, "north", 50)
        announce(broker, "north")

    timer = later(0.3, arrive)
    grow(broker, "south", 50)
    follow(context, rounds=1, **feed(timeout_s=5), min_clients=2)
    timer.join()
    assert learned(context, "north") == ["north:0:0:50"]


def test_records_that_come_while_a_client_is_waited_for_count():
    context, broker = online()
    grow(broker, "north", 50)
    timer = later(0.3, lambda: grow(broker, "south", 50))
    follow(context, rounds=1, min_clients=2, **feed(timeout_s=5))
    timer.join()
    assert learned(context, "south") == ["south:0:0:50"]


def test_without_an_announcement_in_time_the_reason_is_that_of_the_plan():
    context, _ = online("north")
    with pytest.raises(RunError, match=r"client 'south' cannot take part: it has announced no stream"):
        follow(context)


def test_an_announced_batch_is_offered_to_its_end_and_the_next_one_follows():
    context, broker = online("south")
    grow(broker, "north", 150)
    announce(broker, "north", "north:0:10:60")
    follow(context)
    assert learned(context, "north") == ["north:0:10:60"]
    announce(broker, "north", "north:0:60:120")
    follow(context)
    assert learned(context, "north") == ["north:0:10:60", "north:0:60:120"]
    announce(broker, "north", "north:0:130:150")
    with pytest.raises(QuorumError, match=r"records north:0:120 to 129 are not announced, but later ones are"):
        follow(context)
    assert verified(context) == []


def test_records_that_cannot_be_used_are_passed_over_in_the_middle_and_at_the_end_of_a_slice():
    context, broker = online("north")
    skipping = {"clients": ["north"], "max_skipped": 2, "rounds": 5}
    for _ in range(2):
        grow(broker, "north", 20)
        broker.append("north", b"not a picture", b"7")
    follow(context, **skipping)
    grow(broker, "north", 40)
    follow(context, **skipping)
    assert learned(context, "north") == ["north:0:0:20,north:0:21:41", "north:0:42:82"]
    skipped = [[r.start for r in state_of(context).slice(round, "north").skipped] for round in (1, 2)]
    assert skipped == [[20, 41], [41]]
    assert verified(context) == []


def state_of(context):
    return replace(context).run("r")


def test_a_withdrawn_stream_takes_part_in_no_later_round():
    context, broker = online()
    grow(broker, "north", 60)
    follow(context, min_clients=1)
    grow(broker, "north", 60)
    announce(broker, "north", withdrawn=True)
    with pytest.raises(QuorumError, match="north withdrew its stream; announce it again to go on"):
        follow(context)
    announce(broker, "north")
    follow(context)
    assert learned(context, "north") == ["north:0:0:60", "north:0:60:120"]


def test_an_announcement_that_the_control_topic_has_dropped_still_counts():
    context, broker = online()
    grow(broker, "north", 60)
    follow(context)
    broker.forget("FEDERATED_DATA_CONTROL_TOPIC", 2)
    grow(broker, "north", 60)
    follow(context)
    assert learned(context, "north") == ["north:0:0:60", "north:0:60:120"]


def test_announcements_that_do_not_fit_the_plan_offer_nothing():
    context, broker = online()
    grow(broker, "north", 60)
    follow(context)
    grow(broker, "other", 60)
    announce(broker, "north", "other")
    announce(broker, "north", dataset_restrictions='{"site": "x"}')
    broker.append("FEDERATED_DATA_CONTROL_TOPIC", b"{", b"\0")
    follow(context)
    assert learned(context, "north") == ["north:0:0:60"]


def test_records_kept_before_the_run_was_planned_are_its_beginning():
    context, broker = online()
    grow(broker, "north", 100)
    broker.forget("north", 40)
    follow(context)
    assert learned(context, "north") == ["north:0:40:100"]


def test_records_lost_before_they_were_used_are_named():
    context, broker = online()
    grow(broker, "north", 60)
    follow(context)
    grow(broker, "north", 60)
    broker.forget("north", 80)
    with pytest.raises(QuorumError, match=r"records north:0:60 to 79 are no longer kept"):
        follow(context)


def test_two_clients_of_one_online_topic_are_refused():
    context, broker = online()
    announce(broker, "south", "north")
    with pytest.raises(RunError, match="client 'north' and client 'south' both stream topic 'north'; a record has one"):
        follow(context)


def test_announced_ranges_with_a_gap_are_refused_when_the_run_is_planned():
    context, broker = online("south")
    grow(broker, "north", 50)
    announce(broker, "north", "north:0:0:10,north:0:20:50")
    with pytest.raises(RunError, match=r"leaves out records north:0:10 to 19, and a live run leaves none out"):
        follow(context)


def test_a_slice_that_is_all_held_out_waits_for_a_record_to_train_on():
    context, broker = online()
    grow(broker, "north", 30)
    follow(context, rounds=10, **feed(at_least=1, at_most=1))
    assert len(learned(context, "north")) == len(commits(context)) - 1 < 10, "until a record that is held out"
    assert outcome(context.store, "r", 10, 0)["idle"] == "no new records within 0.02 s"


def test_a_round_that_fails_gives_the_same_records_again():
    context, broker = online()
    grow(broker, "north", 60)
    with pytest.raises(QuorumError, match="south: fewer than 30 new records"):
        follow(context, min_clients=2, rounds=1)
    grow(broker, "north", 60)
    grow(broker, "south", 50)
    follow(context, min_clients=2, rounds=1)
    assert learned(context, "north") == ["north:0:0:60"], "what has come since waits for the next round"
    assert learned(context, "south") == ["south:0:0:50"]
    assert verified(context) == []


@pytest.mark.parametrize("writes", range(2, 26, 3))
def test_a_killed_run_learns_nothing_twice(writes):
    context, broker = online()
    context = replace(context, store=DyingStore(None))
    grow(broker, "north", 130)
    grow(broker, "south", 60)
    context.store.left = writes
    with pytest.raises(Killed):
        follow(context)
    context.store.left = None
    grow(broker, "north", 40)
    follow(context)
    taken = [text.split(":") for text in learned(context, "north")]
    assert [int(start) for _, _, start, _ in taken] == [0, *(int(end) for *_, end in taken[:-1])]
    assert int(taken[-1][-1]) in (130, 170)
    assert learned(context, "south") == ["south:0:0:60"]
    assert verified(context) == []


def test_a_rollback_gives_the_records_back():
    context, broker = online()
    grow(broker, "north", 150)
    follow(context, rounds=5)
    rollback(RunState(context.store, "r"), 1)
    grow(broker, "north", 60)
    follow(context, rounds=5)
    accepted = [
        (commit.round, f"{r.start}:{r.end}")
        for commit in commits(context)
        for entry in commit.clients
        for r in entry.ranges
        if entry.client == "north" and commit.kind == "training"
    ]
    assert accepted == [(1, "0:100"), (2, "100:150"), (4, "100:200")]
    assert verified(context) == []


def open_round(context):
    """Plan the run and open its next round; return the steps of that round and its number."""
    slots = steps.plan_training.within(context, SPEC, NO_BUDGET)
    number, _ = steps.open_round.within(context, "r", SPEC["rounds"], "a", slots[0])
    return InProcess(context, "r", number, SPEC["rounds"], "a"), number


def attack(context, monkeypatch, start, end):
    """Run a round in which north, which can write its own objects, trains on other records than the feed gives it."""
    round, number = open_round(context)
    round.select_clients()
    state = context.run("r")
    client = state.record.client("north")
    read = SliceRecords(context.brokers.at("").read_ranges([OffsetRange("north", 0, start, end)], 1.0))
    document = describe_slice(state.spec, client, read, examples_of(state.record, client, read))
    key = state.keys.at(number).slice("north")
    state.put_new(key, document)
    with monkeypatch.context() as own:
        own.setattr("fedstream.steps.train.why_unexpected", lambda *_: "")
        steps.local_train.within(context, "r", number, "north", key, "a")
    return round


@pytest.mark.parametrize(
    ("start", "end", "said"), [(61, 120, "skips records: the next one of north:0 is 60"), (30, 120, "repeats records")]
)
def test_a_slice_that_skips_or_repeats_records_is_named(monkeypatch, start, end, said):
    context, broker = online()
    grow(broker, "north", 60)
    follow(context)
    grow(broker, "north", 60)
    grow(broker, "south", 60)
    round = attack(context, monkeypatch, start, end)
    round.client("south")
    round.aggregate([])
    round.evaluate()
    entries = {entry.client: entry for entry in commits(context)[-1].clients}
    assert not entries["north"].accepted
    assert said in entries["north"].reason
    assert entries["south"].accepted
    assert verified(context) == []


def test_a_slice_that_skips_records_and_was_accepted_is_found_by_verify(monkeypatch):
    context, broker = online()
    grow(broker, "north", 60)
    follow(context)
    grow(broker, "north", 60)
    round = attack(context, monkeypatch, 61, 120)
    with monkeypatch.context() as forger:
        forger.setattr("fedstream.steps.candidates.why_not_fed", lambda *_: "")
        round.aggregate([])
        round.evaluate()
    assert any("its range north:0:61:120 skips records" in problem.what for problem in verified(context))


def test_a_forged_summary_is_found_where_the_stream_is_read():
    context, broker = online()
    grow(broker, "north", 60)
    follow(context)
    key = "runs/r/rounds/0001/slices/north.json"
    document = context.store.get_json(key)
    document["summary"]["means"][0] += 1
    streams = Streams(RunState(context.store, "r"), context.brokers, 5.0)
    assert streams.check_slice(1, "north", SliceDoc(**document)) == "its summary is not that of its records"


INDEFINITE = {"indefinite": True, "rounds": 2, "target_metric": "accuracy", "improvement": 0.2}


def test_an_indefinite_run_publishes_when_its_metric_has_moved_and_goes_on():
    context, broker = online()
    grow(broker, "north", 100)
    assert follow(context, **INDEFINITE) == 1, "the first model"
    assert follow(context, **INDEFINITE) == 1, "nobody has new records, so it stays the same version"
    versions = []
    for _ in range(6):
        grow(broker, "north", 100)
        versions.append(follow(context, **INDEFINITE))
    assert [version for version in versions if version] == [*range(2, 2 + sum(map(bool, versions)))]
    assert 0 < sum(map(bool, versions)) < 6, "it has moved in some submissions, and not in others"
    newest_first = reversed(commits(context))
    measured = {c.measured_round: c.metrics.values["accuracy"] for c in newest_first if c.metrics}
    manifests = [
        context.store.get_json(f"models/builtin-numpy-softmax/versions/{number}/manifest.json")
        for number in range(1, max(versions) + 1)
    ]
    assert all(m["metrics"]["accuracy"] == measured[m["round"]] for m in manifests)
    assert [c.kind for c in commits(context)[:4]] == ["initial", "training", "closing", "training"]
    assert verified(context) == []
    said = outcome(context.store, "r", 2, 0)
    assert (said["finished"], "has not moved by 0.2 since version" in said["reason"]) == (False, True)


def test_a_submission_of_an_indefinite_run_runs_up_to_its_number_of_rounds():
    context, broker = online()
    grow(broker, "north", 1_000)
    follow(context, **INDEFINITE)
    assert [commit.kind for commit in commits(context)] == ["initial", "training", "training", "closing"]
    follow(context, **INDEFINITE)
    assert [commit.kind for commit in commits(context)[4:]] == ["training", "training", "closing"]


def test_an_indefinite_run_that_is_killed_publishes_all_the_same():
    context, broker = online()
    context = replace(context, store=DyingStore(None))
    grow(broker, "north", 200)
    writes = 3
    while True:
        context.store.left = writes
        try:
            follow(context, **INDEFINITE)
            break
        except Killed:
            writes += 3
    versions = list_versions(context.store, "builtin:numpy-softmax")
    assert len(versions) == 1
    assert context.store.get_json("models/builtin-numpy-softmax/latest.json")["version"] == versions[0]
    assert verified(context) == []


def test_an_indefinite_run_needs_new_records():
    with pytest.raises(SpecError, match=r'indefinite needs new records to go on with; set feed to \{"kind": "new"\}'):
        parse_spec({"run": "r", "model": "m", "indefinite": True})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "new", "at_least": 9, "at_most": 5}, "feed: at_least is 9, which is more than at_most, 5"),
        ({"at_least": 9}, 'feed: at_least has no effect on announced records; set kind to "new"'),
        ({"kind": "new", "timeout_s": 601}, "feed.timeout_s is 601, which is more than round_deadline_s, 600; raise"),
        ({"kind": "old"}, "feed.kind: Input should be 'announced' or 'new'"),
    ],
)
def test_a_feed_that_says_nothing_useful_is_refused(given, said):
    with pytest.raises(SpecError, match=re.escape(said)):
        parse_spec({"run": "r", "model": "m", "feed": given, "round_deadline_s": 600})


def test_a_run_without_a_feed_keeps_the_bytes_of_its_record():
    context, broker = online()
    grow(broker, "north", 60)
    announce(broker, "north", "north:0:0:60")
    follow(context, clients=["north"], feed={"kind": "announced"})
    record = context.store.get_json("runs/r/spec.json")
    assert not {"feed", "indefinite", "change", "improvement"} & record["spec"].keys()
    assert "stream" not in record["clients"][0]
    assert "summary" not in context.store.get_json("runs/r/rounds/0001/slices/north.json")
