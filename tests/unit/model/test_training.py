from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedstream.deadline import Deadline
from fedstream.errors import ModelError
from fedstream.model._tensorflow import keras
from fedstream.model.evaluation import evaluate_model
from fedstream.model.examples import Examples
from fedstream.model.files import load_keras, save_keras
from fedstream.model.keras_model import get_weights, set_weights
from fedstream.model.learner import TrainingConfig
from fedstream.model.training import Trainer, train_client
from fedstream.model.twin import compute_in_half
from fedstream.record.weights import digest

N, CLASSES = 203, 3


def records() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    y = generator.integers(0, CLASSES, N).astype(np.uint8)
    x = (generator.normal(0, 20, (N, 2, 2)) + 60 * y[:, None, None] + 60).clip(0, 255).astype(np.uint8)
    return x, y, np.arange(N) % 10 == 0


SPARSE = "sparse_categorical_crossentropy"


def make(
    *layers: Any, optimizer: Any = None, loss: str = SPARSE, metrics: Any = ("accuracy",), units: int = CLASSES
) -> Any:
    parts = keras().layers
    activation = "softmax" if units > 1 else "linear"
    before = [keras().Input((2, 2)), parts.Rescaling(1 / 255), parts.Flatten()]
    model = keras().Sequential([*before, *layers, parts.Dense(units, activation, name="classes")], name="small")
    model.compile(optimizer or keras().optimizers.SGD(0.5), loss, metrics=list(metrics))
    return load_keras(save_keras(model))


def restore(model: Any, weights: dict[str, np.ndarray], **config: Any) -> Any:
    x, y, held_out = records()
    set_weights(model, weights)
    return train_client(
        model, Examples(x, y, held_out), TrainingConfig(**({"epochs": 3, "batch_size": 10, "seed": 5} | config))
    )


def test_training_learns_and_counts_exactly_the_records_it_used() -> None:
    model = make()
    result = restore(model, get_weights(model), epochs=20)
    assert result.num_examples == result.training.num_examples == 182
    assert result.incoming.num_examples == result.trained.num_examples == 21
    assert result.trained.values["accuracy"] > 0.9 > result.incoming.values["accuracy"]
    assert result.trained.values["loss"] < result.incoming.values["loss"]
    assert sum(map(sum, result.trained.confusion)) == 21
    assert sum(result.trained.confusion[k][k] for k in range(CLASSES)) == round(result.trained.values["accuracy"] * 21)
    assert result.device.startswith(("CPU", "GPU"))


def test_metrics_are_those_of_numpy_whatever_the_batch() -> None:
    model = make()
    x, y, _ = records()
    p = np.array(model(x.astype(np.float32)))
    confusion = np.zeros((CLASSES, CLASSES), int)
    np.add.at(confusion, (y, p.argmax(1)), 1)
    for size in (1000, 64, 7):
        metrics = evaluate_model(model, x, y, batch_size=size)
        assert metrics.num_examples == N
        assert metrics.values["loss"] == pytest.approx(-np.log(p[np.arange(N), y]).mean(), rel=1e-5)
        assert metrics.values["accuracy"] == pytest.approx((p.argmax(1) == y).mean(), rel=1e-6)
        assert metrics.confusion == confusion.tolist()


def test_metrics_agree_with_keras_own_evaluate() -> None:
    model = make(metrics=["accuracy", "sparse_top_k_categorical_accuracy"])
    x, y, _ = records()
    expected = model.evaluate(x.astype(np.float32), y, batch_size=32, verbose=0, return_dict=True)
    assert evaluate_model(model, x, y, batch_size=32).values == pytest.approx(expected, rel=1e-5)


def test_one_step_of_sgd_is_the_one_of_numpy() -> None:
    """One full batch, no hidden layer: the gradient of softmax regression is known."""
    model = make()
    weights = get_weights(model)
    x, y, held_out = records()
    result = restore(model, weights, epochs=1, batch_size=1000, learning_rate=0.25)
    a = x[~held_out].reshape(-1, 4) / 255
    logits = a @ weights["classes/kernel"].astype(float) + weights["classes/bias"]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    gradient = (p - np.eye(CLASSES)[y[~held_out]]) / len(a)
    assert np.allclose(result.weights["classes/kernel"], weights["classes/kernel"] - 0.25 * a.T @ gradient, atol=1e-6)
    assert np.allclose(result.weights["classes/bias"], weights["classes/bias"] - 0.25 * gradient.sum(0), atol=1e-6)


