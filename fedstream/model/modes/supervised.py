"""Training on labelled records."""

from __future__ import annotations

from fedstream.model.learner import Learner, TrainingConfig, TrainResult
from fedstream.model.streaming import AnyExamples
from fedstream.record.weights import Weights


class Supervised:
    """Trains on the labelled records; others are left alone."""

    def train(self, learner: Learner, weights: Weights, examples: AnyExamples, config: TrainingConfig) -> TrainResult:
        """Train and measure."""
        return learner.train(weights, examples, config)
