"""The training modes of a client. To add a mode, add a file here and a name to mode_of."""

from __future__ import annotations

from typing import Protocol

from fedstream.model.learner import Learner, TrainingConfig, TrainResult
from fedstream.model.modes.semi_supervised import SemiSupervised
from fedstream.model.modes.supervised import Supervised
from fedstream.model.streaming import AnyExamples
from fedstream.record.spec import RunSpec
from fedstream.record.weights import Weights

__all__ = ["Mode", "mode_of"]


class Mode(Protocol):
    """A way of training."""

    def train(self, learner: Learner, weights: Weights, examples: AnyExamples, config: TrainingConfig) -> TrainResult:
        """Train global weights on a client's examples, and evaluate before and after on the held-out examples.

        A pure function of its arguments, on one kind of processor: a retry must give the same update.

        Args:
            learner: The open model.
            weights: Weights of the global model.
            examples: Examples for training and evaluation.
            config: Configuration of the training.

        Raises:
            ModelError: The model cannot be trained on them. The message says why.
        """
        ...


def mode_of(spec: RunSpec) -> Mode:
    """Return the way in which a run's clients train."""
    return SemiSupervised(spec.unsupervised_rounds, spec.confidence) if spec.unsupervised else Supervised()
