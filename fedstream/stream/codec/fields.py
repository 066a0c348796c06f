"""Records with named fields: which fields form a sample and its label. The codecs of such records share this class."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import RecordError
from fedstream.stream.codec.dtypes import described, shape_text, type_name
from fedstream.stream.codec.part import TEXT_BYTES
from fedstream.stream.codec.tensor import Record, Tensor
from fedstream.stream.records import UNLABELLED, RawRecords, RecordSize

NUMBER_BYTES = 64
"""Maximum size of a number with its punctuation in bytes; Python writes a float64 in at most 24 bytes."""

OTHER_BYTES = 16 * 1024
"""Maximum size of a record's other fields and whitespace in bytes."""

KEY_BYTES = 1024
"""Maximum size of a key in bytes. A key that is not a label can be, for example, a patient's number."""

BATCH = 256
"""Number of records that are decoded at once: Python's objects of a whole slice would not fit into memory."""


@dataclass(frozen=True)
class FieldsCodec(ABC):
    """A format whose records have named fields.

    Attributes:
        inputs: The arrays of a sample by the names of the model's inputs; one array without a name for a model with
            one input.
        label: The array of a label.
        label_field: Name of the field of the value that contains the label; empty if the label is the record's key.
    """

    inputs: tuple[tuple[str, Tensor], ...]
    label: Tensor
    label_field: str

    kind: ClassVar[str]
    """Name of the format."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Read an announcement's input_config.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """

    @classmethod
    def unlabelled(cls, config: dict[str, Any]) -> Self:
        """Read the input_config of records for inference. What describes labels has defaults in most formats.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        return cls.from_config(config)

    @abstractmethod
    def read(self, values: Sequence[bytes]) -> Sequence[Record]:
        """Return the fields of each value.

        Raises:
            RecordError: A value is not such a record. If there is one value, the message says why.
        """

    @abstractmethod
    def read_keys(self, keys: Sequence[bytes]) -> Sequence[Record]:
        """Return the fields of each key, which contain the label.

        Raises:
            RecordError: A key is not a label. If there is one key, the message says why.
        """

    @abstractmethod
    def write(self, fields: dict[str, Any]) -> bytes:
        """Return the value of a record with these fields.

        Raises:
            RecordError: The format cannot represent a value.
        """

    @abstractmethod
    def write_key(self, fields: dict[str, Any]) -> bytes:
        """Return the key of a record whose label has these fields.

        Raises:
            RecordError: The format cannot represent a value.
        """

    @property
    def binary(self) -> Collection[str]:
        """Names of the fields that contain the bytes of an array; most formats have no bytes."""
        return ()

    @property
    def names(self) -> Sequence[str]:
        """Names of the fields of a flat sample."""
        tensor = self.inputs[0][1]
        return tensor.fields if len(self.inputs) == 1 and not self.inputs[0][0] and tensor.is_row else ()

    @property
    def data_dtype(self) -> np.dtype[Any]:
        """Dtype of a sample, with a field for each named input."""
        if self.inputs[0][0]:
            return np.dtype([(name, tensor.dtype, tensor.shape) for name, tensor in self.inputs])
        return self.inputs[0][1].dtype

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of a sample; () for named inputs."""
        return () if self.inputs[0][0] else self.inputs[0][1].shape

    @property
    def label_dtype(self) -> np.dtype[Any]:
        """Dtype of a label; object for text."""
        return self.label.dtype

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of a label; () for a scalar."""
        return self.label.shape

    @property
    def record_size(self) -> RecordSize:
        """Maximum size of a record in bytes, with all names escaped and some room for unused fields."""
        tensors = [tensor for _, tensor in self.inputs] + ([self.label] if self.label_field else [])
        value = OTHER_BYTES + sum(map(_most_bytes, tensors))
        key = KEY_BYTES + (0 if self.label_field else self.label.size * NUMBER_BYTES)
        return RecordSize(value, key, keyless=bool(self.label_field))

    @property
    def sample_format(self) -> str:
        """Dtype and names of the fields."""
        fields = ", ".join(name for _, tensor in self.inputs for name in tensor.fields)
        simple = self.inputs[0][1].is_row and not self.inputs[0][0]
        types = type_name(self.data_dtype) if simple else described(self.data_dtype, self.data_shape)
        return f"{types} {self.kind} fields {fields}"

    def config(self) -> dict[str, Any]:
        """Return the announcement's input_config."""
        if self.inputs[0][0]:
            sample: dict[str, Any] = {"inputs": {name: tensor.config() for name, tensor in self.inputs}}
        else:
            sample = self.inputs[0][1].config()
        shape = {"label_reshape": shape_text(self.label.shape)} if self.label.shape else {}
        return sample | {"label_field": self.label_field, "label_type": type_name(self.label.dtype)} | shape

    def in_order(self, own: Sequence[str], wanted: Sequence[str]) -> Self:
        """Return a codec that reads the same fields in the order of the run's columns."""
        field = dict(zip(own, self.names, strict=True)) if len(own) == len(self.names) else {}
        if not field or field.keys() != set(wanted):
            return self
        tensor = replace(self.inputs[0][1], fields=tuple(field[name] for name in wanted))
        return replace(self, inputs=(("", tensor),))

    def encode(self, sample: NDArray[Any], label: NDArray[Any] | None) -> tuple[bytes, bytes]:
        """Return the fields as the value, and those of the label or a single zero byte as the key.

        Raises:
            RecordError: The format cannot represent a value.
        """
        fields = dict[str, Any]()
        for name, tensor in self.inputs:
            fields |= tensor.spread(sample[name] if name else sample, self.binary)
        target = None if label is None else self.label.spread(label, self.binary)
        if self.label_field:
            fields |= target or {}
        return self.write(fields), UNLABELLED if self.label_field or target is None else self.write_key(target)

    def decode_records(self, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return samples (n, *data_shape) and labels (n, *label_shape).

        Raises:
            RecordError: A record is not as announced. The message names its topic, partition and offset.
        """
        samples = np.empty((len(records), *self.data_shape), self.data_dtype)
        labels = np.empty((len(records), *self.label_shape), self.label_dtype)
        for first, values, keys in _batches(records):
            part = slice(first, first + len(values))
            try:
                self._decode(values, keys, samples[part], labels[part])
            except RecordError:
                self._name_wrong(records, first, values, keys)
                raise
        return samples, labels

    def decode_sample(self, value: bytes | None) -> NDArray[Any]:
        """Return one sample of data_shape.

        Raises:
            RecordError: There is no value, or the value is not as announced.
        """
        if value is None or len(value) > (limit := self.record_size.value):
            raise RecordError(
                "it has no value"
                if value is None
                else f"it has a value of {len(value):,} bytes, expected {limit:,} at most"
            )
        sample = np.empty((1, *self.data_shape), self.data_dtype)
        self._fill(sample, self.read([value]))
        return np.asarray(sample[0], self.data_dtype)

    def _decode(
        self, values: Sequence[bytes], keys: Sequence[bytes], samples: NDArray[Any], labels: NDArray[Any]
    ) -> None:
        found = self.read(values)
        self._fill(samples, found)
        try:
            labels[...] = self.label.stack(found if self.label_field else self.read_keys(keys))
        except RecordError as error:
            if keys[0] == UNLABELLED and not self.label_field:
                raise RecordError("its key is a single zero byte, which marks a record without label") from error
            where = f"field {self.label_field!r}" if self.label_field else "its key"
            reason = str(error).removeprefix(f"field {self.label.fields[0]!r} ").removeprefix("its key ")
            raise RecordError(f"{where} (its label) {reason}") from error

    def _fill(self, samples: NDArray[Any], found: Sequence[Record]) -> None:
        for name, tensor in self.inputs:
            (samples[name] if name else samples)[...] = tensor.stack(found)

    def _name_wrong(self, records: RawRecords, first: int, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        """Decode the records one by one, to raise the error of the first that is wrong."""
        samples, labels = (
            np.empty((1, *self.data_shape), self.data_dtype),
            np.empty((1, *self.label_shape), self.label_dtype),
        )
        for index, (value, key) in enumerate(zip(values, keys, strict=True), first):
            try:
                self._decode([value], [key], samples, labels)
            except RecordError as error:
                raise RecordError(f"record {records.where(index)}: {error}. Send it again as announced") from error


def _batches(records: RawRecords) -> Iterator[tuple[int, list[bytes], list[bytes]]]:
    """Yield the number of the first record, the values and the keys of some records at a time."""
    values, keys = iter(records.values), iter(records.keys)
    for first in range(0, len(records), BATCH):
        yield first, list(islice(values, BATCH)), list(islice(keys, BATCH))


def _most_bytes(tensor: Tensor) -> int:
    names = sum(len(json.dumps(name)) for name in tensor.fields)
    return names + (TEXT_BYTES if tensor.dtype.kind == "O" else tensor.size * NUMBER_BYTES)
