"""Learners that train in another way than an honest client, and do all else like one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

from numpy.typing import NDArray

from fedstream.model.learner import Learner, Learners, TrainingConfig, TrainResult
from fedstream.model.streaming import AnyExamples
from fedstream.preprocessing.transform import Transform
from fedstream.record.documents import Metrics
from fedstream.record.weights import Weights

Train: TypeAlias = Callable[[Learner, Weights, AnyExamples, TrainingConfig], TrainResult]
"""Trains with a learner, like its `train`."""


class OtherLearners(Learners):
    """The open models of a process, whose learners train in another way.

    Args:
        learners: The open models.
        train: The other way.
    """

    def __init__(self, learners: Learners, train: Train) -> None:
        self._learners, self._train = learners, train

    def get(self, key: Hashable, make: Callable[[], Learner]) -> Learner:
        return OtherLearner(self._learners.get(key, make), self._train)


class OtherLearner:
    """A learner that trains in another way.

    Args:
        learner: The learner.
        train: The other way.
    """

    def __init__(self, learner: Learner, train: Train) -> None:
        self._learner, self._train = learner, train

    def train(self, weights: Weights, examples: AnyExamples, config: TrainingConfig) -> TrainResult:
        return self._train(self._learner, weights, examples, config)

    def measure(self, weights: Weights, x: NDArray[Any], y: NDArray[Any]) -> Metrics:
        return self._learner.measure(weights, x, y)

    def predict(self, weights: Weights, x: NDArray[Any]) -> NDArray[Any]:
        return self._learner.predict(weights, x)

    def export(self, weights: Weights, transform: Transform | None = None) -> dict[str, bytes]:
        return self._learner.export(weights, transform)

    def why_no_gpu(self) -> str:
        return self._learner.why_no_gpu()
