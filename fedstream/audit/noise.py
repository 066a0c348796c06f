"""What can be checked of a round with central noise without its secret.

If the strategy takes the mean of the updates as the new global model, the model on record is that mean with noise. All
else follows from it, and its difference from the mean without noise must be as large as the noise. A server optimizer
leaves no such trace, so only the figures are checked.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np

from fedstream.aggregation.outcome import Outcome, combine_updates
from fedstream.aggregation.private import clip_norm_of, only, private_mean
from fedstream.aggregation.updates import Updates
from fedstream.record.commit import Commit
from fedstream.record.spec import RunSpec
from fedstream.record.sums import total
from fedstream.record.weights import Weights, digest
from fedstream.steps.aggregation import read_round, same_figures
from fedstream.steps.noise import COMMITMENT, privacy_figures
from fedstream.store.mapped import Downloads
from fedstream.store.state import RunState

NOISE_ALONE = "the noise was not made again without its secret; it is as large as it should be"
NOTHING = "the global model was not computed again without the secret of its noise, on which the strategy builds"

ERRORS = 10.0
"""Standard errors by which the sum of squares may miss its mean: a chance below 1e-20 for a model of any size, and
below 1e-6 for one of ten values."""

LARGEST = 10.0
"""Standard deviations that no value of the noise exceeds: a chance of 1e-23 for each."""


def aggregate_without_secret(
    state: RunState, commit: Commit, base: Weights, recorded: Weights, downloads: Downloads
) -> tuple[Outcome | None, str]:
    """Return the outcome of a round if the model on record is the mean with noise, and what is wrong with the noise.

    Args:
        state: The run.
        commit: The commit of the round.
        base: The global model that the clients received.
        recorded: The global model of the round.
        downloads: Fetches the updates.

    Returns:
        The outcome; None if the strategy does not take the mean as the model. And a problem; empty for none.

    Raises:
        RunError: The round exceeds the budget.
    """
    spec, (updates, server_state) = state.record.spec, read_round(state, commit.round, base, commit.clients, downloads)
    committed = str(commit.figures.get(COMMITMENT, ""))
    figures = privacy_figures(state, commit.round, commit.clients, committed)
    if not re.fullmatch("[0-9a-f]{64}", committed):
        return None, f"its commit has no {COMMITMENT}, which could prove its noise"
    outcome = combine_updates(spec, base, only(recorded), server_state)
    if digest(outcome.weights) == digest(recorded):
        wrong = why_implausible_noise(spec, base, updates, len(commit.clients), recorded)
        return replace(outcome, figures=outcome.figures | figures), wrong
    said = {name: value for name, value in commit.figures.items() if name in figures}
    return None, "" if same_figures(said, figures) else f"its commit says {said}, expected {figures}"


def why_implausible_noise(spec: RunSpec, base: Weights, updates: Updates, asked: int, recorded: Weights) -> str:
    """Return why the difference between a model and the mean of the updates cannot be the noise, or an empty string.

    Args:
        spec: The spec of the run.
        base: The global model that the clients received.
        updates: The accepted updates.
        asked: Number of clients that the round asked.
        recorded: The mean with noise, as on record.
    """
    plain = dict(private_mean(spec, base, updates, asked, None)[0].weights)
    std = spec.privacy.noise_multiplier * clip_norm_of(spec) / asked
    squares, roundings, values = 0.0, 0.0, 0
    for name in sorted(base):
        # A negative moving variance becomes 0, so what is left of its noise is not normal.
        if not np.issubdtype(base[name].dtype, np.floating) or name.rpartition("/")[2].startswith("moving_variance"):
            continue
        noise = (recorded[name].astype(np.float64) - plain[name]).reshape(-1) / std
        larger = np.maximum(np.abs(recorded[name]), np.abs(plain[name])).reshape(-1)
        rounding = np.spacing(larger).astype(np.float64) / std
        if (worst := float(np.max(np.abs(noise) - rounding, initial=0.0))) > LARGEST:
            return f"a value of {name} is {worst:.3g} standard deviations of the noise from the mean of the updates"
        squares, roundings = squares + total(np.square(noise)), roundings + total(np.square(rounding))
        values += noise.size
    # The squares of normal values have the mean 1 and the variance 2; roundings add at most this (Cauchy-Schwarz).
    allowed = ERRORS * math.sqrt(2 * values) + roundings + 2 * math.sqrt(squares * roundings)
    if abs(squares - values) > allowed:
        return (
            f"the difference from the mean of the updates has {math.sqrt(squares / values):.4g} times the standard "
            "deviation of the noise"
        )
    return ""
