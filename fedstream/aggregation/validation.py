"""Stage 1: which updates can take part, judged by their values alone. The judge turns the results into verdicts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedstream.aggregation.norms import distance
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
    return Examined(problem) if problem else Examined("", distance(base, weights))


def _why_changed(base: Weights, weights: Weights) -> str:
    for name in sorted(base):
        if not np.issubdtype(base[name].dtype, np.floating) and not np.array_equal(weights[name], base[name]):
            return f"integer variable {name!r} differs from the global model; such variables are never averaged"
    return ""
