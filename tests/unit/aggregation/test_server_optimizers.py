"""FedAvgM, FedAdagrad, FedYogi and FedOpt, against their papers' formulas in plain Python, and steps worked out by
hand. test_fedadam.py has what they share.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import rounds_of, updates_of

from fedstream.aggregation.fedadagrad import FedAdagrad
from fedstream.aggregation.fedadam import FedAdam
from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.fedavgm import FedAvgM
from fedstream.aggregation.fedopt import FedOpt
from fedstream.aggregation.fedyogi import FedYogi


def f32(value):
    return float(np.float32(value))


def momentum(strategy, delta, m, _):
    """Hsu et al. 2019: v = beta * v + delta; w = w + v, or along delta + beta * v with Nesterov's gradient."""
    m = f32(strategy.momentum * m + delta)
    return m, None, strategy.server_learning_rate * (delta + strategy.momentum * m if strategy.nesterov else m)


def adaptive(strategy, delta, m, v):
    """Reddi et al. 2021, algorithm 2, lines 12 to 15."""
    m = f32(strategy.beta_1 * m + (1 - strategy.beta_1) * delta)
    if isinstance(strategy, FedAdagrad):
        v = f32(v + delta**2)
    else:
        v = f32(v - (1 - strategy.beta_2) * delta**2 * ((v > delta**2) - (v < delta**2)))
    return m, v, strategy.server_learning_rate * m / (math.sqrt(v) + strategy.tau)


def reference(strategy, step, base, rounds):
    """One element; what is kept from one round to the next is float32."""
    x, m, v = f32(base), 0.0, f32(strategy.tau**2) if hasattr(strategy, "tau") else None
    for clients in rounds:
        total = sum(examples for examples, _ in clients)
        delta = f32(math.fsum(examples * f32(value) for examples, value in clients) / total) - x
        m, v, change = step(strategy, delta, m, v)
        x = f32(x + change)
    return [x, m] if v is None else [x, m, v]


VALUES = st.floats(-100, 100, width=32)
CLIENTS = st.lists(st.tuples(st.integers(1, 1000), VALUES), min_size=1, max_size=6)
ROUNDS = st.lists(CLIENTS, min_size=1, max_size=4)
RATE, DECAY, TAU = st.floats(1e-3, 2), st.floats(0, 0.99), st.floats(1e-4, 1)
STRATEGIES = st.one_of(
    st.builds(FedAvgM, server_learning_rate=RATE, momentum=DECAY, nesterov=st.booleans()),
    st.builds(FedAdagrad, server_learning_rate=RATE, beta_1=DECAY, tau=TAU),
    st.builds(FedYogi, server_learning_rate=RATE, beta_1=DECAY, beta_2=DECAY, tau=TAU),
)


@settings(deadline=None)
@given(STRATEGIES, VALUES, ROUNDS, st.randoms(use_true_random=False))
def test_some_rounds_are_those_of_the_paper_in_any_order_of_clients(strategy, base, rounds, random):
    columns = [[(examples, [value]) for examples, value in clients] for clients in rounds]
    weights, state = rounds_of(strategy, [base], columns)
    found = [weights[0], *(state[name][0] for name in sorted(state))]
    expected = reference(strategy, momentum if isinstance(strategy, FedAvgM) else adaptive, base, rounds)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
    again, _ = rounds_of(strategy, [base], [random.sample(clients, len(clients)) for clients in columns])
    assert again.tobytes() == weights.tobytes()


