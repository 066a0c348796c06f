"""Runs whose strategy keeps state, or sends arrays: killed in the middle they come to the same digests,
and any changed byte is found.
"""

import random
import signal
import sys
from pathlib import Path

import pytest
from support.strategies import install

from fedstream.aggregation.registry import BUILT_IN
from fedstream.audit import verify_run
from fedstream.record.weights import from_bytes
from fedstream.report.html import render_report
from fedstream.report.view import build_view
from fedstream.steps.rollback import rollback
from fedstream.store.state import RunState

ADAM = {"strategy": "FedAdam", "strategy_config": {"server_learning_rate": 0.05}}
ROUNDS = ("0001", "0002")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The environment of a machine on which another package offers FedVariates, here and in the zygote's children."""
    folder = install(tmp_path_factory.mktemp("installed"))
    sys.path.append(str(folder))
    yield {"FEDSTREAM_TEST_PATH": f"{folder}:{Path(__file__).parents[1]}"}
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def adam(platform, zygote, clients, base_spec, place_at):
    place = place_at(platform.env)
    assert zygote.run(place.env, base_spec | ADAM) == {"signal": 0, "version": 1}, zygote.tail()
    return place


@pytest.fixture(scope="module")
def variates(platform, zygote, clients, base_spec, place_at, elsewhere):
    place = place_at(platform.env | elsewhere)
    assert zygote.run(place.env, base_spec | {"strategy": "FedVariates"}) == {"signal": 0, "version": 1}, zygote.tail()
    return place


def chain(place):
    """Return what the commits of a run say of its models, and of what lies beside them."""
    return [(c.weights_digest, c.server_state_digest, c.broadcast_digest, c.figures, c.metrics) for c in place.commits]


def killed_at(zygote, place, spec, points):
    """Kill a run at each point in turn, and let it end."""
    for point in points:
        assert zygote.run(place.env, spec, *point) == {"signal": signal.SIGKILL}, f"{point}: {zygote.tail()}"
        assert verify_run(place.store, "r").problems == [], point
    assert zygote.run(place.env, spec)["signal"] == 0, zygote.tail()


def test_a_run_with_server_state_is_killed_and_goes_on(place, adam, zygote, spec, clients):
    points = [("after", r"0001/server_state"), ("after", r"0002/server_state"), ("after", r"0002/global")]
    killed_at(zygote, place, spec | ADAM, points)
    assert chain(place) == chain(adam)
    states = [commit.server_state_digest for commit in place.commits]
    assert states[0] is None
    assert len(set(states)) == 3, "none, one a round, and a closing round's is the last"


def test_the_parameters_are_on_record_with_the_defaults_of_the_others(adam):
    assert RunState(adam.store, "r").record.spec.strategy_config == {
        "server_learning_rate": 0.05,
        "beta_1": 0.9,
        "beta_2": 0.99,
        "tau": 0.001,
    }


def test_other_parameters_are_another_run(adam, zygote, spec):
    refused = zygote.run(adam.env, spec | {"strategy": "FedAdam"})
    assert (
        "strategy_config was {'beta_1': 0.9, 'beta_2': 0.99, 'server_learning_rate': 0.05, 'tau': 0.001} and is now {"
        in refused["error"]
    )


def test_wrong_parameters_are_refused_before_anything_is_on_record(place, zygote, spec, clients):
    refused = zygote.run(place.env, spec | {"strategy": "FedAdam", "strategy_config": {"tau": -1}})
    assert (
        refused["error"]
        == "SpecError: strategy_config: tau of FedAdam must be a number above 0 and at most 1 (given: -1)"
    )
    assert place.times == {}


def test_figures_are_in_the_commits_and_in_the_report(adam):
    norms = [commit.figures.get("pseudo_gradient_norm") for commit in adam.commits]
    assert norms[0] is norms[3] is None
    assert all(norm > 0 for norm in norms[1:3])
    page = render_report(build_view(adam.store, "r"))
    assert f"{norms[1]:.4g}" in page
    assert "pseudo_gradient_norm" in page


def test_arrays_travel_out_and_back_in_a_run_that_is_killed_and_goes_on(
    platform, place_at, variates, zygote, spec, clients, elsewhere
):
    place = place_at(platform.env | elsewhere)
    points = [
        ("after", r"0000/broadcast"),
        ("after", r"0001/broadcast"),
        ("before", r"0002/updates/b[^/]*\.safetensors"),
    ]
    killed_at(zygote, place, spec | {"strategy": "FedVariates"}, points)
    assert chain(place) == chain(variates)
    assert len({commit.broadcast_digest for commit in place.commits}) == 3
    assert place.commits[1].figures == {"clients": 2.0, "first": clients[0]}
    sent = [
        from_bytes(variates.store.get(f"runs/r/rounds/{number}/broadcast.safetensors"), "")
        for number in ("0000", "0001")
    ]
    assert not any(array.any() for array in sent[0].values())
    assert all(array.any() for array in sent[1].values()), (
        "what the clients returned in round 1 goes out with its model"
    )


def test_what_goes_out_with_the_model_changes_the_training(variates, undisturbed):
    assert variates.digests[1] == undisturbed.digests[1], "in round 1 the variates are zero"
    assert variates.digests[2] != undisturbed.digests[2]


def test_a_rollback_goes_back_to_the_state_of_its_round(adam, zygote, spec):
    place = adam.copied("runs/", "models/")
    rollback(RunState(place.store, "r"), 1)
    assert zygote.run(place.env, spec | ADAM)["signal"] == 0, zygote.tail()
    commits = place.commits
    assert [commit.kind for commit in commits[4:]] == ["rollback", "training", "closing"]
    assert commits[4].server_state_digest == commits[1].server_state_digest
    assert verify_run(place.store, "r").problems == []


def named(store):
    return {problem.key for problem in verify_run(store, "r").problems}


@pytest.mark.parametrize("run", ["adam", "variates"])
def test_any_byte_of_what_a_strategy_keeps(run, request, snapshot_of):
    whole, rng, wrong = snapshot_of(request.getfixturevalue(run).store), random.Random(1), []
    kinds = ("server_state", "broadcast", "aggregation")
    keys = [key for key in whole.objects if key.startswith("runs/") and any(kind in key for kind in kinds)]
    assert len(keys) == (4 if run == "adam" else 7)
    assert named(whole) == set()
    for key in keys:
        data = whole.objects[key][0]
        for position in rng.sample(range(len(data)), 25):
            whole.change(key, data[:position] + bytes([data[position] ^ 1 << rng.randrange(8)]) + data[position + 1 :])
            if named(whole) != {key}:
                wrong.append((key, position, named(whole)))
        whole.change(key, data)
    assert not wrong, wrong


def test_a_missing_state_is_named(adam, snapshot_of):
    whole = snapshot_of(adam.store)
    for number in ROUNDS:
        for name in ("server_state.safetensors", "aggregation.json"):
            key = f"runs/r/rounds/{number}/{name}"
            kept = whole.objects.pop(key)
            assert named(whole) == {key}
            whole.objects[key] = kept


def test_who_has_not_installed_the_strategy_is_told_so(variates, snapshot_of, monkeypatch):
    whole = snapshot_of(variates.store)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "installed" not in path])
    assert [(problem.key, problem.what) for problem in verify_run(whole, "r").problems] == [
        ("runs/r/spec.json", f"strategy: 'FedVariates' is not known; use one of {', '.join(sorted(BUILT_IN))}")
    ]
