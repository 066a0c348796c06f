"""Who has the bucket's keys forges verdicts, slices and manifests, and makes all digests and the average fit:
verify and aggregate judge again.
"""

import json
from datetime import timedelta

import numpy as np
import pytest
from support.recorded import RUN

from fedstream import steps
from fedstream.audit import verify_run
from fedstream.errors import CorruptObject
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.reading import DOCUMENT_BYTES
from fedstream.record.weights import from_bytes, to_bytes
from fedstream.steps.context import Context
from fedstream.store.mapped import Downloads
from fedstream.stream.broker import EnvironmentBrokers


def test_the_run_is_well_before_it_is_attacked(federated, evaluated, forger_of):
    assert forger_of(federated).found() == {}
    assert forger_of(evaluated, 2).found() == {}


def test_a_forger_who_changes_nothing_is_not_accused(forger):
    forger.verdicts(lambda _: None)
    assert forger.found() == {}


def poisoned(forger, value):
    key = next(key for key in forger.store.objects if "0001/updates/b-" in key)
    weights = from_bytes(forger.store.objects[key], key)
    return to_bytes({name: np.full_like(array, value) for name, array in weights.items()})


def test_an_update_of_nan_that_is_accepted(forger):
    forger.manifest("b", lambda _: None, poisoned(forger, np.nan))
    assert "accepts client 'b', whose update cannot count: variable" in forger.found()["verdicts.json"]


def test_an_update_far_from_the_others_that_is_accepted(forger):
    forger.manifest("b", lambda _: None, poisoned(forger, 1e6))
    assert "outlier_bound allows 10 times the median" in forger.found()["verdicts.json"]


def test_a_count_beyond_the_slice(forger):
    forger.manifest("b", lambda manifest: manifest.update(num_examples=10**9))
    assert "num_examples is 1000000000, but its slice has 40 records" in forger.found()["verdicts.json"]


def test_a_count_that_is_not_the_manifest_s(forger):
    def more(verdicts):
        verdicts["verdicts"][1]["num_examples"] += 1

    forger.verdicts(more)
    assert "of client 'b' it says that num_examples is 32, expected 31" in forger.found()["verdicts.json"]


def test_a_stranger(forger):
    def add(verdicts):
        verdicts["verdicts"].append(verdicts["verdicts"][0] | {"client": "stranger"})

    for name in (
        f"{verdict['client']}-{verdict['update_digest']}.safetensors"
        for verdict in forger.read("verdicts.json")["verdicts"][:1]
    ):
        forger.store.objects[forger.key(f"updates/stranger{name[1:]}")] = forger.store.objects[
            forger.key(f"updates/{name}")
        ]
    forger.verdicts(add)
    found = forger.found()
    assert "'stranger' is not a client of the run" in found["commit.json"]
    assert any("stranger" in key and "does not belong to a client of the run" in what for key, what in found.items())


def reject(client, reason):
    def change(verdicts):
        for verdict in verdicts["verdicts"]:
            if verdict["client"] == client:
                verdict.update(accepted=False, reason=reason, num_examples=0, update_digest=None)

    return change


def test_a_valid_update_that_is_left_out_is_named(forger):
    forger.verdicts(reject("b", "x"))
    assert forger.found()["verdicts.json"] == "it leaves out the valid update of client 'b', saying 'x'"


def test_one_client_of_three(forger):
    for client in ("a", "b"):
        forger.verdicts(reject(client, "x"))
    assert "leaves out the valid update of client 'a'" in forger.found()["verdicts.json"]


def test_fewer_than_the_quorum(federated, forger_of):
    """Two clients never sent anything, says the forger, who has removed what they sent."""
    forger = forger_of(federated)
    for client in ("a", "b"):
        forger.store.remove_below(forger.key(f"updates/{client}"))
        forger.verdicts(reject(client, "no update arrived"))
        forger.verdicts(
            lambda verdicts: (
                [verdict.update(manifest_digest=None) for verdict in verdicts["verdicts"] if not verdict["accepted"]]
                and None
            )
        )
    assert forger.found()["verdicts.json"] == "it accepts 1 updates, but the quorum is 2"


