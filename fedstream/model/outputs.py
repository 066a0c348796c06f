"""Models with several outputs that all predict the same label, such as early exits. The last output is the result."""

from __future__ import annotations

from typing import Any

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel, keras, tensorflow
from fedstream.record.measurement import has_range


def output_names(model: KerasModel) -> list[str]:
    """Return the names of the outputs, in the order of the model; empty if there is only one."""
    return list(model.output_names) if len(getattr(model, "outputs", None) or []) > 1 else []


def for_outputs(model: KerasModel, target: Any) -> Any:
    """Return targets as the model's loss expects them: the same for each output."""
    return [target] * len(model.outputs) if len(model.outputs) > 1 else target


def result(predicted: Any) -> Any:
    """Return what the last output predicts."""
    return predicted[-1] if isinstance(predicted, list | tuple) else predicted


def loss_names(model: KerasModel) -> list[str]:
    """Return the names of the outputs' own losses; empty if there is only one output."""
    return [f"{name}_loss" for name in output_names(model)]


def losses(model: KerasModel, target: Any, predicted: Any) -> dict[str, Any]:
    """Return the mean loss of each output, by name; Keras' own figures do not weight batches by their size."""
    names = loss_names(model)
    if not names:
        return {}
    measure = keras().losses.get(first_loss(model))
    return {name: tensorflow().reduce_mean(measure(target, own)) for name, own in zip(names, predicted, strict=True)}


def named(model: KerasModel, values: dict[str, float]) -> dict[str, float]:
    """Return metrics under the names that a run knows.

    The metrics of the last output have plain names, as if it were the only one: `accuracy`. Those of other outputs
    begin with its name: `edge_accuracy`. `loss` is the loss of all outputs together, and `edge_loss` that of one.
    """
    outputs, kept = output_names(model), {"loss", *loss_names(model)}

    def plain(name: str) -> str:
        output = max((output for output in outputs if name.startswith(f"{output}_")), key=len, default="")
        return name.removeprefix(f"{output}_") if outputs and output == outputs[-1] and name not in kept else name

    return {plain(name): value for name, value in values.items()}


def first_loss(model: KerasModel) -> Any:
    """Return the compiled loss; if there is one for each output, the first."""
    loss = model.loss
    if isinstance(loss, list | tuple | dict):
        return next(iter(loss.values() if isinstance(loss, dict) else loss))
    return loss


def check_outputs(model: KerasModel) -> None:
    """Check that the outputs can share the label, and that the names of their metrics are clear.

    Raises:
        ModelError: The outputs are not a list, have different shapes, or one's name reads like that of a metric.
    """
    names = output_names(model)
    if names and not isinstance(model.output, list | tuple):
        raise ModelError(f"model {model.name!r} returns its outputs by name; return a list, whose last one decides")
    if names and len(shapes := {tuple(tensor.shape) for tensor in model.outputs}) > 1:
        found = " and ".join(str(shape[1:]) for shape in sorted(shapes, key=str))
        raise ModelError(
            f"the outputs of model {model.name!r} have shapes {found}; all outputs predict the same label, "
            "so give them the same shape"
        )
    if unclear := [name for name in names if has_range(name)]:
        raise ModelError(
            f"output {unclear[0]!r} of model {model.name!r} is named like a metric, "
            "so its loss could not be told from one; name the layer of the output in another way"
        )
