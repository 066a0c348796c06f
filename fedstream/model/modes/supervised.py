"""Training on labelled records."""

from __future__ import annotations

from typing import Any

from fedstream.model.examples import Examples
from fedstream.model.training import TrainingConfig, TrainResult, train_client


class Supervised:
    """Trains on the labelled records; others are left alone."""

    def train(self, model: Any, examples: Examples, config: TrainingConfig) -> TrainResult:
        """Train and measure."""
        return train_client(model, examples, config)
