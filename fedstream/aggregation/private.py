"""Stage: noise. The updates of a private round become one, their mean with noise, before the strategy sees any.

So whatever the strategy does, it does after the noise, and costs nothing.
"""

from __future__ import annotations

import numpy as np

from fedstream.aggregation.strategy import Strategy
from fedstream.aggregation.updates import Update, Updates
from fedstream.errors import SpecError
from fedstream.privacy.accounting import epsilon
from fedstream.privacy.mechanism import noised_mean
from fedstream.privacy.normals import Normals
from fedstream.record.spec import RunSpec
from fedstream.record.weights import Weights

MEAN = "mean"
"""Stands for the client in the one update of a private round."""


def check_private(spec: RunSpec, strategy: Strategy) -> None:
    """Check that the guarantee of a private run would hold, and that its budget allows a round.

    Raises:
        SpecError: it would not; one line says why, and what to change.
    """
    privacy = spec.privacy
    if not privacy.where:
        return
    clip_norm_of(spec)
    rule, any_model = strategy.local_rule(), {"any": np.zeros(1, np.float32)}
    if rule.returns(any_model) or rule.keeps(any_model):
        raise SpecError(
            f"privacy: the clients of strategy {spec.strategy} also write arrays that get no noise; use FedAvg"
        )
    if privacy.local and spec.exchange.personal:
        raise SpecError("privacy: personal variables of exchange are stored without noise; leave them out")
    if privacy.central and not strategy.of_mean:
        raise SpecError(
            f"privacy: strategy {spec.strategy} uses more of the updates than their mean, so it is not known how much "
            "one client can change; use FedAvg or a server optimizer, or local noise"
        )
    if privacy.central and spec.outlier_bound:
        raise SpecError(
            f"privacy: outlier_bound is {spec.outlier_bound:g}, but which updates are outliers depends on all of them, "
            "so one client could change more than its own; make it 0, as clipping bounds outliers too"
        )
    if privacy.central and spec.leave_one_out:
        raise SpecError(
            "privacy: leave_one_out measures models that get no noise, so it says more of a client than the budget "
            "allows; turn it off"
        )
    if (first := epsilon(privacy, 1)) > privacy.max_epsilon:
        raise SpecError(
            f"privacy: the first round would spend epsilon {first:.4g}, and max_epsilon is {privacy.max_epsilon:g}; "
            "raise noise_multiplier or max_epsilon"
        )


def clip_norm_of(spec: RunSpec) -> float:
    """Return the norm to which a private run clips the changes of its clients.

    Raises:
        SpecError: the run clips nothing, or to a norm that itself depends on the clients.
    """
    if not spec.clipping.norm:
        raise SpecError(
            'privacy: noise needs a bound on what one client can change; set clipping, such as {"norm": 1.0}'
        )
    if spec.clipping.quantile or spec.clipping.zero_above:
        raise SpecError(
            "privacy: quantile and zero_above of clipping depend on the norms of all clients, which would need noise "
            "of their own (Andrew et al. 2021); set only its norm"
        )
    return spec.clipping.norm


def private_mean(spec: RunSpec, base: Weights, updates: Updates, asked: int, normals: Normals | None) -> Updates:
    """Return the one update that the strategy of a run with central noise sees.

    Args:
        spec: the spec of the run.
        base: the global model that the clients received.
        updates: the accepted updates; their numbers of examples do not matter.
        asked: number of clients that the round asked, over which the mean is taken.
        normals: the noise; None for the mean without noise.
    """
    norm = clip_norm_of(spec)
    weights = [update.weights for update in updates]
    return only(noised_mean(base, weights, asked, norm, spec.privacy.noise_multiplier * norm, normals))


def only(weights: Weights) -> Updates:
    """Return a mean as the only update."""
    return Updates([Update(MEAN, 1, weights)])
