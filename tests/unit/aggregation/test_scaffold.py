"""SCAFFOLD: rounds with the numpy learner against algorithm 1 of the paper in a plain loop, and a round by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstream.aggregation.scaffold import ControlVariates, Scaffold
from fedstream.aggregation.updates import Update, Updates
from fedstream.model.examples import Examples
from fedstream.model.learner import TrainingConfig
from fedstream.model.numpy_learner import SoftmaxLearner, SoftmaxModel
from fedstream.record.extras import spec_of
from fedstream.record.local_rule import LocalTraining

FEATURES, CLASSES, BATCH, EPOCHS, RATE = 4, 3, 8, 2, 0.2
MODEL = SoftmaxModel(input_shape=[FEATURES], classes=CLASSES, learning_rate=RATE)


def records(seed, size):
    """Return records of which most are of one class, another one for each seed."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(size) < 0.8, seed % CLASSES, rng.integers(0, CLASSES, size))
    return rng.normal(size=(size, FEATURES)) + np.eye(CLASSES, FEATURES)[y], y


CLIENTS = [records(seed, size) for seed, size in enumerate((20, 33, 40, 27))]
ROUNDS = [(0, 1), (1, 2, 3), (0, 1, 2, 3), (2,), (0, 3)]
"""The clients that take part in each round."""


def gradient(weights, x, y):
    scores = x @ weights["kernel"] + weights["bias"]
    p = np.exp(scores - scores.max(1, keepdims=True))
    error = (p / p.sum(1, keepdims=True) - np.eye(CLASSES)[y]) / len(x)
    return {"kernel": x.T @ error, "bias": error.sum(0)}


def zeros():
    return {"kernel": np.zeros((FEATURES, CLASSES)), "bias": np.zeros(CLASSES)}


def algorithm_1(eta_g, seed_of):
    """Yield (x, c) after each round, in float64; the batches are those of the learner."""
    x, c, own = zeros(), zeros(), [zeros() for _ in CLIENTS]
    for number, sampled in enumerate(ROUNDS):
        moved, changed = zeros(), zeros()
        for i in sampled:
            (data, labels), y, steps = CLIENTS[i], {name: value.copy() for name, value in x.items()}, 0
            rng = np.random.default_rng(seed_of(number, i))
            for _ in range(EPOCHS):
                order = rng.permutation(len(data))
                for at in range(0, len(order), BATCH):
                    batch = order[at : at + BATCH]
                    g = gradient(y, data[batch], labels[batch])
                    y = {name: y[name] - RATE * (g[name] - own[i][name] + c[name]) for name in y}
                    steps += 1
            plus = {name: own[i][name] - c[name] + (x[name] - y[name]) / (steps * RATE) for name in y}
            for name in y:
                moved[name] += (y[name] - x[name]) / len(sampled)
                changed[name] += (plus[name] - own[i][name]) / len(CLIENTS)
            own[i] = plus
        x = {name: x[name] + eta_g * moved[name] for name in x}
        c = {name: c[name] + changed[name] for name in c}
        yield x, c


@pytest.mark.parametrize("eta_g", [1.0, 0.5])
def test_some_rounds_of_some_clients_are_those_of_algorithm_1(eta_g):
    strategy, learner, kept = Scaffold(server_learning_rate=eta_g), SoftmaxLearner(MODEL), {}
    weights, state = {name: value.astype(np.float32) for name, value in zeros().items()}, {}
    for number, (sampled, (x, c)) in enumerate(zip(ROUNDS, algorithm_1(eta_g, lambda n, i: 10 * n + i), strict=True)):
        sent = []
        for i in sampled:
            data, labels = CLIENTS[i]
            config = TrainingConfig(
                epochs=EPOCHS,
                batch_size=BATCH,
                seed=10 * number + i,
                rule=strategy.local_rule(),
                received=strategy.broadcast(weights, state),
                state=kept.get(i, {}),
            )
            result = learner.train(weights, Examples(data, labels, np.zeros(len(data), bool)), config)
            sent.append(Update(f"c{i}", result.num_examples, result.weights, result.extras))
            kept[i] = result.state
        made = strategy.aggregate(weights, Updates(sent, len(CLIENTS)), state)
        weights, state = made.weights, made.state
        for name in x:
            assert weights[name] == pytest.approx(x[name], abs=2e-6), (number, name)
            assert state[f"c/{name}"] == pytest.approx(c[name], abs=2e-6), (number, name)
    assert np.abs(state["c/kernel"]).max() > 0.01
    for name in x:
        mean = sum(kept[i][f"c/{name}"].astype(float) for i in range(len(CLIENTS))) / len(CLIENTS)
        assert state[f"c/{name}"] == pytest.approx(mean, abs=1e-5), "c is the mean of all c_i"


