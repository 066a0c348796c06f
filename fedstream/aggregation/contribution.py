"""How each accepted update relates to the step that the round's global model took. Pure."""

from __future__ import annotations

import math

import numpy as np

from fedstream.aggregation.updates import Updates
from fedstream.record.commit import Contribution
from fedstream.record.sums import total
from fedstream.record.weights import Weights


def contributions(base: Weights, model: Weights, updates: Updates) -> dict[str, Contribution]:
    """Return the contribution of each client, over all floating-point variables.

    Args:
        base: The global model that the clients received.
        model: The global model that the round produced from the updates.
        updates: The accepted updates.

    Returns:
        client -> contribution. Clients are left out whose norm exceeds the range of float64.
    """
    squares, products, step_square = np.zeros(len(updates)), np.zeros(len(updates)), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for name, part, values in updates.blocks():
            before = base[name].reshape(-1)[part].astype(np.float64)
            step = model[name].reshape(-1)[part] - before
            step_square += total(np.square(step))
            for number, value in enumerate(values):
                change = value - before
                products[number] += total(change * step)
                squares[number] += total(np.square(change))
        norms, step_norm = np.sqrt(squares), math.sqrt(step_square)
        cosines = products / (norms * step_norm)
    return {
        update.client: Contribution(norm=float(norm), cosine=_bounded(cosine))
        for update, norm, cosine in zip(updates, norms, cosines, strict=True)
        if math.isfinite(norm)
    }


def _bounded(cosine: float) -> float | None:
    return min(1.0, max(-1.0, float(cosine))) if math.isfinite(cosine) else None