def test_training_depends_on_nothing_the_process_did_before() -> None:
    layers = keras().layers
    model = make(
        layers.Dense(8), layers.Dropout(0.5), layers.BatchNormalization(), optimizer=keras().optimizers.Adam(0.01)
    )
    weights = get_weights(model)
    first = restore(model, weights)
    assert digest(restore(model, weights, seed=6).weights) != digest(first.weights), "the seed matters"
    restore(model, weights, learning_rate=0.1)
    again = restore(model, weights)
    assert digest(again.weights) == digest(first.weights)
    assert (again.incoming, again.trained, again.training) == (first.incoming, first.trained, first.training)
    assert digest(restore(load_keras(save_keras(model)), weights).weights) == digest(first.weights), (
        "in a model loaded anew, too"
    )


def test_moving_statistics_travel() -> None:
    model = make(keras().layers.BatchNormalization(name="norm"))
    weights = get_weights(model)
    assert not np.array_equal(restore(model, weights).weights["norm/moving_mean"], weights["norm/moving_mean"])


def test_dropout_follows_the_seed_and_not_the_file() -> None:
    model = make(keras().layers.Dropout(0.5))
    weights = get_weights(model)
    one_batch = {"epochs": 1, "batch_size": 1000}
    by_seed = {seed: digest(restore(model, weights, seed=seed, **one_batch).weights) for seed in (1, 2)}
    assert by_seed[1] != by_seed[2]


def test_mixed_precision_trains_in_half_and_keeps_weights_and_measurements_in_float32() -> None:
    layers = keras().layers
    keras().utils.set_random_seed(0)
    nested = keras().Sequential(
        [keras().Input((4,)), layers.Dense(8, "relu"), layers.BatchNormalization()], name="nested"
    )
    model = make(nested, optimizer=keras().optimizers.SGD(0.1, momentum=0.5))
    weights = get_weights(model)
    exact, half = restore(model, weights, epochs=1), restore(model, weights, epochs=1, mixed_precision=True)
    assert half.incoming == exact.incoming
    assert {name: (array.dtype, array.shape) for name, array in half.weights.items()} == {
        n: (a.dtype, a.shape) for n, a in exact.weights.items()
    }
    assert digest(half.weights) != digest(exact.weights)
    assert all(np.allclose(half.weights[name], exact.weights[name], atol=0.05) for name in weights)
    assert digest(restore(model, weights, epochs=1, mixed_precision=True).weights) == digest(half.weights), (
        "and is deterministic"
    )
    assert digest(restore(model, weights, epochs=1).weights) == digest(exact.weights), (
        "the model itself stays as it was"
    )


@pytest.mark.parametrize(("policy", "half"), [("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")])
def test_layers_compute_in_half_except_for_scaling_and_the_output(policy: str, half: str) -> None:
    layers = keras().layers
    own = layers.Dense(4, dtype="float64", name="own")
    model = make(
        layers.Reshape((2, 2)),
        layers.LSTM(4, name="lstm"),
        layers.Dense(4, name="hidden"),
        own,
        layers.Dense(4),
        optimizer="adam",
    )
    compute_in_half(model, policy)
    computes = {layer.name: layer.compute_dtype for layer in model.layers}
    assert (model.layers[0].compute_dtype, computes["own"], computes["classes"]) == ("float32", "float64", "float32")
    assert computes["lstm"] == computes["hidden"] == model.get_layer("lstm").cell.compute_dtype == half
    assert type(model.optimizer).__name__ == ("LossScaleOptimizer" if half == "float16" else "Adam")
    x, y, held_out = records()
    seen = keras().Model(model.inputs[0], model.get_layer("hidden").output)(x[:2].astype(np.float32))
    assert (seen.dtype.name, model(x[:2].astype(np.float32)).dtype.name) == (half, "float32")
    assert np.isfinite(
        train_client(model, Examples(x, y, held_out), TrainingConfig(batch_size=50)).training.values["loss"]
    )


def test_measuring_only_trains_nothing() -> None:
    model = make()
    weights = get_weights(model)
    result = restore(model, weights, measure_only=True)
    assert (result.weights, result.trained, result.training, result.num_examples) == ({}, None, None, 21)
    assert result.incoming == restore(model, weights).incoming
    set_weights(model, weights)
    restore(model, weights, measure_only=True)
    assert digest(get_weights(model)) == digest(weights)


