"""LocalRule: what clients do in addition to plain training. Pure array arithmetic, without Keras or the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedstream.record.extras import ArraySpec
from fedstream.record.weights import Weights


@dataclass(frozen=True)
class LocalTraining:
    """The training of a client after its last step.

    Attributes:
        start: the global model that the client received; name -> array.
        trained: the client's weights after training.
        received: the arrays that came with the global model.
        steps: number of optimizer steps.
        learning_rate: learning rate of the client's optimizer in the last step.
        seed: seed for this client and round, for a rule that draws random numbers.
    """

    start: Weights
    trained: Weights
    received: Weights
    steps: int
    learning_rate: float
    seed: int


class LocalRule:
    """What a strategy asks of its clients. This base class stands for plain training.

    A rule overrides the methods that it needs:

    * `gradient` adds to the gradient of each step: a proximal term, or SCAFFOLD's control variates;
    * `finish` changes the weights that leave the client (local noise), and returns the arrays that go back beside them;
    * `returns` declares these arrays, so that every party can check them.
    """

    @property
    def corrects(self) -> bool:
        """Whether training calls `gradient`. Without it, plain training stays exactly the same."""
        return False

    def gradient(self, name: str, value: Any, start: Any, received: Mapping[str, Any]) -> Any:
        """Return the term to add to the gradient of a trainable variable in a step; None for nothing.

        The arguments are numpy arrays or TensorFlow tensors, so use only operators such as `+` and `*`.

        Args:
            name: name of the variable.
            value: current value of the variable.
            start: value of the variable in the global model.
            received: the arrays that came with the global model.
        """
        return None

    def returns(self, base: Mapping[str, Any]) -> dict[str, ArraySpec]:
        """Return the arrays that each update contains beside the weights; name -> shape and dtype.

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
    """The rule of FedProx (Li et al. 2018, arXiv 1812.06127, equation 2).

    The loss has the additional term mu / 2 * ||w - w_global||^2 over the trainable variables.

    Attributes:
        mu: weight of the term; 0 is plain training.
    """

    mu: float

    @property
    def corrects(self) -> bool:
        return self.mu > 0

    def gradient(self, name: str, value: Any, start: Any, received: Mapping[str, Any]) -> Any:
        """Return the gradient of the term."""
        return self.mu * (value - start)
