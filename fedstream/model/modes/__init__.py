"""How a client trains. A new way is one file here and a name in mode_of."""

from __future__ import annotations

from typing import Protocol

from fedstream.model.examples import Examples
from fedstream.model.learner import Learner, TrainingConfig, TrainResult
from fedstream.model.modes.supervised import Supervised
from fedstream.record.spec import RunSpec
from fedstream.record.weights import Weights

__all__ = ["Mode", "mode_of"]


class Mode(Protocol):
    """A way of training."""

    def train(self, learner: Learner, weights: Weights, examples: Examples, config: TrainingConfig) -> TrainResult:
        """Train global weights on a client's examples and measure, before and after, on those held out.

        A pure function of its arguments, on one kind of processor: a retry must give the same update.

        Args:
            learner: the open model.
            weights: the global model's.
            examples: what to train and to measure on.
            config: how.

        Raises:
            ModelError: the model cannot be trained on them; says why.
        """
        ...


def mode_of(spec: RunSpec) -> Mode:
    """Return the way in which a run's clients train."""
    return Supervised()