def training_of(start, trained, c, own, steps, rate):
    one = lambda value: np.array([value], np.float32)  # noqa: E731
    return LocalTraining(
        {"w": one(start)},
        {"w": one(trained)},
        {"c/w": one(c)},
        steps,
        rate,
        0,
        {} if own is None else {"c/w": one(own)},
        lambda: 0.0,
    )


@pytest.mark.parametrize(
    ("own", "new", "change"),
    [(0.5, 0.5 - 0.25 + 2 / (4 * 0.5), -0.25 + 1), (None, 0 - 0.25 + 1, 0.75)],
)
def test_a_clients_variate_worked_out_by_hand(own, new, change):
    """x = 3, y_i = 1, K = 4, eta_l = 1/2, c = 1/4."""
    made = ControlVariates().finish(training_of(3, 1, 0.25, own, 4, 0.5))
    assert (made.weights["w"][0], made.state["c/w"][0], made.extras["c/w"][0]) == (1, new, change)


def test_a_round_worked_out_by_hand():
    """2 of 4 clients, whatever their examples: x = 1 + 0.5 * ((3 - 1) + (7 - 1)) / 2, c = 1 + 2/4 * (1 + 3) / 2."""
    one = lambda value: np.array([value], np.float32)  # noqa: E731
    sent = [Update("a", 10, {"w": one(3)}, {"c/w": one(1)}), Update("b", 1, {"w": one(7)}, {"c/w": one(3)})]
    made = Scaffold(server_learning_rate=0.5).aggregate({"w": one(1)}, Updates(sent, 4), {"c/w": one(1)})
    assert (made.weights["w"].tolist(), made.state["c/w"].tolist()) == ([3.0], [2.0])


def test_the_gradient_is_corrected_by_the_difference_of_the_variates():
    rule, c, own = ControlVariates(), {"c/w": np.array([3.0])}, {"c/w": np.array([1.0])}
    assert rule.gradient("w", None, None, c, own).tolist() == [2.0]
    assert rule.gradient("w", None, None, c, {}).tolist() == [3.0]


def test_there_is_a_variate_of_each_variable_that_an_optimizer_can_update():
    base = {"w": np.ones((2, 3), np.float32), "norm/moving_mean": np.ones(2, np.float32), "n": np.array([5])}
    rule, strategy = Scaffold().local_rule(), Scaffold()
    assert rule.keeps(base) == rule.returns(base) == {"c/w": spec_of(base["w"])}
    assert {name: array.any() for name, array in strategy.broadcast(base, {}).items()} == {"c/w": False}
    sent = [
        Update("a", 1, {name: array + 2 if name != "n" else array for name, array in base.items()}, {"c/w": base["w"]})
    ]
    made = strategy.aggregate(base, Updates(sent), {})
    assert made.weights["norm/moving_mean"].tolist() == [3, 3]
    assert made.weights["n"].tolist() == [5]
    assert set(made.state) == {"c/w"}


VALUES = st.floats(-100, 100, width=32)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 100), VALUES, VALUES), min_size=1, max_size=6),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_clients_and_their_examples_make_no_difference(clients, others, random):
    def made_of(columns, examples):
        sent = [
            Update(name, examples or n, {"w": np.array([w], np.float32)}, {"c/w": np.array([c], np.float32)})
            for name, (n, w, c) in columns
        ]
        made = Scaffold().aggregate({"w": np.zeros(1, np.float32)}, Updates(sent, len(sent) + others), {})
        return made.weights["w"].tobytes(), made.state["c/w"].tobytes()

    columns = [(f"c{number}", client) for number, client in enumerate(clients)]
    assert made_of(columns, 0) == made_of(random.sample(columns, len(columns)), 7)


@pytest.mark.parametrize("size", [32_768, 70_001])
def test_blocks_do_not_show(size):
    rng = np.random.default_rng(size)
    base, w, dc, c = (rng.normal(size=size).astype(np.float32) for _ in range(4))
    whole = Scaffold().aggregate({"w": base}, Updates([Update("a", 1, {"w": w}, {"c/w": dc})], 3), {"c/w": c})
    for at in (0, 32_767, size - 1):
        one = slice(at, at + 1)
        alone = Scaffold().aggregate(
            {"w": base[one]}, Updates([Update("a", 1, {"w": w[one]}, {"c/w": dc[one]})], 3), {"c/w": c[one]}
        )
        assert alone.state["c/w"][0] == whole.state["c/w"][at]
        assert alone.weights["w"][0] == whole.weights["w"][at]
