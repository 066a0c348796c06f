"""How a client trains. A new way is one file here and a name in mode_of."""

from __future__ import annotations

from typing import Any, Protocol

from fedstream.model.examples import Examples
from fedstream.model.modes.supervised import Supervised
from fedstream.model.training import TrainingConfig, TrainResult
from fedstream.record.spec import RunSpec

__all__ = ["Mode", "mode_of"]


class Mode(Protocol):
    """A way of training."""

    def train(self, model: Any, examples: Examples, config: TrainingConfig) -> TrainResult:
        """Train a model on a client's examples and measure it, before and after, on those held out.

        A pure function of its arguments, on one kind of processor: a retry must give the same update.

        Args:
            model: compiled Keras model that holds the global weights, loaded after `configure(config.threads, ...)`.
            examples: what to train and to measure on.
            config: how.

        Raises:
            ModelError: the model cannot be trained on them; says why.
        """
        ...


def mode_of(spec: RunSpec) -> Mode:
    """Return the way in which a run's clients train."""
    return Supervised()
