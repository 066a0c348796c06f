"""Workers of attackers. They run the steps of an honest client, with a learner that forges what it learns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from fedstream.model.examples import Examples
from fedstream.model.learner import Learner, Learners, TrainingConfig, TrainResult
from fedstream.record.documents import Manifest, Metrics
from fedstream.record.weights import Weights
from fedstream.simulation.attacks import Attack
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
        self._forging = LocalWorker(replace(context, learners=ForgingLearners(context.learners, attack)))
        self._attackers = frozenset(attackers)

    def update(self, ask: Ask) -> Manifest | Refused:
        return (self._forging if ask.client in self._attackers else self._honest).update(ask)


class ForgingLearners(Learners):
    """The open models of a process, in the hands of an attacker.

    Args:
        honest: The open models.
        attack: What the attacker does.
    """

    def __init__(self, honest: Learners, attack: Attack) -> None:
        self._honest, self._attack = honest, attack

    def get(self, key: Hashable, make: Callable[[], Learner]) -> Learner:
        return ForgingLearner(self._honest.get(key, make), self._attack)


class ForgingLearner:
    """A learner that trains as an attacker does.

    Args:
        learner: The honest learner.
        attack: What the attacker does.
    """

    def __init__(self, learner: Learner, attack: Attack) -> None:
        self._learner, self._attack = learner, attack

    def train(self, weights: Weights, examples: Examples, config: TrainingConfig) -> TrainResult:
        """Train, and return the forged weights with the honest metrics."""
        result = self._learner.train(weights, self._attack.examples(examples), config)
        return result if config.measure_only else replace(result, weights=self._attack.weights(weights, result.weights))

    def measure(self, weights: Weights, x: NDArray[Any], y: NDArray[Any]) -> Metrics:
        return self._learner.measure(weights, x, y)

    def export(self, weights: Weights) -> dict[str, bytes]:
        return self._learner.export(weights)

    def why_no_gpu(self) -> str:
        return self._learner.why_no_gpu()
