"""The judge: outliers among three and more, and the quorum that named clients make."""

from dataclasses import replace

import pytest

from fedstream.record.documents import Manifest, Metrics, Selection, SliceDoc, SliceRange, UnlabelledRecords
from fedstream.record.judge import Candidate, Examined, judge, quorum_of
from fedstream.record.run import MatchedClient, ModelReference, RunRecord
from fedstream.record.spec import RunSpec

DIGEST = "0" * 64
CONFIG = {"data_type": "float32"}


def record(names, **fields):
    spec = RunSpec(run="r", model="m", **fields)
    matched = [
        MatchedClient(
            client=name, bootstrap_servers="", ranges=f"{name}:0:0:9", input_config=CONFIG, held_out_rate=0.1, records=9
        )
        for name in names
    ]
    model = ModelReference(name="m", keras_digest=DIGEST, weights_digest=DIGEST, description_digest=DIGEST)
    return RunRecord(spec=spec, model=model, clients=matched, evaluation=None, announcements=[])


def candidate(name, norm=1.0, loss=1.0, kind="training"):
    document = SliceDoc(
        client=name,
        bootstrap_servers="",
        ranges=[SliceRange(topic=name, partition=0, start=0, end=9)],
        records=9,
        input_config=CONFIG,
        class_counts={},
        digest=DIGEST,
    )
    manifest = Manifest(
        run="r",
        round=1,
        client=name,
        base_digest=DIGEST,
        update_digest=DIGEST if kind == "training" else None,
        num_examples=8,
        slice_key="",
        slice_digest=DIGEST,
        slice_document=DIGEST,
        seed=0,
        threads=2,
        device="",
        code_version="",
        measure_only=kind == "closing",
        incoming=None,
        trained=None,
        training=Metrics(num_examples=8, values={"loss": loss}),
    )
    return Candidate(name, manifest, DIGEST, document, DIGEST, Examined("", norm))


def verdicts(norms=None, losses=None, kind="training", **fields):
    names = [f"c{number}" for number in range(len(norms or losses))]
    candidates = [
        candidate(name, *pair, kind)
        for name, pair in zip(names, zip(norms or [1.0] * 9, losses or [1.0] * 9, strict=False), strict=False)
    ]
    selection = Selection(run="r", round=1, kind=kind, clients=names)
    return judge(record(names, **fields), selection, DIGEST, candidates)


def accepted(*args, **fields):
    return [verdict.accepted for verdict in verdicts(*args, **fields)]


def judged(change=None, slice=None, **fields):
    """Return the reason for one client whose slice of 9 records, or manifest, says something else."""
    found = replace(candidate("a"), **fields)
    found = replace(
        found, manifest=found.manifest.model_copy(update=change or {}), slice=found.slice.model_copy(update=slice or {})
    )
    [verdict] = judge(record(["a"]), Selection(run="r", round=1, kind="training", clients=["a"]), DIGEST, [found])
    return verdict.reason


def test_counts_are_bounded_by_the_slice_and_not_by_the_announcement():
    part = {"ranges": [SliceRange(topic="a", partition=0, start=2, end=8)], "records": 6}
    assert judged({"num_examples": 6, "training": None}, part) == "valid"
    assert judged({"num_examples": 7, "training": None}, part) == "num_examples is 7, but its slice has 6 records"
    assert judged({"num_examples": 6}, part) == "it says it measured on 8 records, but its slice has 6"


def test_a_slice_counts_the_records_of_its_own_offsets():
    assert judged(slice={"records": 10}) == "its slice is not the planned one: records is 10, but its ranges hold 9"


def test_a_slice_that_the_feed_does_not_allow_is_rejected():
    assert judged(not_fed="ranges is 'x'") == "its slice is not the planned one: ranges is 'x'"


def test_a_slice_of_another_format_is_rejected():
    assert (
        judged(slice={"input_format": "JSON"})
        == "its slice is not the planned one: input_format is 'JSON', expected 'RAW'"
    )


def judged_with_unlabelled(change, records=4, planned="u:0:0:4"):
    part = UnlabelledRecords(
        ranges=[SliceRange(topic="u", partition=0, start=0, end=4)], records=records, digest=DIGEST
    )
    found = candidate("a")
    found = replace(
        found,
        manifest=found.manifest.model_copy(update=change),
        slice=found.slice.model_copy(update={"unlabelled": part}),
    )
    run = record(["a"], unsupervised=True)
    run = run.model_copy(update={"clients": [run.client("a").model_copy(update={"unlabelled": planned})]})
    [verdict] = judge(run, Selection(run="r", round=1, kind="training", clients=["a"]), DIGEST, [found])
    return verdict.reason