def test_without_held_out_records_nothing_is_measured() -> None:
    model = make()
    x, y, _ = records()
    result = train_client(model, Examples(x, y, np.zeros(N, bool)), TrainingConfig(batch_size=10))
    assert (result.incoming, result.trained, result.num_examples) == (None, None, N)
    assert "loss" in result.training.values


def test_a_client_that_holds_out_everything_cannot_train() -> None:
    x, y, _ = records()
    with pytest.raises(ModelError, match="no record is left to train on: all 203 are held out"):
        train_client(make(), Examples(x, y, np.ones(N, bool)), TrainingConfig())


@pytest.mark.parametrize("rate", [1e20, 1e38])
def test_a_loss_that_is_not_finite_is_divergence(rate: float) -> None:
    model = make(keras().layers.Dense(4), loss="mse", metrics=["mae"], units=1)
    with pytest.raises(ModelError, match=f"training diverged with learning rate {rate:g}".replace("+", r"\+")):
        restore(model, get_weights(model), learning_rate=rate)


def test_nan_in_the_records_is_divergence_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    x, y, held_out = records()
    x = x.astype(np.float32)
    x[5] = np.nan
    with pytest.raises(ModelError, match="the loss is nan; use a smaller rate, or look for NaN in the records"):
        train_client(make(), Examples(x, y, held_out), TrainingConfig(batch_size=10))
    assert capfd.readouterr().out == ""


def test_a_model_that_is_not_finite_has_no_loss() -> None:
    model = make()
    set_weights(model, {name: np.full_like(array, np.nan) for name, array in get_weights(model).items()})
    x, y, _ = records()
    assert "loss" not in evaluate_model(model, x, y).values


def test_training_ends_at_its_deadline() -> None:
    model = make()
    weights = get_weights(model)
    with pytest.raises(ModelError, match="training passed the round's deadline"):
        restore(model, weights, deadline=Deadline.after(0))
    assert digest(restore(model, weights).weights) == digest(
        restore(model, weights, deadline=Deadline.after(60)).weights
    )


def test_a_learning_rate_schedule_cannot_be_overridden_but_can_be_used() -> None:
    schedule = keras().optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)
    model = make(optimizer=keras().optimizers.SGD(schedule))
    weights = get_weights(model)
    with pytest.raises(ModelError, match="learning rate schedule"):
        restore(model, weights, learning_rate=0.1)
    assert digest(restore(model, weights).weights) == digest(restore(model, weights).weights)


def test_regression_and_one_hot_labels_train_too() -> None:
    x, y, held_out = records()
    regression = make(loss="mse", metrics=["mae"], units=1)
    result = train_client(
        regression, Examples(x, y.astype(np.float64), held_out), TrainingConfig(batch_size=10, learning_rate=0.01)
    )
    assert result.trained.confusion is None
    assert set(result.trained.values) == {"loss", "mae"}
    one_hot = make(loss="categorical_crossentropy")
    assert (
        train_client(
            one_hot, Examples(x, np.eye(CLASSES)[y], held_out), TrainingConfig(batch_size=10, epochs=5)
        ).trained.values["accuracy"]
        > 0.5
    )


def test_labels_of_shape_one_are_class_numbers() -> None:
    x, y, _ = records()
    model = make()
    assert evaluate_model(model, x, y.reshape(-1, 1)) == evaluate_model(model, x, y)


def test_the_last_partial_batch_is_neither_dropped_nor_traced_again() -> None:
    traces = 0

    class Counting(keras().Sequential):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            nonlocal traces
            traces += 1
            return super().train_step(data)

    model = Counting([keras().Input((8, 8)), keras().layers.Flatten(), keras().layers.Dense(10, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    trainer, weights, seen = Trainer(model), get_weights(model), []
    for n in (40, 41, 7):
        examples = Examples(np.zeros((n, 8, 8), np.uint8), np.arange(n) % 10, np.zeros(n, bool))
        result = trainer.train(weights, examples, TrainingConfig(batch_size=10))
        assert result.training.num_examples == n
        assert int(model.optimizer.iterations) == 0, "the optimizer is given back as it was"
        seen.append(traces)
    assert seen == [seen[0]] * 3
