"""Workers of attackers. They run the steps of an honest client, with a learner that forges what it learns."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial

from fedstream.model.learner import Learner, TrainingConfig, TrainResult
from fedstream.model.streaming import AnyExamples
from fedstream.record.documents import Manifest
from fedstream.record.weights import Weights
from fedstream.simulation.attacks import Attack
from fedstream.simulation.learners import OtherLearners
from fedstream.steps.context import Context
from fedstream.worker.worker import Ask, LocalWorker, Refused


class AttackedWorker:
    """A worker whose attackers replace the update that their own training would send.

    Args:
        context: The context in which the steps run.
        attack: What the attackers do.
        attackers: Names of the attackers.
    """

    def __init__(self, context: Context, attack: Attack, attackers: Collection[str]) -> None:
        self._honest = LocalWorker(context)
        self._forging = LocalWorker(replace(context, learners=OtherLearners(context.learners, partial(forged, attack))))
        self._attackers = frozenset(attackers)

    def update(self, ask: Ask) -> Manifest | Refused:
        return (self._forging if ask.client in self._attackers else self._honest).update(ask)


def forged(
    attack: Attack, learner: Learner, weights: Weights, examples: AnyExamples, config: TrainingConfig
) -> TrainResult:
    """Train as an attacker does, and return the forged weights with the honest metrics."""
    result = learner.train(weights, attack.examples(examples), config)
    return result if config.measure_only else replace(result, weights=attack.weights(weights, result.weights))
