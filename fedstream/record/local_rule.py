"""What clients do beside plain training: a LocalRule. Pure arithmetic on arrays; knows neither Keras nor the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedstream.record.extras import ArraySpec
from fedstream.record.weights import Weights


@dataclass(frozen=True)
class LocalTraining:
    """A client's training when its last step is done.

    Attributes:
        start: the global model that the client received; name -> array.
        trained: its weights now.
        received: the arrays that came with the global model.
        steps: optimizer steps.
        learning_rate: of the client's optimizer, in the last step.
        seed: of this client and round, for a rule that draws random numbers.
    """

    start: Weights
    trained: Weights
    received: Weights
    steps: int
    learning_rate: float
    seed: int


class LocalRule:
    """What a strategy asks of its clients. This base class is the rule `none`: plain training.

    A rule overrides what it needs:

    * `gradient` adds to the gradient of each step: a proximal term, or SCAFFOLD's control variates;
    * `finish` changes the weights that leave the client (local noise), and says which arrays go back beside them;
    * `returns` declares these arrays, so that everybody can check them.
    """

    corrects = False
    """Whether `gradient` is to be asked; training without it is left exactly as it is."""

    def gradient(self, name: str, value: Any, start: Any, received: Mapping[str, Any]) -> Any:
        """Return what to add to the gradient of a trainable variable in a step; None for nothing.

        The arguments are numpy arrays or TensorFlow's tensors, so use only operators such as `+` and `*`.

        Args:
            name: of the variable.
            value: what it is now.
            start: what it was in the global model.
            received: the arrays that came with the global model.
        """
        return None

    def returns(self, base: Mapping[str, Any]) -> dict[str, ArraySpec]:
        """Return the arrays that each update has beside the weights; name -> shape and dtype.

        Args:
            base: the global model that the clients receive.
        """
        return {}

    def finish(self, training: LocalTraining) -> tuple[Weights, Weights]:
        """Return the weights to send, and the arrays that `returns` declares."""
        return training.trained, {}


NO_RULE = LocalRule()
"""Plain training."""


@dataclass(frozen=True)
class Proximal(LocalRule):
    """FedProx (Li et al. 2018, arXiv 1812.06127, equation 2): the loss has the term mu / 2 * ||w - w_global||^2 over the trainable variables.

    Attributes:
        mu: weight of the term; 0 is plain training.
    """

    mu: float

    @property
    def corrects(self) -> bool:  # type: ignore[override]
        return self.mu > 0

    def gradient(self, name: str, value: Any, start: Any, received: Mapping[str, Any]) -> Any:
        """Return the gradient of the term."""
        return self.mu * (value - start)
