"""Kafka-ML's distributed models: sub-models in a chain, each with a prediction of its own, as one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel, keras
from fedstream.model.files import load_any, save_keras

NAME = "chain"
"""Name of the joined model."""


def chained(files: Sequence[bytes]) -> bytes:
    """Return the .keras file of a model that joins sub-models to a chain.

    Each sub-model but the last has two outputs: what it passes to the next one, and its prediction. The last has only
    its prediction. The joined model returns all predictions, the last one last. It is compiled like the last sub-model,
    with that loss and those metrics for each output, all of the same weight.

    Args:
        files: Bytes of at least two .keras files, in the order of the chain. Only the last must be compiled.

    Raises:
        ModelError: The sub-models do not fit each other, two have the same name, or the last is not compiled.
    """
    models = [load_any(data) for data in files]
    if repeated := {model.name for model in models if [other.name for other in models].count(model.name) > 1}:
        raise ModelError(f"two sub-models have the name {min(repeated)!r}; give each a name of its own")
    first = models[0].inputs[0]
    given = keras().Input(first.shape[1:], dtype=first.dtype, name=first.name)
    passed, predictions = given, []
    for model in models[:-1]:
        passed, prediction = _outputs(model, passed, 2)
        predictions.append(prediction)
    joined = keras().Model(given, [*predictions, *_outputs(models[-1], passed, 1)], name=NAME)
    _compile_like(joined, models[-1])
    return save_keras(joined)


def _outputs(model: KerasModel, passed: Any, expected: int) -> list[Any]:
    """Return the outputs of a sub-model for what the one before passes to it."""
    if len(model.inputs) != 1 or len(model.outputs) != expected:
        what = "what it passes on, and its prediction" if expected == 2 else "the last one's prediction"
        raise ModelError(
            f"sub-model {model.name!r} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            f"a chain needs one input and {expected} ({what})"
        )
    if (shape := tuple(passed.shape[1:])) != (own := tuple(model.inputs[0].shape[1:])):
        raise ModelError(f"sub-model {model.name!r} has input {own}, but gets {shape} from the one before")
    outputs = model(passed)
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _compile_like(joined: KerasModel, last: KerasModel) -> None:
    if not getattr(last, "compiled", False):
        raise ModelError(
            f"the last sub-model, {last.name!r}, is not compiled; call `compile(...)`, "
            "since its loss and metrics are those of the chain"
        )
    config = last.get_compile_config()

    def fresh(name: str) -> Any:
        return keras().saving.deserialize_keras_object(config[name])

    metrics = [fresh("metrics") for _ in joined.outputs] if config.get("metrics") else None
    joined.compile(optimizer=fresh("optimizer"), loss=fresh("loss"), metrics=metrics)
