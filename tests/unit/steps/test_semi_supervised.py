"""Runs that also train on records without labels: planned, fed, digested, judged and resumed like all others."""

import numpy as np
import pytest
from support.federation import digests, run, run_in_pieces
from support.inprocess import context_of, pictures, send
from support.live import announce, follow, grow, online
from support.unlabelled import send_few_labels

from fedstream.audit import verify_run
from fedstream.errors import RecordError, RunError, SpecError
from fedstream.record.offsets import OffsetRange, format_ranges, parse_ranges
from fedstream.report.html import render_report
from fedstream.report.model_card import render_model_card
from fedstream.report.view import build_view
from fedstream.steps import feeding, plan
from fedstream.steps.markdown import plan_page
from fedstream.steps.slices import SliceRecords, examples_of, read_labelled
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, DataAnnouncement
from fedstream.stream.feed import Feed
from fedstream.stream.records import UNLABELLED

OPTIONS = {"unsupervised": True, "confidence": 0.5, "epochs": 20, "learning_rate": 0.5, "rounds": 2}


def federation(label_type="uint8", topics=("north.bare", "south.bare"), **said):
    """Return a context in which two clients have labelled every third record."""
    context = context_of()
    for number, client in enumerate(("north", "south")):
        x, y = pictures(number, 90)
        send_few_labels(context, client, x, y.astype(label_type), lambda n: n % 3 == 0, topics[number], **said)
    return context


def manifests(state, round=1):
    return [state.manifest(round, client) for client in ("north", "south")]


def test_the_unlabelled_records_are_planned_digested_counted_and_verified():
    context = federation()
    state = run(context, **OPTIONS)
    north = state.record.client("north")
    assert (north.ranges, north.unlabelled) == ("north:0:0:30", "north.bare:0:0:60")
    document = state.slice(1, "north")
    assert (document.records, document.unlabelled.records) == (30, 60)
    assert sum(document.class_counts.values()) == 30
    for manifest, entry in zip(manifests(state), state.ledger.commit(1).clients, strict=True):
        assert manifest.num_examples == entry.num_examples <= 30
        assert 0 < manifest.pseudo_labelled <= 60
        assert manifest.training.num_examples == manifest.num_examples + manifest.pseudo_labelled
        assert format_ranges(feeding.offsets_of(entry.unlabelled)) == f"{entry.client}.bare:0:0:60"
    result = verify_run(context.store, "r", brokers=context.brokers)
    assert result.problems == []


def test_data_owners_see_which_records_without_labels_were_used():
    context = federation()
    view = build_view(run(context, **OPTIONS).store, "r")
    assert "<code>north.bare:0:0:60</code> without labels" in render_report(view)
    card = render_model_card(view, 2)
    assert "labelled itself: `north` `north.bare:0:0:60`; `south` `south.bare:0:0:60`." in card
    assert "; without labels north.bare:0:0:60" in plan_page(view.record, "round 1 is next")


def test_without_unsupervised_the_same_streams_are_trained_on_their_labels_alone():
    context = federation()
    state = run(context, **OPTIONS | {"unsupervised": False})
    assert all(manifest.pseudo_labelled is None for manifest in manifests(state))
    for key in (state.keys.spec, state.keys.at(1).slice("north"), state.keys.at(1).manifest("north")):
        assert b"unlabelled" not in state.store.get(key)
        assert b"pseudo" not in state.store.get(key)
    bare = context_of()
    for number, client in enumerate(("north", "south")):
        x, y = pictures(number, 90)
        send_few_labels(bare, client, x, y, lambda n: n % 3 == 0, f"{client}.bare", unsupervised_topic=None)
    assert digests(run(bare, **OPTIONS | {"unsupervised": False})) == digests(state)


