"""Stage 1: which updates can take part, judged by their values alone. The judge turns the results into verdicts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedstream.record.extras import ArraySpec, spec_of, split, why_not
from fedstream.record.judge import Examined

Weights = Mapping[str, np.ndarray]


def examine(base: Weights, update: Weights, returned: Mapping[str, ArraySpec] | None = None) -> Examined:
    """Compare an update with the global model it started from.

    Args:
        base: the global model the client received; name -> array.
        update: what the client sent; its weights must have the names, shapes and dtypes of `base`, and be finite.
        returned: the extra arrays that the strategy's LocalRule returns; absent for none.
    """
    weights, extras = split(update)
    problem = (
        why_not({name: spec_of(array) for name, array in base.items()}, weights, "variable", "the global model")
        or _why_changed(base, weights)
        or why_not(returned or {}, extras, "extra array", "what the strategy asks for")
    )
    return Examined(problem) if problem else Examined("", _distance(base, weights))


def _why_changed(base: Weights, weights: Weights) -> str:
    for name in sorted(base):
        if not np.issubdtype(base[name].dtype, np.floating) and not np.array_equal(weights[name], base[name]):
            return f"integer variable {name!r} differs from the global model; such variables are never averaged"
    return ""


BLOCK = 2**18
"""Values compared at a time, so that the float64 copies stay in the processor's cache."""


def _distance(base: Weights, update: Weights) -> float:
    """Return the norm of the difference, scaled by its largest part so that squares neither overflow nor vanish."""
    with np.errstate(over="ignore"):  # float64 weights can be that far apart; the norm is then infinite
        norms = _norms(base, update)
    return _norm(np.array(norms))


def _norms(base: Weights, update: Weights) -> list[float]:
    return [
        _norm(
            np.subtract(
                update[name].reshape(-1)[at : at + BLOCK], base[name].reshape(-1)[at : at + BLOCK], dtype=np.float64
            )
        )
        for name in sorted(base)
        if np.issubdtype(base[name].dtype, np.floating)
        for at in range(0, base[name].size, BLOCK)
    ]


def _norm(values: np.ndarray) -> float:
    largest = float(np.abs(values).max(initial=0.0))
    return largest * float(np.sqrt(np.square(values / largest).sum())) if 0 < largest < np.inf else largest
