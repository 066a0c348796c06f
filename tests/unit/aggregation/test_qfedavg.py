"""q-FedAvg, against algorithm 2 of the paper in plain Python, and against a round worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import updates_of

from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.qfedavg import QFedAvg

RATE = 0.1


def made_of(strategy, base, clients):
    """Return the result of a round; a client is (loss, values of `w`)."""
    extras = [{"loss": np.array(loss), "learning_rate": np.array(RATE)} for loss, _ in clients]
    columns = [(7, {"w": np.array(w, np.float32)}, extra) for (_, w), extra in zip(clients, extras, strict=True)]
    return strategy.aggregate({"w": np.array(base, np.float32)}, updates_of(*columns), {})


def reference(q, base, clients):
    """Algorithm 2 as it stands, with L = 1 / learning rate."""
    lipschitz, changes, sizes = 1 / RATE, [], []
    for loss, w in clients:
        gradient = lipschitz * (base - w)
        changes.append(loss**q * gradient)
        sizes.append(q * loss ** (q - 1) * (gradient**2).sum() + lipschitz * loss**q)
    return base - sum(changes) / sum(sizes)


LOSSES = st.floats(0.01, 100)
VECTORS = st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=3)
CLIENTS = st.lists(st.tuples(LOSSES, VECTORS), min_size=1, max_size=6)


@settings(deadline=None)
@given(st.floats(0, 5), VECTORS, CLIENTS, st.randoms(use_true_random=False))
def test_a_round_is_that_of_the_paper_in_any_order_of_clients(q, base, clients, random):
    made = made_of(QFedAvg(q=q), base, clients)
    expected = reference(q, np.array(base), [(loss, np.array(w)) for loss, w in clients])
    assert made.weights["w"] == pytest.approx(expected, rel=1e-5, abs=1e-4)
    again = made_of(QFedAvg(q=q), base, random.sample(clients, len(clients)))
    assert again.weights["w"].tobytes() == made.weights["w"].tobytes()


def test_a_round_worked_out_by_hand():
    """q = 1, L = 10, losses 1 and 3, changes -1 and +1 of w = 0: Delta w is 10 and -10, Delta 10 and -30; h is
    100 + 10 and 100 + 30: the model moves by 20 / 240.
    """
    made = made_of(QFedAvg(q=1), [0], [(1, [-1]), (3, [1])])
    assert made.weights["w"][0] == pytest.approx(20 / 240)
    assert (made.figures["smallest_loss"], made.figures["largest_loss"]) == (1, 3)


@given(VECTORS, CLIENTS)
def test_with_q_0_all_clients_weigh_alike(base, clients):
    mean = federated_average([(1, {"w": np.array(w, np.float32)}) for _, w in clients])["w"]
    assert made_of(QFedAvg(q=0), base, clients).weights["w"] == pytest.approx(mean, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("loss", [1e300, 1e-300, 0.0, -5.0])
@pytest.mark.parametrize("q", [0.5, 1, 100])
def test_a_loss_that_no_client_should_report_does_not_fail_the_round(loss, q):
    made = made_of(QFedAvg(q=q), [0, 0], [(1.0, [1, 1]), (loss, [2, 2])])
    assert np.isfinite(made.weights["w"]).all()
    assert (made.weights["w"] >= 0).all()
    assert (made.weights["w"] <= 2).all()


def test_a_larger_q_moves_the_model_to_the_client_with_the_larger_loss():
    ratios = []
    for q in (0.0, 0.5, 2.0):
        w = made_of(QFedAvg(q=q), [0, 0], [(1.0, [1e-3, 0]), (2.0, [0, 1e-3])]).weights["w"]
        ratios.append(w[1] / w[0])
    assert ratios == pytest.approx([1.0, 2**0.5, 4.0], rel=1e-4)