@pytest.mark.parametrize("topics", [("north.bare", "south.bare"), ("", "")])
def test_kafka_mls_unlabelled_records_need_no_label_of_the_right_type(topics):
    """Kafka-ML decodes their key, one zero byte, as a label, which fails for every type of several bytes."""
    context = federation("int64", topics)
    state = run(context, **OPTIONS)
    assert sum(state.slice(1, "north").class_counts.values()) == 30
    assert all(0 < manifest.pseudo_labelled <= 60 for manifest in manifests(state))
    assert verify_run(context.store, "r", brokers=context.brokers).problems == []


def test_the_same_records_give_the_same_digests_in_one_process_or_in_many():
    assert digests(run(federation(), **OPTIONS)) == digests(run_in_pieces(federation(), **OPTIONS))


def test_a_client_without_such_records_takes_part_with_its_labels():
    context = federation()
    send(context, "west")
    state = run(context, **OPTIONS)
    assert state.manifest(1, "west").pseudo_labelled is None
    assert [entry.accepted for entry in state.ledger.commit(1).clients] == [True] * 3


class NextTen(Feed):
    """Gives the ten records after those that were used."""

    def ranges(self, client, round, used, offered):
        [announced] = parse_ranges(client.ranges)
        start = max((r.end for ranges in used() for r in ranges), default=announced.start)
        return [OffsetRange(announced.topic, announced.partition, start, start + 10)]


def test_a_feed_gives_out_records_of_both_kinds(monkeypatch):
    for name in ("feed_of", "unlabelled_feed_of"):
        monkeypatch.setattr(feeding, name, lambda spec, kind: NextTen())
    context = federation()
    state = run(context, **OPTIONS)
    for round in (1, 2):
        assert state.slice(round, "north").ranges_text == f"north:0:{10 * round - 10}:{10 * round}"
        assert format_ranges(state.slice(round, "north").unlabelled_offsets) == (
            f"north.bare:0:{10 * round - 10}:{10 * round}"
        )
    assert verify_run(context.store, "r", brokers=context.brokers).problems == []


def test_a_slice_that_claims_other_records_is_refused():
    state = run(federation(), **OPTIONS)
    document = state.slice(1, "north")

    def reason(client="north", **change):
        unlabelled = document.unlabelled.model_copy(update=change) if change else None
        return feeding.why_unexpected(state, 1, document.model_copy(update={"unlabelled": unlabelled}), client)

    expected = "expected 'north.bare:0:0:60'"
    assert reason(records=60) == ""
    assert reason() == f"of its records without labels, ranges is '', {expected}"
    others = state.slice(1, "south").unlabelled.ranges
    assert reason(ranges=others) == f"of its records without labels, ranges is 'south.bare:0:0:60', {expected}"
    assert reason(records=61) == "its unlabelled records are 61, but their ranges hold 60"


def test_records_that_were_replaced_since_are_noticed():
    context = federation()
    state = run(context, **OPTIONS)
    sample = np.full((8, 8), 9, np.uint8).tobytes()
    context.brokers.at("")._topics["north.bare"].records[7] = (UNLABELLED, sample)
    problems = verify_run(context.store, "r", brokers=context.brokers).problems
    assert [problem.key for problem in problems] == [state.keys.at(round).slice("north") for round in (1, 2, 3)]
    assert "the unlabelled records of north.bare:0:0:60 have digest" in str(problems[0])


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"unsupervised_topic": "north.bare"}, "unsupervised_topic: 'north.bare' has no offsets, which only"),
        ({"unsupervised_topic": "north:0:30:40"}, "announces the same offsets with and without labels"),
        (
            {"unsupervised_topic": ",".join(f"b:0:{n}:{n + 1}" for n in range(0, 3000, 2))},
            "unsupervised_topic: it lists 1,500 ranges of offsets, at most 1,000 are read",
        ),
    ],
)
def test_an_announcement_that_cannot_be_used_gets_a_reason(said, reason):
    context = federation()
    x, y = pictures(0, 60)
    send_few_labels(context, "north", x, y, lambda n: n % 3 == 0, "north.bare", **said)
    state = run(context, **OPTIONS)
    rows = [row for row in state.record.announcements if row.client == "north"]
    assert reason in rows[-1].reason