def test_unsorted_and_doubled_clients(forger):
    forger.verdicts(lambda verdicts: verdicts["verdicts"].reverse())
    assert forger.found()["verdicts.json"] == "its clients are c, b, a, but the round asked a, b, c"


def test_a_reason_that_nobody_gave(federated, forger_of):
    forger = forger_of(federated, 2)
    forger.verdicts(reject("c", "its owner has withdrawn"))
    assert (
        "says of client 'c' 'its owner has withdrawn', but on record is 'no update arrived'"
        in forger.found()["verdicts.json"]
    )


SLICES = {
    "topic": lambda document: document["ranges"][0].update(topic="nowhere"),
    "offsets": lambda document: document["ranges"][0].update(end=20),
    "brokers": lambda document: document.update(bootstrap_servers="evil:9092"),
    "records": lambda document: document.update(records=20),
    "format": lambda document: document["input_config"].update(data_type="float64"),
    "client": lambda document: document.update(client="a"),
}


@pytest.mark.parametrize("change", SLICES.values(), ids=SLICES)
def test_a_slice_that_was_not_planned(forger, change):
    forger.slice("b", change)
    assert "its slice is not the planned one: " in forger.found()["verdicts.json"]


@pytest.mark.parametrize("change", SLICES.values(), ids=SLICES)
def test_a_slice_that_was_not_planned_is_left_out_by_aggregate(forger, change):
    forger.slice("b", change)
    forger.store.remove_below(forger.key("verdicts"), forger.key("global"), forger.key("commit"))
    steps.aggregate.within(Context(forger.store, EnvironmentBrokers()), RUN, 1, "attempt")
    said = {verdict["client"]: verdict["reason"] for verdict in forger.read("verdicts.json")["verdicts"]}
    assert said.pop("b").startswith("its slice is not the planned one: ")
    assert said == {"a": "valid", "c": "valid"}


def test_a_plan_of_more_records_than_its_ranges_hold(federated, forge):
    """A weight of 10^9 that spec.json, slice, manifest and verdict agree on."""
    for key, name in (
        (f"runs/{RUN}/spec.json", ""),
        (federated.key(1, "slices/b.json"), "records"),
        (federated.key(1, "updates/b.json"), "num_examples"),
    ):
        forge(
            federated,
            key,
            lambda document, name=name: (
                document.update({name: 10**9}) if name else document["clients"][1].update(records=10**9)
            ),
        )
    found = {problem.key: problem.what for problem in verify_run(federated, RUN).problems}
    assert (
        "its slice is not the planned one: records is 1000000000, but its ranges hold 40"
        in found[federated.key(1, "verdicts.json")]
    )


def test_a_manifest_larger_than_memory_costs_its_client_the_round(forger, monkeypatch):
    """A client's pod may write its own manifest, of any size."""
    forger.store.remove_below(forger.key("global"), forger.key("commit"), forger.key("verdicts"))
    forger.store.objects[forger.key("updates/b.json")] = b" " * (DOCUMENT_BYTES + 1)
    read = type(forger.store).get_with_etag

    def bounded(self, key, limit=None):
        assert limit or len(self.objects[key]) <= DOCUMENT_BYTES, f"{key} is read whole"
        return read(self, key, limit)

    monkeypatch.setattr(type(forger.store), "get_with_etag", bounded)
    monkeypatch.setattr(type(forger.store), "digest", lambda self, key: sha256_hex(self.objects[key]))
    steps.aggregate.within(Context(forger.store, EnvironmentBrokers()), RUN, 1, "attempt")
    steps.evaluate.within(Context(forger.store, EnvironmentBrokers()), RUN, 1)
    assert "has more than 16,777,216 bytes" in forger.read("verdicts.json")["verdicts"][1]["reason"]
    assert forger.found() == {}, "b was rightly left out"


def test_verdicts_on_record_are_judged_again_before_they_are_aggregated(forger):
    forger.manifest("b", lambda manifest: manifest.update(num_examples=10**9))
    forger.store.remove_below(forger.key("global"), forger.key("commit"))
    with pytest.raises(
        CorruptObject,
        match=r"verdicts.json is not what the updates say: it accepts client 'b', .* num_examples is 1000000000",
    ):
        steps.aggregate.within(Context(forger.store, EnvironmentBrokers()), RUN, 1, "attempt")


