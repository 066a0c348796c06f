"""Check that records contain finite numbers only, because a single NaN spreads to the weights. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import RecordError


def check_finite(values: NDArray[Any], what: str, first: int = 0, names: Sequence[str] = ()) -> None:
    """Check that records contain neither NaN nor infinity.

    Args:
        values: Array of shape (n, ...) and any dtype; texts and whole numbers are finite.
        what: Kind of the values: `sample` or `label`.
        first: Number of the first record.
        names: Names of the columns of a flat record; empty if they have no names.

    Raises:
        RecordError: A record contains such a value. The message names the record and the column.
    """
    for name in values.dtype.names or ():
        check_finite(values[name], f"input {name!r}", first)
    if values.dtype.kind not in "fc" or (finite := np.isfinite(values)).all():
        return
    record, *index = (int(number) for number in np.argwhere(~finite)[0])
    where = (
        f" in column {names[index[0]]!r}"
        if names and len(index) == 1
        else f" at index {', '.join(map(str, index))}"
        if index
        else ""
    )
    count = int((~finite.reshape(len(values), -1)).any(axis=1).sum())
    more = f" ({count} of {len(values)} records have NaN or infinity)" if len(values) > 1 else ""
    raise RecordError(
        f"the {what} of record {first + record} has {values[(record, *index)]}{where}{more}; "
        "correct or leave out such records, or allow them with --allow-nan (allow_nan=True in Python)"
    )