@pytest.mark.parametrize(
    ("strategy", "first", "second"),
    [
        # delta 3; then the clients stay at the new model, so that delta is 0
        (FedAvgM(momentum=0.5), 1 + 3, 4 + 1.5),
        (FedAvgM(momentum=0.5, nesterov=True), 1 + 3 + 1.5, 5.5 + 0.5 * 1.5),
        (FedAvgM(momentum=0, server_learning_rate=2), 1 + 6, 7),
        (FedAdagrad(server_learning_rate=1, tau=1), 1 + 3 / (math.sqrt(1 + 9) + 1), None),
        (
            FedYogi(server_learning_rate=1, beta_1=0.5, beta_2=0.5, tau=1),
            1 + 1.5 / (math.sqrt(1 + 4.5) + 1),  # v = 1 < 9, so it grows by half of 9
            1 + 1.5 / (math.sqrt(5.5) + 1) + 0.75 / (math.sqrt(5.5) + 1),  # v > 0, so it shrinks by half of 0
        ),
    ],
)
def test_two_steps_worked_out_by_hand(strategy, first, second):
    x, state = rounds_of(strategy, [1], [[(1, [4])]])
    assert x[0] == pytest.approx(first, rel=1e-7)
    again = strategy.aggregate({"w": x}, updates_of((1, {"w": x})), state).weights["w"]
    assert again[0] == pytest.approx(first if second is None else second, rel=1e-7)


def test_yogi_forgets_by_a_fixed_part_of_the_square_and_not_of_the_past():
    strategy = FedYogi(server_learning_rate=1, beta_1=0, beta_2=0.75, tau=0.5)
    x, state = np.zeros(1, np.float32), {"m/w": np.zeros(1, np.float32), "v/w": np.array([16], np.float32)}
    made = strategy.aggregate({"w": x}, updates_of((1, {"w": np.array([2], np.float32)})), state)
    assert made.state["v/w"].tolist() == [16 - 0.25 * 4]
    adam = FedAdam(**strategy.model_dump()).aggregate({"w": x}, updates_of((1, {"w": x + 2})), state)
    assert adam.state["v/w"].tolist() == [0.75 * 16 + 0.25 * 4]


@settings(deadline=None)
@given(st.floats(0, 1e3), st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20), DECAY)
def test_yogis_second_moment_is_never_negative(start, deltas, beta_2):
    second = FedYogi(beta_2=beta_2).optimizer_of_server().second
    v = np.array([start])
    for delta in deltas:
        v = second(v, np.square(np.array([delta])))
        assert v[0] >= 0


@pytest.mark.parametrize(
    ("optimizer", "strategy"), [("sgdm", FedAvgM), ("adagrad", FedAdagrad), ("adam", FedAdam), ("yogi", FedYogi)]
)
def test_fedopt_is_each_of_the_others(optimizer, strategy):
    rng = np.random.default_rng(1)
    rounds = [[(int(rng.integers(1, 9)), rng.normal(size=5)) for _ in range(3)] for _ in range(3)]
    one = FedOpt(optimizer=optimizer, server_learning_rate=0.3, beta_1=0.4, nesterov=True)
    other = strategy(**{name: getattr(one, name) for name in strategy.model_fields})
    found, expected = (rounds_of(which, rng.normal(size=5) * 0, rounds) for which in (one, other))
    assert found[0].tobytes() == expected[0].tobytes()
    assert {n: a.tobytes() for n, a in found[1].items()} == {n: a.tobytes() for n, a in expected[1].items()}


def test_fedopt_with_sgd_moves_part_of_the_way_and_keeps_nothing():
    made = FedOpt(optimizer="sgd", server_learning_rate=0.25).aggregate(
        {"w": np.zeros(2, np.float32)}, updates_of((1, {"w": np.array([4, 8], np.float32)})), {}
    )
    assert (made.weights["w"].tolist(), made.state) == ([1.0, 2.0], {})


def test_without_a_past_and_with_step_1_the_model_is_fedavgs():
    rng = np.random.default_rng(2)
    updates = updates_of(*[(n, {"w": rng.normal(size=100).astype(np.float32)}) for n in (1, 5, 7)])
    base, mean = {"w": rng.normal(size=100).astype(np.float32)}, federated_average(updates.weighted)["w"]
    plain = FedOpt(optimizer="sgd", server_learning_rate=1).aggregate(base, updates, {}).weights["w"]
    assert plain.tobytes() == mean.tobytes()
    rounded = FedAvgM(momentum=0).aggregate(base, updates, {}).weights["w"]  # through a momentum kept as float32
    assert rounded == pytest.approx(mean, rel=1e-6, abs=1e-6)
