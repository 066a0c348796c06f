"""Training on labelled records, and on others that the model labels itself (self-training, pseudo-labels)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.model.examples import Examples
from fedstream.model.learner import Learner, TrainingConfig, TrainResult
from fedstream.model.streaming import AnyExamples, in_memory
from fedstream.record.weights import Weights

SECONDS = "device_seconds"
"""Figure of a training that adds up over several."""


@dataclass(frozen=True)
class SemiSupervised:
    """Trains on labels, labels the other records by confident predictions, and trains on both, again and again.

    Every training starts from the global weights, so that the update is that of one ordinary training, on more records:
    local rules, noise and the number of steps mean what they always mean. All records are labelled anew each time, so
    that a model that has learned more can correct an early mistake.

    D.-H. Lee, Pseudo-Label, 2013; names and defaults of the parameters are those of Kafka-ML.

    Attributes:
        rounds: Maximum number of times that the records are labelled, at least 1.
        confidence: Minimum probability of a prediction that becomes a label, in [0.5, 1].
    """

    rounds: int = 5
    confidence: float = 0.9

    def train(self, learner: Learner, weights: Weights, examples: AnyExamples, config: TrainingConfig) -> TrainResult:
        """Train and measure. Only labelled records count as examples; nothing is measured on pseudo-labels.

        1. Train on the labelled records.
        2. Label the others where the trained model is confident.
        3. Stop if these are no labels, or those of the last time; otherwise train on both, and go back to 2.
        """
        examples = in_memory(examples, "training on records without labels")
        result, unlabelled = learner.train(weights, examples, config), examples.unlabelled
        if config.measure_only or unlabelled is None:
            return result
        trainings, used = [result], (np.empty(0, np.intp), np.empty(0, np.int64))
        for _ in range(self.rounds if len(unlabelled) else 0):
            if result.epochs is not None:  # the deadline ended it, and would end the next training too
                break
            found = self._label(learner, result.weights, unlabelled)
            if not len(found[0]) or all(map(np.array_equal, used, found)):
                break
            result, used = learner.train(weights, _with(examples, unlabelled, *found), config), found
            trainings.append(result)
        seconds = {SECONDS: sum(one.figures[SECONDS] for one in trainings)} if SECONDS in result.figures else {}
        return replace(
            result,
            num_examples=trainings[0].num_examples,
            pseudo_labelled=len(used[0]),
            figures=result.figures | seconds,
        )

    def _label(self, learner: Learner, weights: Weights, x: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return the numbers of the records that the model is confident of, and their classes."""
        found = learner.predict(weights, x)
        chosen = np.flatnonzero(found.max(axis=1) >= self.confidence)
        return chosen, found[chosen].argmax(axis=1)


def _with(
    examples: Examples, unlabelled: NDArray[Any], chosen: NDArray[np.intp], labels: NDArray[np.int64]
) -> Examples:
    """Return the examples with the chosen records and their labels to train on."""
    y = labels.reshape(-1, *[1] * (examples.y.ndim - 1))
    return Examples(
        np.concatenate([examples.x, unlabelled[chosen]]),
        np.concatenate([examples.y, y]),
        np.concatenate([examples.held_out, np.zeros(len(chosen), bool)]),
    )
