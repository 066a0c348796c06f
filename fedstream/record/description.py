"""What the steps that do not train need to know about a model. Must not import TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from fedstream.errors import ModelError
from fedstream.record.names import invalid_names

SPARSE_LOSS = "sparse_categorical_crossentropy"
"""The loss whose labels are class numbers."""

BINARY_LOSS = "binary_crossentropy"
"""The loss of a single probability, whose labels are 0 and 1."""


class VariableDescription(BaseModel):
    """One variable that travels between clients and the aggregation.

    Attributes:
        name: Keras path of the variable, which is the same in every process.
        shape: dimensions of the variable.
        dtype: numpy's name for the type.
        trainable: whether training changes the variable by its gradient; absent in a model that an earlier version of
            fedstream added.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shape: list[int]
    dtype: str
    trainable: bool | None = Field(default=None, exclude_if=lambda trainable: trainable is None)


TEXT = "string"
"""The type of an input that takes text."""


class InputDescription(BaseModel):
    """One input of a model.

    Attributes:
        shape: shape of one record's part, without the batch dimension.
        dtype: Keras' name for the type, such as `float32` or `string`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: list[int]
    dtype: str


class ModelDescription(BaseModel):
    """A model as it was added.

    Attributes:
        name: model name.
        input_shape: shape of one record, without the batch dimension; empty for a model with several inputs.
        inputs: inputs by name, if there are several; otherwise only an input that takes text, under an empty name.
        output_shape: shape of one prediction, without the batch dimension.
        num_classes: labels are 0 ... num_classes - 1; absent when the labels are not class numbers.
        loss: name of the compiled loss.
        metrics: names of the compiled metrics, without the loss.
        variables: trainable variables and moving statistics, in Keras' order.
        keras_digest: sha256 of the .keras file.
        weights_digest: sha256 of the initial weights as safetensors.
        features: names of the columns of a flat record, in the order in which the model takes them; empty if the
            columns have no names.
        classes: names of the classes 0, 1, ...; empty if the classes have no names.
        outputs: names of the outputs, the last of which decides; not written for a model with one output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    input_shape: list[int]
    output_shape: list[int]
    num_classes: int | None
    loss: str
    metrics: list[str]
    variables: list[VariableDescription]
    keras_digest: str
    weights_digest: str
    features: list[str] = []
    classes: list[str] = []
    outputs: list[str] = Field(default=[], exclude_if=lambda outputs: not outputs)
    inputs: dict[str, InputDescription] = Field(default={}, exclude_if=lambda inputs: not inputs)

    @property
    def takes(self) -> dict[str, InputDescription]:
        """What the model takes, by the names of its inputs; a single input has an empty name."""
        return taken(self.input_shape, self.inputs)

    @property
    def shape_text(self) -> str:
        """The shape of one record for people: `(28, 28)`, and for several inputs `image (28, 28), patient (2,)`."""
        return ", ".join(f"{name} {tuple(one.shape)}".strip() for name, one in self.takes.items())

    @property
    def class_count(self) -> int | None:
        """Number of classes that the model tells apart, 2 for a single probability; None for any other output."""
        return self.num_classes or (2 if self.output_shape == [1] and self.loss == BINARY_LOSS else None)

    @property
    def parameters(self) -> int:
        """Number of values in all variables."""
        total = 0
        for variable in self.variables:
            size = 1
            for dimension in variable.shape:
                size *= dimension
            total += size
        return total


def taken(shape: list[int], inputs: dict[str, InputDescription]) -> dict[str, InputDescription]:
    """Return what a model takes, given the fields `input_shape` and `inputs` of its description."""
    return inputs or {"": InputDescription(shape=shape, dtype="float32")}


def named(description: ModelDescription, features: Sequence[str], classes: Sequence[str]) -> ModelDescription:
    """Return the description with the names of columns and classes, which can be empty.

    Raises:
        ModelError: the number of names does not fit the model, or a name is not valid.
    """
    for what, names in (("features", features), ("classes", classes)):
        if reason := invalid_names(names):
            raise ModelError(f"{what}: {reason}")
    if features and description.input_shape != [len(features)]:
        raise ModelError(
            f"features: {len(features)} names are given, but model {description.name!r} has input "
            f"{description.shape_text}; "
            "name each value of a flat record"
        )
    if classes and description.class_count != len(classes):
        count = (
            "does not tell classes apart"
            if description.class_count is None
            else f"tells {description.class_count} apart"
        )
        raise ModelError(
            f"classes: {len(classes)} names are given, but model {description.name!r} {count}; name each class once"
        )
    return description.model_copy(update={"features": list(features), "classes": list(classes)})