def test_a_selection_that_the_spec_does_not_make(forger):
    forger.store.edit(forger.key("selection.json"), lambda selection: selection["clients"].remove("a"))
    with pytest.raises(CorruptObject, match=r"selection.json: clients is \['b', 'c'\], expected \['a', 'b', 'c'\]"):
        steps.aggregate.within(Context(forger.store, EnvironmentBrokers()), RUN, 1, "attempt")
    assert "selection.json" in forger.found()


def test_a_foreign_commit_is_not_taken_for_the_round_s_own(forger):
    assert steps.evaluate.within(Context(forger.store, EnvironmentBrokers()), RUN, 1) == "continue"
    forger.store.edit(
        forger.key("commit.json"), lambda commit: commit["decision"].update(action="stop", reason="target reached")
    )
    with pytest.raises(
        CorruptObject, match=r"commit.json was not made by this run: its decision is not what the store says"
    ):
        steps.evaluate.within(Context(forger.store, EnvironmentBrokers()), RUN, 1)


def test_a_planted_server_state_makes_nobody_fail(forger):
    commit = forger.read("commit.json")
    forger.store.objects[forger.key("server_state.safetensors")] = to_bytes({"m": np.zeros(3, np.float32)})
    forger.store.remove_below(forger.key("global"), forger.key("commit"))
    steps.aggregate.within(Context(forger.store, EnvironmentBrokers()), RUN, 1, "attempt")
    steps.evaluate.within(Context(forger.store, EnvironmentBrokers()), RUN, 1)
    again = forger.read("commit.json")
    for entry in again["clients"]:
        entry.pop("contribution", None)  # of which the recorded run's version kept none
    assert again == commit
    assert forger.found() == {"server_state.safetensors": "is not an object that the commit of the round names"}


def test_an_update_trained_again_on_other_hardware_counts_by_its_manifest(forger):
    """A pod was killed between update and manifest, and the next one rounded differently."""
    other = poisoned(forger, 0.5)
    forger.store.put_new(forger.key(f"updates/b-{sha256_hex(other)}.safetensors"), other)
    assert forger.found() == {}
    forger.store.objects[forger.key(f"updates/b-{'0' * 64}.safetensors")] = other
    assert list(forger.found().values()) == [f"digest is {sha256_hex(other)}"]


@pytest.mark.parametrize(("seconds", "accused"), [(5, False), (0, False), (-1, False), (-5, True)])
def test_a_late_update_changes_no_verdict(federated, forger_of, monkeypatch, seconds, accused):
    """Another submission's training ended when the round was closed already, or was just about to be;
    well before, it was left out.
    """
    forger = forger_of(federated, 2)
    late = forger.key("updates/c.json")
    manifest = json.loads(forger.store.objects[forger.key("updates/b.json")]) | {"client": "c"}
    forger.store.objects[late] = canonical_json(manifest)
    listed = type(forger.store).list

    def with_times(self, prefix):
        return [
            type(i)(i.key, i.size, i.last_modified + timedelta(seconds=seconds * (i.key == late)))
            for i in listed(self, prefix)
        ]

    monkeypatch.setattr(type(forger.store), "list", with_times)
    assert ("verdicts.json" in forger.found()) == accused


def test_an_update_that_comes_while_others_are_examined_counts(forger, monkeypatch):
    forger.store.remove_below(forger.key("verdicts"), forger.key("global"), forger.key("commit"))
    late = forger.key("updates/b.json")
    manifest, weights = forger.store.objects.pop(late), Downloads.weights

    def meanwhile(self, *asked):
        forger.store.objects[late] = manifest
        return weights(self, *asked)

    monkeypatch.setattr(Downloads, "weights", meanwhile)
    steps.aggregate.within(Context(forger.store, EnvironmentBrokers()), RUN, 1, "attempt")
    assert [verdict["accepted"] for verdict in forger.read("verdicts.json")["verdicts"]] == [True, True, True]
