"""How far a training has come when its deadline passes, and the model of its last whole epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fedstream.deadline import Deadline
from fedstream.errors import DeadlineError, ModelError
from fedstream.model._tensorflow import KerasModel
from fedstream.model.variables import to_numpy


class DeadlinePassed(ModelError):
    """Training passed its deadline."""


class Progress:
    """The progress of one training of a Keras model.

    Args:
        model: The model in training.
        deadline: When training is aborted; None for no deadline.
        partial: Whether the whole epochs that were finished before the deadline count.

    Attributes:
        epochs: Number of finished epochs.
        values: Means over the last finished epoch.
    """

    def __init__(self, model: KerasModel, deadline: Deadline | None, partial: bool) -> None:
        self._model, self._deadline, self._partial = model, deadline, partial
        self._kept: list[tuple[Any, Any]] = []
        self.epochs, self.values = 0, dict[str, float]()

    def check(self, batch: int) -> None:
        """Give up if the deadline has passed.

        Args:
            batch: Number of the last step in its epoch, from 0 on.
        """
        if self._deadline and self._deadline.passed:
            raise DeadlinePassed(
                f"training passed the round's deadline at step {batch + 1} of an epoch; "
                "give the round more time, or train fewer epochs"
            )

    def finished_epoch(self, values: dict[str, float]) -> None:
        """Count an epoch, and keep the model as it is if that may be what counts in the end."""
        self.epochs, self.values = self.epochs + 1, values
        if self._partial and self._deadline:
            variables = (*self._model.variables, *self._model.optimizer.variables)
            self._kept = [(variable, to_numpy(variable)) for variable in variables]

    @contextmanager
    def until_deadline(self) -> Iterator[None]:
        """Train in this context. After a deadline, the model is that of the last whole epoch, if partial work counts.

        Raises:
            ModelError: The deadline passed, and no finished epoch counts.
            DeadlineError: A stream's records did not arrive in time, and no finished epoch counts.
        """
        try:
            yield
        except (DeadlinePassed, DeadlineError):
            if not self._kept:
                raise
            for variable, value in self._kept:
                variable.assign(value)
