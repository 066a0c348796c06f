"""NumPy's dtypes by their names in announcements."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedstream.errors import AnnouncementError

DTYPES = {
    "half": np.float16,
    "float": np.float64,
    "float16": np.float16,
    "float32": np.float32,
    "double": np.float64,
    "float64": np.float64,
    "int": np.int64,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint64": np.uint64,
    "uint32": np.uint32,
    "uint16": np.uint16,
    "uint8": np.uint8,
    "bool": np.bool_,
    "bool_": np.bool_,
}
"""Kafka-ML's names of dtypes, including those that it infers.

`float` has 64 bits, as in NumPy. `string` is not included, because it has no fixed size and no model can train on it.
"""


def dtype_of(config: dict[str, Any], field: str) -> np.dtype[Any]:
    """Return the dtype in a field of an input_config.

    Raises:
        AnnouncementError: The field does not contain the name of a dtype.
    """
    name = config.get(field)
    if name == "string":
        raise AnnouncementError(
            f"input_config.{field}: 'string' has no fixed size, so no model can be trained on it; send numbers"
        )
    if not isinstance(name, str) or name not in DTYPES:
        raise AnnouncementError(f"input_config.{field}: {str(name)[:100]!r} is not one of {', '.join(DTYPES)}")
    return np.dtype(DTYPES[name])
