"""FedNova, against the paper's recursion of local gradients, and against rounds worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.fednova import FedNova
from fedstream.aggregation.updates import Update, Updates
from fedstream.errors import UpdateError


def updates_of(*clients, rate=0.1):
    """Return the updates of clients c0, c1, ...; each is (num_examples, steps, values of `w`)."""
    return Updates(
        Update(f"c{i}", examples, {"w": np.array(w, np.float32)}, {"learning_rate": np.array(rate)}, steps)
        for i, (examples, steps, w) in enumerate(clients)
    )


def coefficients(steps, momentum=0.0, held=0.0):
    """Return a_i: how often each of a client's gradients counts in its change, from the recursion of its optimizer."""
    x, velocity = np.zeros(steps), np.zeros(steps)
    for step in range(steps):
        gradient = held * x  # of the proximal term
        gradient[step] += 1
        velocity = momentum * velocity + gradient
        x = x - velocity
    return -x


@pytest.mark.parametrize("steps", [1, 2, 7, 30])
@pytest.mark.parametrize(("momentum", "mu"), [(0, 0), (0.5, 0), (0.9, 0), (0, 0.5), (0, 9)])
def test_the_sizes_are_those_of_the_local_solvers(steps, momentum, mu):
    """|a_i| of SGD, momentum and proximal SGD; the learning rate is 0.1."""
    a = coefficients(steps, momentum, 0.1 * mu)
    assert (a >= 0).all()
    assert FedNova(momentum=momentum, mu=mu)._size(steps, 0.1) == pytest.approx(a.sum(), rel=1e-9)


def reference(base, clients, sizes):
    """x + tau_eff * sum of p_i * (x_i - x) / |a_i|."""
    examples = sum(n for n, _, _ in clients)
    shares = [n / examples for n, _, _ in clients]
    effective = sum(p * size for p, size in zip(shares, sizes, strict=True))
    changes = [
        p * (np.float32(w).astype(float) - base) / size
        for p, size, (_, _, w) in zip(shares, sizes, clients, strict=True)
    ]
    return base + effective * sum(changes)


VALUES = st.floats(-100, 100, width=32)
CLIENTS = st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 500), VALUES), min_size=1, max_size=6)
SOLVERS = st.one_of(st.just({}), st.builds(dict, momentum=st.floats(0, 0.99)), st.builds(dict, mu=st.floats(0, 9.9)))


@settings(deadline=None)
@given(VALUES, CLIENTS, SOLVERS, st.randoms(use_true_random=False))
def test_a_round_is_that_of_the_paper_in_any_order_of_clients(base, clients, solver, random):
    strategy = FedNova(**solver)
    sizes = [strategy._size(steps, 0.1) for _, steps, _ in clients]
    columns = [(n, steps, [w]) for n, steps, w in clients]
    start = {"w": np.array([base], np.float32)}
    made = strategy.aggregate(start, updates_of(*columns), {})
    assert made.weights["w"][0] == pytest.approx(reference(float(np.float32(base)), clients, sizes), rel=1e-5, abs=1e-4)
    again = strategy.aggregate(start, updates_of(*random.sample(columns, len(columns))), {})
    assert again.weights["w"].tobytes() == made.weights["w"].tobytes()
    assert made.state == {}


def test_two_clients_worked_out_by_hand():
    """Shares 1/4 and 3/4, steps 2 and 10: tau_eff 8; 8 * (1/4 * 2/2 + 3/4 * 10/10) = 8, where FedAvg moves by 8 too;
    with equal gradients, a client that takes 10 steps instead of 2 moves 5 times as far, and counts no more for it.
    """
    made = FedNova().aggregate({"w": np.zeros(1, np.float32)}, updates_of((1, 2, [2]), (3, 10, [10])), {})
    assert made.weights["w"][0] == pytest.approx(8)
    assert made.figures["effective_steps"] == 8
    against = FedNova().aggregate({"w": np.zeros(1, np.float32)}, updates_of((1, 2, [2]), (1, 10, [-10])), {})
    assert against.weights["w"][0] == pytest.approx(0, abs=1e-6)


@given(st.lists(st.tuples(st.integers(1, 1000), VALUES), min_size=1, max_size=6), st.integers(1, 50), VALUES)
def test_with_equal_steps_it_is_fedavg(clients, steps, base):
    updates = updates_of(*[(n, steps, [w]) for n, w in clients])
    made = FedNova().aggregate({"w": np.array([base], np.float32)}, updates, {}).weights["w"][0]
    assert made == pytest.approx(federated_average(updates.weighted)["w"][0], rel=1e-5, abs=1e-4)


def test_the_learning_rate_is_what_most_clients_report():
    clients = [
        Update(f"c{i}", 1, {"w": np.ones(1, np.float32)}, {"learning_rate": np.array(r)}, 3)
        for i, r in enumerate([0.1, 0.1, 1e6])
    ]
    made = FedNova(mu=1).aggregate({"w": np.zeros(1, np.float32)}, Updates(clients), {})
    assert made.figures["effective_steps"] == pytest.approx(coefficients(3, held=0.1).sum())


def test_a_term_that_overshoots_is_refused():
    with pytest.raises(UpdateError, match="mu times the clients' learning rate is 1, and FedNova needs it below 1"):
        FedNova(mu=10).aggregate({"w": np.zeros(1, np.float32)}, updates_of((1, 2, [2])), {})


def test_integers_and_moving_statistics_become_the_mean_per_step():
    base = {"norm/moving_mean": np.zeros(1, np.float32), "n": np.array([5])}
    clients = [
        Update(
            f"c{i}",
            1,
            {"norm/moving_mean": np.array([w], np.float32), "n": np.array([5])},
            {"learning_rate": np.array(0.1)},
            steps,
        )
        for i, (steps, w) in enumerate([(1, 0.0), (3, 4.0)])
    ]
    made = FedNova().aggregate(base, Updates(clients), {}).weights
    assert made["n"].tolist() == [5]
    assert made["norm/moving_mean"][0] == pytest.approx(1.0)
    assert math.isfinite(made["norm/moving_mean"][0])
