"""FedAdam, against the formulas of the paper in plain Python, and against steps worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import rounds_of, updates_of

from fedstream.aggregation.fedadam import FedAdam
from fedstream.aggregation.fedavg import federated_average


def reference(strategy, base, rounds):
    """Algorithm 2 for one element: no bias correction, v starts at tau squared;
    what is kept from one round to the next is float32.
    """
    f32 = lambda value: float(np.float32(value))  # noqa: E731
    x, m, v = f32(base), 0.0, f32(strategy.tau**2)
    for clients in rounds:
        total = sum(examples for examples, _ in clients)
        delta = f32(math.fsum(examples * f32(value) for examples, value in clients) / total) - x
        m = f32(strategy.beta_1 * m + (1 - strategy.beta_1) * delta)
        v = f32(strategy.beta_2 * v + (1 - strategy.beta_2) * delta**2)
        x = f32(x + strategy.server_learning_rate * m / (math.sqrt(v) + strategy.tau))
    return x, m, v


VALUES = st.floats(-100, 100, width=32)
CLIENTS = st.lists(st.tuples(st.integers(1, 1000), VALUES), min_size=1, max_size=6)
PARAMETERS = st.fixed_dictionaries(
    {
        "server_learning_rate": st.floats(1e-4, 2),
        "beta_1": st.floats(0, 0.99),
        "beta_2": st.floats(0, 0.999),
        "tau": st.floats(1e-6, 1),
    }
)


@settings(deadline=None)
@given(PARAMETERS, VALUES, st.lists(CLIENTS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_some_rounds_are_those_of_the_paper_in_any_order_of_clients(parameters, base, rounds, random):
    strategy = FedAdam(**parameters)
    columns = [[(examples, [value]) for examples, value in clients] for clients in rounds]
    weights, state = rounds_of(strategy, [base], columns)
    assert [weights[0], state["m/w"][0], state["v/w"][0]] == pytest.approx(
        reference(strategy, base, rounds), rel=1e-6, abs=1e-30
    )
    shuffled = [random.sample(clients, len(clients)) for clients in columns]
    again, state_again = rounds_of(strategy, [base], shuffled)
    assert again.tobytes() == weights.tobytes()
    assert {name: array.tobytes() for name, array in state_again.items()} == {
        name: array.tobytes() for name, array in state.items()
    }


def test_two_steps_worked_out_by_hand():
    """With beta 1/2, tau 1 and step 1: delta 3, m 1.5, v 0.5 + 4.5 = 5; then delta 0, m 0.75, v 2.5."""
    strategy = FedAdam(server_learning_rate=1, beta_1=0.5, beta_2=0.5, tau=1)
    first, state = rounds_of(strategy, [1], [[(1, [4])]])
    assert first[0] == np.float32(1 + 1.5 / (math.sqrt(5) + 1))
    assert (state["m/w"].tolist(), state["v/w"].tolist()) == ([1.5], [5.0])
    second = strategy.aggregate({"w": first}, updates_of((1, {"w": first})), state)
    assert second.weights["w"][0] == np.float32(float(first[0]) + 0.75 / (math.sqrt(2.5) + 1))
    assert (second.state["m/w"].tolist(), second.state["v/w"].tolist()) == ([0.75], [2.5])


@given(VALUES, CLIENTS)
def test_a_step_is_never_longer_than_without_a_past(base, clients):
    """m <= delta and sqrt(v) >= sqrt(1 - beta_2) * delta bound what the server adds."""
    strategy = FedAdam(server_learning_rate=0.5, beta_1=0.0, beta_2=0.75)
    weights, _ = rounds_of(strategy, [base], [[(examples, [value]) for examples, value in clients]])
    assert abs(float(weights[0]) - float(np.float32(base))) <= 0.5 / math.sqrt(0.25) * 1.001 + abs(base) * 1e-6


def test_moving_statistics_and_integers_get_what_fedavg_gives_them():
    base = {
        "norm/moving_variance": np.ones(2, np.float32),
        "norm/moving_mean#2": np.zeros(2, np.float32),
        "n": np.array([5]),
    }
    base |= {"norm/gamma": np.ones(2, np.float32), "half": np.ones(2, np.float16)}
    changed = {name: array if name == "n" else array * array.dtype.type(0.25) for name, array in base.items()}
    updates = updates_of((1, changed), (3, base))
    made, mean = FedAdam().aggregate(base, updates, {}), federated_average(updates.weighted)
    for name in ("norm/moving_variance", "norm/moving_mean#2", "n"):
        assert made.weights[name].tobytes() == mean[name].tobytes()
    assert set(made.state) == {f"{kind}/{name}" for kind in "mv" for name in ("norm/gamma", "half")}
    assert {array.dtype for array in made.state.values()} == {np.dtype(np.float32)}
    assert {name: (array.dtype, array.shape) for name, array in made.weights.items()} == {
        n: (a.dtype, a.shape) for n, a in base.items()
    }


def test_the_figure_is_the_norm_of_the_pseudo_gradient():
    made = FedAdam().aggregate({"w": np.zeros(2, np.float32)}, updates_of((1, {"w": np.array([3, 4], np.float32)})), {})
    assert made.figures == {"pseudo_gradient_norm": 5.0}


def test_the_base_and_the_state_are_left_as_they_are():
    base, update = {"w": np.zeros(3, np.float32)}, {"w": np.ones(3, np.float32)}
    state = FedAdam().aggregate(base, updates_of((1, update)), {}).state
    for array in (*base.values(), *update.values(), *state.values()):
        array.flags.writeable = False
    FedAdam().aggregate(base, updates_of((1, update)), state)


@pytest.mark.parametrize("size", [32_767, 32_768, 70_001])
def test_blocks_do_not_show(size):
    rng = np.random.default_rng(size)
    base, update = ({"w": rng.normal(size=size).astype(np.float32)} for _ in range(2))
    whole = FedAdam().aggregate(base, updates_of((1, update)), {}).weights["w"]
    for at in (0, 32_766, size - 1):
        alone = FedAdam().aggregate({"w": base["w"][at : at + 1]}, updates_of((1, {"w": update["w"][at : at + 1]})), {})
        assert alone.weights["w"][0] == whole[at]
