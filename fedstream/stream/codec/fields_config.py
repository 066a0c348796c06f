"""The input_config of records with named fields: which fields form a sample and its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from fedstream.errors import AnnouncementError
from fedstream.record.names import invalid_names
from fedstream.stream.codec.dtypes import dtype_of, label_shape_of, layout_of
from fedstream.stream.codec.tensor import Tensor

KEY = ""
"""Name of the label's field in a key that is one value and no record."""

SAMPLE = "data"
"""Name of the field of a sample whose values have no names."""


def inputs_of(config: Mapping[str, Any]) -> tuple[tuple[str, Tensor], ...]:
    """Return the arrays of a sample: those of `inputs` by name, or one of `fields`.

    Raises:
        AnnouncementError: A field is missing or invalid. The message names the field.
    """
    inputs = config.get("inputs")
    if inputs is None:
        return (("", Tensor.from_config(config)),)
    if not isinstance(inputs, dict) or not inputs or not all(isinstance(own, dict) for own in inputs.values()):
        raise AnnouncementError(
            "input_config.inputs: give an object with the fields, data_type and data_reshape of each input of the model"
        )
    if reason := invalid_names(list(inputs)):
        raise AnnouncementError(f"input_config.inputs: {reason}")
    found = []
    for name, own in inputs.items():
        try:
            found.append((name, Tensor.from_config(own)))
        except AnnouncementError as error:
            raise AnnouncementError(f"input_config.inputs.{name}: {error}") from error
    return tuple(sorted(found, key=lambda pair: pair[0]))


def label_of(config: Mapping[str, Any], fields: Sequence[str] = (KEY,)) -> tuple[Tensor, str]:
    """Return the array of a label and the name of its field, from label_field, label_type and label_reshape.

    Args:
        config: The input_config; the default of label_type is int64 and that of label_reshape a scalar.
        fields: Fields of a key.

    Raises:
        AnnouncementError: A field is invalid. The message names the field.
    """
    field = label_field_of(config)
    given = {"label_type": "int64", "label_reshape": str(len(fields) if not field else 1), **config}
    names = (field,) if field else tuple(fields)
    return Tensor(names, dtype_of(given, "label_type"), label_shape_of(given)), field


def label_field_of(config: Mapping[str, Any]) -> str:
    """Return the name of the field that contains the label; empty if the record's key does.

    Raises:
        AnnouncementError: It is not a valid name.
    """
    field = config.get("label_field", "")
    if not isinstance(field, str) or (field and invalid_names([field])):
        raise AnnouncementError(
            "input_config.label_field: name the field that holds the label, or leave it out where the record's key does"
        )
    return field


def check_label_apart(inputs: tuple[tuple[str, Tensor], ...], label_field: str) -> None:
    """Check that the label is not part of the sample.

    Raises:
        AnnouncementError: It is.
    """
    if label_field in {name for _, tensor in inputs for name in tensor.fields}:
        raise AnnouncementError(f"input_config.fields: the name {label_field!r} is there twice")


def fields_of_sample(data: NDArray[Any], label: NDArray[Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the input_config of the first sample.

    It has one field for each named column, one for each input, or one for the whole sample.

    Raises:
        AnnouncementError: There are names, but not one for each value of a flat sample; or the dtype cannot be
            announced.
    """
    if names and data.shape != (len(names),):
        raise AnnouncementError(
            f"{len(names)} columns are named (features) for samples of shape {data.shape}; "
            "name each value of a flat sample, or none"
        )
    if data.dtype.names:
        parts = {name: layout_of(data[name], "data") | {"fields": [name]} for name in data.dtype.names}
        return {"inputs": parts} | layout_of(label, "label")
    return layout_of(data, "data") | {"fields": list(names) or [SAMPLE]} | layout_of(label, "label")