def test_pseudo_labels_are_bounded_by_the_unlabelled_records_and_never_count_as_examples():
    metrics = Metrics(num_examples=13, values={"loss": 1.0})
    assert judged_with_unlabelled({"pseudo_labelled": 4, "training": metrics}) == "valid"
    assert (
        judged_with_unlabelled({"pseudo_labelled": 5})
        == "pseudo_labelled is 5, but its slice has 4 records without labels"
    )
    assert judged_with_unlabelled({"num_examples": 10}) == "num_examples is 10, but its slice has 9 records"
    more = metrics.model_copy(update={"num_examples": 14})
    assert judged_with_unlabelled({"training": more}) == "it says it measured on 14 records, but its slice has 13"
    assert judged_with_unlabelled({"trained": metrics}) == "it says it measured on 13 records, but its slice has 9"
    assert judged({"pseudo_labelled": 1}) == "pseudo_labelled is 1, but its slice has 0 records without labels"


def test_unlabelled_records_are_those_of_the_plan():
    said = "its slice is not the planned one: "
    assert judged_with_unlabelled({}, records=5) == f"{said}its unlabelled records are 5, but their ranges hold 4"
    reason = "it names records without labels, but the run uses none of this client"
    assert judged_with_unlabelled({}, planned="") == said + reason


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("edge_accuracy", 1.5, "its edge_accuracy is 1.5, which no model can score"),
        ("edge_loss", -3.0, "valid"),
        ("auc_exit_loss", 7.0, "valid"),
        ("edge_loss", 1e101, "its edge_loss is 1e+101, which no model can score"),
    ],
)
def test_metrics_of_each_output_lie_in_the_range_of_their_names(name, value, reason):
    measured = Metrics(num_examples=1, values={"loss": 1.0, "accuracy": 0.5, name: value})
    assert judged({"incoming": measured}) == reason


def test_an_update_ten_times_the_median_s_norm_is_an_outlier():
    assert accepted([1.0, 1.2, 10.9, 0.9]) == [True, True, True, True]
    assert accepted([1.0, 1.2, 12.1, 0.9]) == [True, True, False, True]
    assert (
        verdicts([1.0, 1.2, 1e12, 0.9])[2].reason
        == "the norm of its update is 1e+12, the round's median is 1.1; outlier_bound allows 10 times the median"
    )


def test_the_bound_is_the_form_s_and_0_turns_it_off():
    assert accepted([1.0, 1.0, 4.0], outlier_bound=3) == [True, True, False]
    assert accepted([1.0, 1.0, 1e12], outlier_bound=0) == [True, True, True]


def test_of_two_updates_nobody_can_say_which_is_the_outlier():
    assert accepted([1.0, 1e12]) == [True, True]


def test_updates_that_change_nothing_make_no_median():
    assert accepted([0.0, 0.0, 1.0]) == [True, True, True]


def test_an_absurd_loss_is_an_outlier():
    assert accepted(losses=[0.5, 0.6, 9.9]) == [True, True, True], (
        "ten is no absurd loss where others have less than one"
    )
    assert accepted(losses=[0.5, 0.6, 1e18]) == [True, True, False]
    assert accepted(losses=[5e6, 6e6, 4e7]) == [True, True, True], "losses of a regression on large numbers"
    assert verdicts(losses=[0.5, 0.6, 1e18])[2].reason.startswith(
        "its trained loss is 1e+18; outlier_bound allows 10 times the round's median"
    )


def test_an_infinite_norm_is_an_outlier():
    assert accepted([1.0, 1.0, float("inf")]) == [True, True, False]


def test_a_round_that_only_measures_has_no_outliers():
    assert accepted([1.0, 1.0, 1e12], kind="closing") == [True, True, True]


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, 1),
        ({"clients": ["c0", "c1", "c2"]}, 3),
        ({"clients": ["c0", "c1", "c2"], "min_clients": 2}, 2),
        ({"min_clients": 2}, 2),
    ],
)
def test_clients_that_are_named_are_the_quorum_unless_the_spec_says_otherwise(fields, needed):
    names = ["c0", "c1", "c2"]
    assert quorum_of(record(names, **fields), Selection(run="r", round=1, kind="training", clients=names)) == needed
    assert quorum_of(record(names, **fields), Selection(run="r", round=1, kind="closing", clients=names)) == 1
