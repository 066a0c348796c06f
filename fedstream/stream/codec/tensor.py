"""An array that is made of some fields of a record."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError
from fedstream.record.names import invalid_names
from fedstream.stream.codec.dtypes import dtype_of, shape_of, shape_text, type_name
from fedstream.stream.codec.numbers import check_types, to_array

Record = Mapping[str, Any]
"""A decoded record: names of its fields -> numbers, texts, bytes, or lists of them."""


DEPTH = 32
"""Maximum nesting depth of the lists in a field."""


@dataclass(frozen=True)
class Tensor:
    """An array of a record: the values of its fields one after another, in a shape.

    A field contains one value, a list of values (of lists), or the bytes of an array in little-endian order.

    Attributes:
        fields: Names of the fields, in order.
        dtype: Dtype of the array; object for text.
        shape: Shape of the array; () for a scalar.
        missing: Whether a value can be missing, which is NaN in the array.
    """

    fields: tuple[str, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    missing: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Tensor:
        """Read fields, data_type (by default float32), data_reshape (by default one value for each field) and missing.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        fields = config.get("fields")
        if not isinstance(fields, list) or not fields or not all(isinstance(name, str) for name in fields):
            raise AnnouncementError(
                "input_config.fields: list the names of the fields that make a sample, in their order"
            )
        if reason := invalid_names(fields):
            raise AnnouncementError(f"input_config.fields: {reason}")
        given = {"data_type": "float32", "data_reshape": str(len(fields)), **config}
        shape = shape_of(given, "data_reshape")
        if math.prod(shape) % len(fields):
            raise AnnouncementError(
                f"input_config.data_reshape: {math.prod(shape)} values cannot come "
                f"from {len(fields)} fields of equal size"
            )
        found = cls(tuple(fields), dtype_of(given, "data_type"), shape, config.get("missing", False))
        if not isinstance(found.missing, bool):
            raise AnnouncementError("input_config.missing: give true or false")
        if found.missing and (found.dtype.kind != "f" or len(fields) != found.size):
            raise AnnouncementError(
                "input_config.missing: a missing value is NaN, which only a floating data_type with a field for each "
                "value can hold"
            )
        return found

    def config(self) -> dict[str, Any]:
        """Return the fields of an input_config, without the shape of one value for each field."""
        shape = {} if self.is_row else {"data_reshape": shape_text(self.shape)}
        missing = {"missing": True} if self.missing else {}
        return {"fields": list(self.fields), "data_type": type_name(self.dtype)} | shape | missing

    @property
    def is_row(self) -> bool:
        """Whether the array is flat and each field is one of its values."""
        return self.shape == (len(self.fields),)

    @cached_property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @cached_property
    def _get(self) -> Callable[[Record], Any]:
        return itemgetter(*self.fields)

    def _rows(self, found: Sequence[Record]) -> list[tuple[Any, ...]]:
        """Return the values of the fields of each record, without a call of Python for each."""
        if self.missing:
            return [tuple(math.nan if (v := one.get(name)) is None else v for name in self.fields) for one in found]
        values = map(self._get, found)
        return list(values) if len(self.fields) > 1 else list(zip(values))

    def stack(self, found: Sequence[Record]) -> NDArray[Any]:
        """Return the arrays (n, *shape) of n records.

        Raises:
            RecordError: A field is missing, or its value does not fit. If there is one record, the message names the
                field.
        """
        try:
            return self._stacked(self._rows(found))
        except (KeyError, RecordError) as error:
            if len(found) == 1:
                self._name_field(found[0])
            fields = f"field {self.fields[0]!r}" if len(self.fields) == 1 else "one of its fields"
            raise RecordError(f"{fields} {error}") from error

    def _stacked(self, rows: Sequence[Sequence[Any]]) -> NDArray[Any]:
        shape: tuple[int, ...] = (len(rows), *self.shape)
        if type(rows[0][0]) is bytes and self.dtype.kind != "O":
            return self._from_bytes(list(chain.from_iterable(rows))).reshape(shape)
        if len(self.fields) == self.size:
            return to_array(list(chain.from_iterable(rows)), self.dtype).reshape(shape)
        return self._from_lists(rows).reshape(shape)

    def _from_lists(self, rows: Sequence[Sequence[Any]]) -> NDArray[Any]:
        leaves = list(map(_leaves, rows))
        if odd := [len(own) for own in leaves if len(own) != self.size]:
            raise RecordError(f"holds {odd[0]:,} values, expected {self.size:,} of shape {self.shape}")
        return to_array(list(chain.from_iterable(leaves)), self.dtype)

    def _from_bytes(self, parts: Sequence[bytes]) -> NDArray[Any]:
        size = self.size // len(self.fields) * self.dtype.itemsize
        check_types(parts, {bytes}, "bytes")
        if odd := [len(part) for part in parts if len(part) != size]:
            raise RecordError(
                f"holds {odd[0]:,} bytes, expected {size:,} ({self.dtype.name} of shape {self.shape}, little-endian)"
            )
        return np.frombuffer(b"".join(parts), self.dtype.newbyteorder("<")).astype(self.dtype)

    def spread(self, array: NDArray[Any], binary: Collection[str] = ()) -> dict[str, Any]:
        """Return the values of the fields: one value, a list or bytes for each.

        Args:
            array: The array.
            binary: Names of the fields that contain bytes.

        Raises:
            ValueError: The array has another size.
        """
        array, count = np.asarray(array, self.dtype), len(self.fields)
        if binary and set(self.fields) <= set(binary):
            parts: list[Any] = [
                part.tobytes() for part in array.astype(self.dtype.newbyteorder("<")).reshape(count, -1)
            ]
        elif count == self.size:
            parts = array.ravel().tolist()
            if self.missing:
                parts = [None if math.isnan(value) else value for value in parts]
        else:
            parts = [array.reshape(self.shape).tolist()] if count == 1 else array.reshape(count, -1).tolist()
        return dict(zip(self.fields, parts, strict=True))

    def _name_field(self, record: Record) -> None:
        """Raise the error of the first field that is wrong by itself."""
        expected = "text" if self.dtype.kind == "O" else "a number"
        for name in self.fields:
            if record.get(name) is None and not self.missing:
                raise RecordError(f"field {name!r} is missing or null, expected {expected}")
            try:
                if len(self.fields) == self.size and record.get(name) is not None:
                    to_array([record[name]], self.dtype)
            except RecordError as error:
                raise RecordError(f"field {name!r} {error}") from error


def _leaves(values: Sequence[Any]) -> Sequence[Any]:
    """Return the values in lists of lists, which are nested equally deep, in order."""
    for _ in range(DEPTH):
        if not values or type(values[0]) is not list:
            return values
        if set(map(type, values)) != {list}:
            break
        values = list(chain.from_iterable(values))
    raise RecordError(f"holds lists that are nested unequally, or deeper than {DEPTH} levels")
