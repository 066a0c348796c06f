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
        (Aggregated(BASE, {}, {"said": "x" * 20_001}), "figures that cannot be kept"),
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


def one_value(*values):
    return updates_of(*[(40, {"w": np.array([value], np.float32)}) for value in values])


ONE = {"w": np.zeros(1, np.float32)}


def test_the_mean_of_three_clients_is_not_the_last_client():
    """Kafka-ML's mistake: the last update to arrive replaced the others."""
    made = combine_updates(RunSpec(run="r", model="m"), ONE, one_value(1.0, 3.0, 100.0), {})
    assert made.weights["w"].tolist() == [np.float32(104 / 3)]
    assert made.weights["w"][0] == np.float32(34.666668)


def test_updates_are_clipped_before_the_strategy_and_named_in_the_figures():
    spec = RunSpec(run="r", model="m", strategy="FedTrimmedAvg", clipping={"norm": 6.0, "zero_above": 20.0})
    made = combine_updates(spec, ONE, one_value(1.0, 3.0, 100.0, -9.0), {})  # norms 1, 3, 9, 100: the median is 6
    assert made.weights["w"].tolist() == [1.0], "the mean of 1, 3, 6 and -6"
    assert made.figures == {
        "clipping_norm": 6.0,
        "clipped": "c2, c3",
        "zeroed": "none",
        "trimmed_updates": 0.0,
        "trimmed_share": 0.0,
    }


def test_the_adaptive_norm_is_kept_beside_the_state_of_the_strategy():
    spec = RunSpec(run="r", model="m", strategy="FedAdam", clipping={"norm": 4.0, "quantile": 0.5})
    first = combine_updates(spec, ONE, one_value(1.0, 1.5, 2.0), {})
    assert sorted(first.state) == ["clipping//norm", "m/w", "v/w"]
    assert float(first.state["clipping//norm"]) < 4
    second = combine_updates(spec, first.weights, one_value(1.0, 1.5, 2.0), first.state)
    assert second.figures["clipping_norm"] == float(first.state["clipping//norm"])
    alone = combine_updates(
        RunSpec(run="r", model="m", strategy="FedAdam"),
        first.weights,
        one_value(1.0, 1.5, 2.0),
        {name: array for name, array in first.state.items() if "//" not in name},
    )
    assert second.weights["w"].tobytes() == alone.weights["w"].tobytes(), "FedAdam does not see the norm"


@pytest.mark.parametrize(
    ("strategy", "config", "said"),
    [
        ("Krum", {"byzantine": 1}, "strategy Krum with byzantine 1 needs 5 updates, and this round has 3"),
        ("MultiKrum", {"byzantine": 0, "keep": 4}, "MultiKrum with byzantine 0, keep 4 needs 4 updates"),
        ("Bulyan", {"byzantine": 2}, "strategy Bulyan with byzantine 2 needs 11 updates, and this round has 3"),
    ],
)
def test_too_few_updates_are_refused_with_numbers(strategy, config, said):
    spec = RunSpec(run="r", model="m", strategy=strategy, strategy_config=config)
    with pytest.raises(UpdateError, match=said):
        combine_updates(spec, ONE, one_value(1.0, 2.0, 3.0), {})
