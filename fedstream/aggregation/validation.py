"""Stage 1: which updates may take part. One verdict, with a reason, for each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedstream.store.documents import Metrics

Weights = Mapping[str, np.ndarray]

LARGEST_METRIC = 1e100
"""No float32 model scores more; sums of such values over all clients' records stay finite."""


def why_invalid(base: Weights, update: Weights, num_examples: int, slice_records: int) -> str:
    """Return why an update cannot be averaged, or an empty string.

    Args:
        base: the global model the client received; name -> array.
        update: the client's weights; must have the names, shapes and dtypes of `base`.
        num_examples: examples the client says it trained on.
        slice_records: records of the slice it was given; the most it can have trained on.
    """
    return _why_bad_count(num_examples, slice_records) or _why_bad_names(base, update) or _why_bad_arrays(base, update)


def why_bad_metrics(incoming: Metrics | None, slice_records: int, metric: str) -> str:
    """Return why a client's measurement cannot be combined with the others', or an empty string.

    Args:
        incoming: what it measured; None if it holds no records out.
        slice_records: records of the slice it was given; the most it can have measured on.
        metric: the run's target metric, which must be among the values, as must the loss.
    """
    if incoming is None:
        return ""
    if incoming.num_examples > slice_records:
        return f"it says it measured on {incoming.num_examples} records, but its slice has {slice_records}"
    if missing := [name for name in (metric, "loss") if name not in incoming.values]:
        return f"it measured no finite {missing[0]}; look for NaN in its records"
    if large := [name for name, value in incoming.values.items() if abs(value) > LARGEST_METRIC]:
        return f"its {large[0]} is {incoming.values[large[0]]:g}, which is no measurement"
    if incoming.confusion is not None and any(len(row) != len(incoming.confusion) for row in incoming.confusion):
        return "its confusion matrix is not square"
    return ""


def _why_bad_count(num_examples: int, slice_records: int) -> str:
    if num_examples < 1:
        return f"num_examples is {num_examples}, expected at least 1"
    if num_examples > slice_records:
        return f"num_examples is {num_examples}, but its slice has {slice_records} records"
    return ""


def _why_bad_names(base: Weights, update: Weights) -> str:
    missing, extra = sorted(base.keys() - update.keys()), sorted(update.keys() - base.keys())
    if missing:
        return f"variable {missing[0]!r} is missing ({len(missing)} in all)"
    if extra:
        return f"variable {extra[0]!r} is not in the global model ({len(extra)} in all)"
    return ""


def _why_bad_arrays(base: Weights, update: Weights) -> str:
    for name in sorted(base):
        expected, got = base[name], update[name]
        if got.shape != expected.shape:
            return f"variable {name!r} has shape {got.shape}, expected {expected.shape}"
        if got.dtype != expected.dtype:
            return f"variable {name!r} has dtype {got.dtype}, expected {expected.dtype}"
        if not np.issubdtype(got.dtype, np.floating):
            if not np.array_equal(got, expected):
                return f"integer variable {name!r} differs from the global model; such variables are never averaged"
        elif not np.isfinite(got).all():
            bad = got[~np.isfinite(got)]
            return f"variable {name!r} has {bad.size} values that are not finite (first: {bad.flat[0]})"
    return ""
