"""Models with several outputs that predict the same label, alone and joined from a chain of sub-models."""

import numpy as np
import pytest

from fedstream.errors import ModelError
from fedstream.model._tensorflow import keras
from fedstream.model.evaluation import evaluate_model
from fedstream.model.examples import Examples
from fedstream.model.files import describe, load_keras, save_keras
from fedstream.model.keras_model import get_weights
from fedstream.model.learner import TrainingConfig
from fedstream.model.outputs import named
from fedstream.model.prediction import class_probabilities, predictor
from fedstream.model.source import read_model, read_models
from fedstream.model.training import Trainer
from fedstream.record.weights import digest

EARLY_EXIT = "examples.model_early_exit:build"


def pictures(records=80):
    rng = np.random.default_rng(0)
    return rng.integers(0, 17, (records, 8, 8)).astype(np.uint8), rng.integers(0, 10, records)


@pytest.fixture(scope="module")
def early_exit():
    return load_keras(read_model(EARLY_EXIT))


def dense(units, name, activation="softmax"):
    return keras().layers.Dense(units, activation, name=name)


def part(name, inputs, passes, loss=None):
    """Return a sub-model in the way of Kafka-ML: what it passes on, and its prediction; the last has passes 0."""
    given = keras().Input(inputs)
    hidden = keras().layers.Flatten()(given)
    hidden = dense(passes or 16, "hidden", "relu")(hidden)
    prediction = dense(10, "prediction")(hidden)
    model = keras().Model(given, [hidden, prediction] if passes else [prediction], name=name)
    if loss:
        model.compile(keras().optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def files(tmp_path, *models):
    paths = [tmp_path / f"{number}.keras" for number, _ in enumerate(models)]
    for model, path in zip(models, paths, strict=True):
        model.save(path)
    return [str(path) for path in paths]


SPARSE = "sparse_categorical_crossentropy"


def test_a_description_names_the_outputs_and_their_metrics():
    description, _ = describe(read_model(EARLY_EXIT), "m")
    assert description.outputs == ["edge", "cloud"]
    assert (description.output_shape, description.num_classes, description.loss) == ([10], 10, SPARSE)
    assert description.metrics == ["accuracy", "cloud_loss", "edge_accuracy", "edge_loss"]


def test_a_model_with_one_output_is_described_as_before():
    description, _ = describe(save_keras(part("one", (4,), 0, SPARSE)), "m")
    assert description.outputs == []
    assert "outputs" not in description.model_dump()
    assert description.metrics == ["accuracy"]


def test_each_output_is_measured_exactly_and_the_last_decides(early_exit):
    x, y = pictures()
    measured = evaluate_model(early_exit, x, y, batch_size=33)
    found = [np.asarray(output) for output in early_exit(x.astype(np.float32))]
    losses = [-np.log(own[np.arange(len(y)), y]).mean() for own in found]
    edge, cloud = ((own.argmax(axis=1) == y).mean() for own in found)
    assert measured.values == pytest.approx(
        {
            "accuracy": cloud,
            "edge_accuracy": edge,
            "edge_loss": losses[0],
            "cloud_loss": losses[1],
            "loss": sum(losses),
        },
        rel=1e-5,
    )
    expected = np.zeros((10, 10), int)
    np.add.at(expected, (y, found[1].argmax(axis=1)), 1)
    assert measured.confusion == expected.tolist()


def test_it_trains_like_keras_fit(early_exit):
    x, y = pictures(64)
    config = TrainingConfig(batch_size=64, seed=1)
    start = get_weights(early_exit)
    result = Trainer(early_exit).train(start, Examples(x, y, np.zeros(64, bool)), config)
    plain = load_keras(read_model(EARLY_EXIT))
    plain.fit(x.astype(np.float32), [y, y], batch_size=64, shuffle=False, verbose=0)
    for name, values in get_weights(plain).items():
        assert np.allclose(result.weights[name], values, atol=1e-6), name
    assert {"accuracy", "edge_accuracy", "edge_loss", "cloud_loss", "loss"} == result.training.values.keys()


def test_it_trains_in_half_precision_too(early_exit):
    x, y = pictures(40)
    result = Trainer(early_exit).train(
        get_weights(early_exit), Examples(x, y, np.arange(40) % 4 == 0), TrainingConfig(mixed_precision=True)
    )
    assert result.trained.values.keys() == result.incoming.values.keys() > {"accuracy", "edge_accuracy"}


def test_predictions_are_those_of_the_last_output(early_exit):
    x, _ = pictures(5)
    expected = np.asarray(early_exit(x.astype(np.float32))[-1])
    assert np.allclose(predictor(early_exit)(x), expected, atol=1e-6)
    assert np.allclose(class_probabilities(early_exit)(x), expected, atol=1e-6)


def test_sub_models_are_joined_to_a_chain(tmp_path):
    edge, fog, cloud = part("edge", (8, 8), 16), part("fog", (16,), 12), part("cloud", (12,), 0, SPARSE)
    data = read_models(files(tmp_path, edge, fog, cloud))
    description, _ = describe(data, "m")
    assert (description.input_shape, description.outputs) == ([8, 8], ["edge", "fog", "cloud"])
    others = [f"{name}_{what}" for name in ("edge", "fog") for what in ("accuracy", "loss")]
    assert description.metrics == sorted(["accuracy", "cloud_loss", *others])
    assert len(description.variables) == 12
    x, _ = pictures(3)
    x = x.astype(np.float32)
    passed, first = edge(x)
    passed, second = fog(passed)
    for found, expected in zip(load_keras(data)(x), (first, second, cloud(passed)), strict=True):
        assert np.allclose(found, np.asarray(expected[0] if isinstance(expected, list) else expected), atol=1e-6)
    model = load_keras(data)
    assert (model.loss, float(model.optimizer.learning_rate)) == (SPARSE, pytest.approx(0.1))
    assert read_models(files(tmp_path, edge, fog, cloud)) == data


def test_a_chain_is_trained_and_comes_back_from_its_file(tmp_path):
    model = load_keras(read_models(files(tmp_path, part("edge", (8, 8), 16), part("cloud", (16,), 0, SPARSE))))
    x, y = pictures(20)
    result = Trainer(model).train(get_weights(model), Examples(x, y, np.zeros(20, bool)), TrainingConfig())
    assert digest(get_weights(load_keras(save_keras(model)))) == digest(result.weights)


def outputs(names=("edge", "cloud"), units=(10, 10), losses=(SPARSE, SPARSE), as_dict=False):
    given = keras().Input((4,))
    made = [dense(size, name)(given) for name, size in zip(names, units, strict=True)]
    model = keras().Model(given, dict(zip(names, made, strict=True)) if as_dict else made, name="two")
    model.compile("sgd", dict(zip(names, losses, strict=True)) if as_dict else list(losses))
    return save_keras(model)


def test_outputs_whose_names_begin_alike_are_told_apart():
    model = load_keras(outputs(names=("cloud_a", "cloud")))
    values = {"loss": 1.0, "cloud_loss": 2.0, "cloud_accuracy": 3.0, "cloud_a_accuracy": 4.0, "cloud_a_loss": 5.0}
    assert named(model, values) == {
        "loss": 1.0,
        "cloud_loss": 2.0,
        "accuracy": 3.0,
        "cloud_a_accuracy": 4.0,
        "cloud_a_loss": 5.0,
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"units": (10, 9)}, r"outputs of model 'two' have shapes \(10,\) and \(9,\); all outputs predict the same"),
        ({"losses": (SPARSE, "mse")}, "compiled with the losses mse and sparse_categorical_crossentropy; all outputs"),
        ({"names": ("layer2", "cloud")}, "output 'layer2' of model 'two' is named like a metric"),
        ({"as_dict": True}, "model 'two' returns its outputs by name; return a list, whose last one decides"),
    ],
)
def test_outputs_that_cannot_share_a_label_are_refused(change, reason):
    with pytest.raises(ModelError, match=reason):
        describe(outputs(**change), "m")


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        (lambda: [part("edge", (8, 8), 16), part("cloud", (12,), 0, SPARSE)], r"'cloud' has input \(12,\), but gets"),
        (lambda: [part("a", (8, 8), 16), part("a", (16,), 0, SPARSE)], "two sub-models have the name 'a'"),
        (lambda: [part("edge", (8, 8), 16), part("cloud", (16,), 0)], "last sub-model, 'cloud', is not compiled"),
        (lambda: [part("edge", (8, 8), 0), part("cloud", (16,), 0, SPARSE)], "'edge' has 1 inputs and 1 outputs"),
        (lambda: [part("edge", (8, 8), 16), part("cloud", (16,), 9)], "'cloud' has 1 inputs and 2 outputs"),
    ],
)
def test_sub_models_that_do_not_fit_each_other_are_refused(tmp_path, models, reason):
    with pytest.raises(ModelError, match=reason):
        read_models(files(tmp_path, *models()))
