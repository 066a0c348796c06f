"""CSV records: the value is one line, and the label is one of its columns or the record's key."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError
from fedstream.record.names import invalid_names
from fedstream.stream.codec.fields import NUMBER_BYTES, FieldsCodec
from fedstream.stream.codec.fields_config import KEY, check_label_apart, fields_of_sample, inputs_of, label_of
from fedstream.stream.codec.tensor import Record, Tensor
from fedstream.stream.records import RecordSize

DELIMITERS = ",;|\t"
"""Characters that can separate columns."""

WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")

NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")

TRUE_FALSE = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True)
class CsvCodec(FieldsCodec):
    """The CSV format of one stream.

    Attributes:
        columns: Names of all columns of a line, in order.
        delimiter: Character between two columns.
    """

    columns: tuple[str, ...]
    delimiter: str

    kind = "CSV"

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Read an announcement's input_config.

        It consists of columns, delimiter (by default a comma), and what the JSON format has. The default of fields is
        all columns but the label's.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        columns, delimiter = config.get("columns"), config.get("delimiter", ",")
        if not isinstance(columns, list) or not columns or not all(isinstance(name, str) for name in columns):
            raise AnnouncementError("input_config.columns: list the names of all columns of a line, in their order")
        if reason := invalid_names(columns):
            raise AnnouncementError(f"input_config.columns: {reason}")
        if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter not in DELIMITERS:
            raise AnnouncementError(
                f"input_config.delimiter: give one of {', '.join(map(repr, DELIMITERS))}, which separates columns"
            )
        label, label_field = label_of(config)
        rest = [name for name in columns if name != label_field]
        inputs = inputs_of({"fields": rest} | config)
        check_label_apart(inputs, label_field)
        used = [label_field] if label_field else []
        for name in used + [name for _, tensor in inputs for name in tensor.fields]:
            if name not in columns:
                raise AnnouncementError(f"input_config.columns: there is no column {name!r}, which is used")
        for tensor in [label] + [tensor for _, tensor in inputs]:
            if len(tensor.fields) != tensor.size:
                raise AnnouncementError(
                    f"input_config: {len(tensor.fields)} columns do not make {tensor.size} values "
                    f"of shape {tensor.shape}"
                )
        return cls(inputs, label, label_field, tuple(columns), delimiter)

    @classmethod
    def from_sample(cls, data: NDArray[Any], label: NDArray[Any], names: Sequence[str] = ()) -> Self:
        """Infer the format from the first sample; columns without names are numbered.

        Raises:
            AnnouncementError: The dtype or shape cannot be announced.
        """
        config = fields_of_sample(data, label, names)
        columns = list(names) or [str(number) for number in range(data.size)]
        return cls.from_config(config | {"fields": columns, "columns": columns})

    def config(self) -> dict[str, Any]:
        """Return the announcement's input_config."""
        return super().config() | {"columns": list(self.columns), "delimiter": self.delimiter}

    @property
    def record_size(self) -> RecordSize:
        """Maximum size of a record in bytes, with some room for each column that is not used."""
        size = super().record_size
        return RecordSize(size.value + NUMBER_BYTES * len(self.columns), size.key, keyless=size.keyless)

    def read(self, values: Sequence[bytes]) -> Sequence[Record]:
        return [self._row(value) for value in values]

    def read_keys(self, keys: Sequence[bytes]) -> Sequence[Record]:
        return [{KEY: _value(_text(key, "key"), self.label.dtype)} for key in keys]

    def write(self, fields: dict[str, Any]) -> bytes:
        line = io.StringIO()
        cells = [_cell(fields.get(name, "")) for name in self.columns]
        csv.writer(line, delimiter=self.delimiter).writerow(cells)
        return _bytes(line.getvalue().removesuffix("\r\n"))

    def write_key(self, fields: dict[str, Any]) -> bytes:
        return _bytes(_cell(fields[KEY]))

    def _row(self, value: bytes) -> Record:
        text = _text(value, "value")
        try:
            rows = list(csv.reader([text.removesuffix("\n").removesuffix("\r")], delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            raise RecordError(f"its value is not a line of CSV ({error})") from error
        cells = rows[0] if rows else []
        if len(cells) != len(self.columns):
            raise RecordError(f"its value has {len(cells):,} columns, expected {len(self.columns):,}")
        row = dict(zip(self.columns, cells, strict=True))
        for name, dtype in self._types:
            row[name] = _value(row[name], dtype)
        return row

    @property
    def _types(self) -> list[tuple[str, np.dtype[Any]]]:
        """The columns that are used, and their dtypes."""
        own: list[Tensor] = [tensor for _, tensor in self.inputs] + ([self.label] if self.label_field else [])
        return [(name, tensor.dtype) for tensor in own for name in tensor.fields]


def _text(data: bytes, what: str) -> str:
    try:
        if 0 not in data:
            return data.decode()
    except UnicodeDecodeError:
        pass
    raise RecordError(f"its {what} is not text in UTF-8")


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise RecordError(f"a text cannot be written in UTF-8 ({error.reason}); correct it") from error


def _value(cell: str, dtype: np.dtype[Any]) -> Any:
    """Return the value of a cell. One that is not of the dtype stays text, which is refused later."""
    if dtype.kind == "O":
        return cell
    if dtype.kind == "b":
        return TRUE_FALSE.get(cell.strip().lower(), cell)
    if not cell.strip():
        return None
    if len(cell) > NUMBER_BYTES or not NUMBER.fullmatch(cell):
        return cell
    number = float(cell)
    if WHOLE.fullmatch(cell):
        return int(cell)
    return number if math.isfinite(number) else cell


def _cell(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(
            "a record holds NaN or infinity, which CSV cannot spell here; correct it, or send RAW records"
        )
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)