def test_records_without_labels_add_up_and_can_be_withdrawn_alone():
    context = federation()
    x, y = pictures(0, 60)
    send_few_labels(context, "north", x, y, lambda n: n % 3 == 0, "north.bare", append=True)
    send_few_labels(context, "north", x, y, lambda n: n % 3 == 0, "north.more", append=True)
    withdraw(context, "north", "north.more")
    planned = run(context, **OPTIONS).record.client("north")
    assert (planned.ranges, planned.unlabelled) == ("north:0:0:70", "north.bare:0:0:100")
    withdraw(context, "north", "north")
    run(context, **OPTIONS, run="later")
    assert [client.client for client in context.run("later").record.clients] == ["south"]


def withdraw(context, client, topic):
    said = DataAnnouncement(topic=topic, input_format="RAW", input_config={}, client=client, withdrawn=True)
    context.brokers.at("").append(DATA_CONTROL_TOPIC, said.to_bytes(), UNLABELLED)


def test_records_without_labels_have_one_owner():
    context = federation(topics=("bare", "bare"), unsupervised_topic="bare:0:0:60")
    with pytest.raises(RunError, match="client 'north' and client 'south' both announce records bare:0:0:60"):
        run(context, **OPTIONS)


def test_own_topics_hold_for_records_without_labels():
    context = federation(topics=("bare", "south.bare"))
    with pytest.raises(RunError, match=r"topic 'bare' does not begin with 'north\.'"):
        run(context, **OPTIONS, own_topics=True, clients=["north"])


def test_a_model_that_tells_no_classes_apart_cannot_label_records(monkeypatch):
    context, known = federation(), plan.ensure_model
    regression = {"num_classes": None, "loss": "mean_squared_error"}
    monkeypatch.setattr(plan, "ensure_model", lambda *args: known(*args).model_copy(update=regression))
    with pytest.raises(
        SpecError, match="unsupervised: model 'builtin:numpy-softmax' with loss mean_squared_error does"
    ):
        run(context, **OPTIONS)


def test_a_run_in_which_nobody_announces_such_records_says_so():
    context = context_of()
    send(context, "north", "south")
    with pytest.raises(RunError, match="no client that takes part announces records without labels"):
        run(context, **OPTIONS)


def test_records_of_which_none_has_a_label_are_named():
    context = federation("float32")
    record = run(context, **OPTIONS).record
    client, deadline = record.client("north"), context.deadline(5)
    read = read_labelled(context.brokers.at(""), record, client, parse_ranges("north.bare:0:0:60"), deadline)
    with pytest.raises(RecordError, match=r"none of the 60 records of north\.bare:0:0:60 has a label; send labelled"):
        examples_of(record, client, SliceRecords(read))


def test_a_live_run_takes_the_next_records_of_both_kinds_and_waits_for_labelled_ones_only():
    context, broker = online("north")
    announce(broker, "north", unsupervised_topic="north.bare")
    sent = {
        1: (40, 50, "north:0:0:40", "north.bare:0:0:50"),
        2: (30, 0, "north:0:40:70", ""),
        3: (30, 150, "north:0:70:100", "north.bare:0:50:150"),
    }
    for round, (labelled, bare, expected, others) in sent.items():
        grow(broker, "north", labelled, round)
        grow_unlabelled(broker, "north.bare", bare)
        follow(context, clients=["north"], rounds=10, publish="never", **LIVE)
        state = context.run("r")
        context.runs.clear()
        document = state.slice(round, "north")
        assert document.ranges_text == expected
        assert format_ranges(document.unlabelled_offsets) == others
        assert (state.manifest(round, "north").pseudo_labelled is None) == (not others)
    assert verify_run(context.store, "r", brokers=context.brokers).problems == []


LIVE = {name: value for name, value in OPTIONS.items() if name != "rounds"}


def grow_unlabelled(broker, topic, records):
    for sample in pictures(9, records)[0] if records else ():
        broker.append(topic, sample.tobytes(), UNLABELLED)
