"""What a strategy makes is checked before it becomes a global model."""

import numpy as np
import pytest
from support.strategies import install, updates_of

from fedstream.aggregation.outcome import combine_updates, first_broadcast
from fedstream.aggregation.strategy import Aggregated, Strategy
from fedstream.errors import SpecError, UpdateError
from fedstream.record.spec import RunSpec

BASE = {"w": np.zeros(2, np.float32)}
UPDATES = updates_of((1, {"w": np.ones(2, np.float32)}))


class FedMade(Strategy):
    """Gives what it is told to."""

    def aggregate(self, base, updates, state):
        return self.made

    def broadcast(self, weights, state):
        return self.sent


@pytest.fixture
def spec(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "made_here", sys.modules[__name__])
    monkeypatch.syspath_prepend(install(tmp_path, value="made_here:FedMade", name="FedMade"))
    monkeypatch.setattr(FedMade, "sent", {}, raising=False)
    return RunSpec(run="r", model="m", strategy="FedMade")


NAN = np.array([0, np.nan], np.float32)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Aggregated({}), "made no valid global model of the updates: variable 'w' is missing"),
        (Aggregated({"w": np.zeros(2)}), "variable 'w' has dtype float64, expected float32"),
        (Aggregated({"w": np.zeros(3, np.float32)}), r"variable 'w' has shape \(3,\)"),
        (Aggregated({"w": NAN}), "variable 'w' has 1 values that are not finite"),
        (Aggregated({**BASE, "x": NAN}), "variable 'x' is not in the global model"),
        (Aggregated(BASE, {"m": NAN}), "server state that cannot be kept: array 'm' has 1 values that are not finite"),
        (Aggregated(BASE, {}, {"norm": float("inf")}), "figures that cannot be kept: Input should be a finite number"),
        (Aggregated(BASE, {}, {"said": "x" * 201}), "figures that cannot be kept"),
        (Aggregated(BASE, {}, {str(number): 1.0 for number in range(31)}), "figures that cannot be kept"),
        (Aggregated(BASE, {}, {"said": [1]}), "figures that cannot be kept"),
    ],
)
def test_what_cannot_be_a_model_is_refused(spec, monkeypatch, made, said):
    monkeypatch.setattr(FedMade, "made", made, raising=False)
    with pytest.raises(UpdateError, match=f"strategy FedMade .*{said}"):
        combine_updates(spec, BASE, UPDATES, {})


def test_a_broadcast_that_is_not_finite_is_refused(spec, monkeypatch):
    monkeypatch.setattr(FedMade, "sent", {"c": NAN})
    with pytest.raises(UpdateError, match="broadcast that cannot be kept: array 'c'"):
        first_broadcast(spec, BASE)


def test_fedavg_keeps_and_sends_nothing():
    spec = RunSpec(run="r", model="m")
    made = combine_updates(spec, BASE, UPDATES, {})
    assert made.weights["w"].tolist() == [1.0, 1.0]
    assert (made.state, made.broadcast, made.figures, first_broadcast(spec, BASE)) == ({}, {}, {}, {})


def test_fedadam_that_overflows_is_refused_with_a_name():
    spec = RunSpec(run="r", model="m", strategy="FedAdam")
    with pytest.raises(UpdateError, match=r"strategy FedAdam .* array 'v/w' has 2 values that are not finite"):
        combine_updates(spec, BASE, updates_of((1, {"w": np.full(2, 3e38, np.float32)})), {})


def test_a_strategy_that_is_not_installed_here_is_named():
    with pytest.raises(SpecError, match="'FedElsewhere' is not known"):
        combine_updates(RunSpec(run="r", model="m", strategy="FedElsewhere"), BASE, UPDATES, {})
