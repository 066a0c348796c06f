"""Stage 1: which updates may take part, by their numbers alone. The judge makes verdicts of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedstream.record.judge import Examined

Weights = Mapping[str, np.ndarray]


def examine(base: Weights, update: Weights) -> Examined:
    """Compare an update with the global model it started from.

    Args:
        base: the global model the client received; name -> array.
        update: the client's weights; must have the names, shapes and dtypes of `base`, and be finite.
    """
    problem = _why_bad_names(base, update) or _why_bad_arrays(base, update)
    return Examined(problem) if problem else Examined("", _distance(base, update))


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


BLOCK = 2**18
"""Values compared at a time, so that the float64 copies stay in the processor's cache."""


def _distance(base: Weights, update: Weights) -> float:
    """Return the norm of the difference; scaled by its largest part, so that squares neither overflow nor vanish."""
    with np.errstate(over="ignore"):  # float64 weights can be that far apart; the norm says so
        norms = _norms(base, update)
    return _norm(np.array(norms))


def _norms(base: Weights, update: Weights) -> list[float]:
    return [
        _norm(np.subtract(update[name].reshape(-1)[at : at + BLOCK], base[name].reshape(-1)[at : at + BLOCK], dtype=np.float64))
        for name in sorted(base)
        if np.issubdtype(base[name].dtype, np.floating)
        for at in range(0, base[name].size, BLOCK)
    ]


def _norm(values: np.ndarray) -> float:
    largest = float(np.abs(values).max(initial=0.0))
    return largest * float(np.sqrt(np.square(values / largest).sum())) if 0 < largest < np.inf else largest
