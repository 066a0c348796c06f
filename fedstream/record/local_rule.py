"""LocalRule: what clients do in addition to plain training. Pure array arithmetic, without Keras or the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
        state: the arrays that the client kept in the last round in which its update was accepted; empty before that.
        loss: measures the received model on the records that were trained on, and returns its loss; NaN if it is not
            finite. It takes a pass over them.
    """

    start: Weights
    trained: Weights
    received: Weights
    steps: int
    learning_rate: float
    seed: int
    state: Weights
    loss: Callable[[], float]


@dataclass(frozen=True)
class Finished:
    """What a client sends and what it keeps after a training.

    Attributes:
        weights: the weights to send, with the names, shapes and dtypes of the global model.
        extras: the arrays that go back beside them, as `LocalRule.returns` declares them.
        state: the arrays that the client keeps for its next round, as `LocalRule.keeps` declares them. They never
            become part of a global model.
    """

    weights: Weights
    extras: Weights = field(default_factory=dict)
    state: Weights = field(default_factory=dict)


class LocalRule:
    """What a strategy asks of its clients. This base class stands for plain training.

    A rule overrides the methods that it needs:

    * `gradient` adds to the gradient of each step: a proximal term, or SCAFFOLD's control variates;
    * `finish` changes the weights that leave the client (local noise), and returns the arrays that go back beside
      them and those that the client keeps for its next round;
    * `returns` and `keeps` declare these arrays, so that every party can check them.

    Rules that are equal add the same terms. Make a rule with `gradient` a frozen dataclass, so that training traces its
    terms once and not for each client.
    """

    @property
    def partial_work(self) -> bool:
        """Whether a client that reaches its deadline can send the model of the whole epochs that it has finished.

        How many these are depends on the machine's speed, so such a training cannot be repeated bit for bit. Without
        partial work, a client that passes its deadline is left out of the round.
        """
        return False

    @property
    def corrects(self) -> bool:
        """Whether training calls `gradient`. Without it, plain training stays exactly the same."""
        return False

    def gradient(self, name: str, value: Any, start: Any, received: Mapping[str, Any], state: Mapping[str, Any]) -> Any:
        """Return the term to add to the gradient of a trainable variable in a step; None for nothing.

        The arguments are numpy arrays or TensorFlow tensors, so use only operators such as `+` and `*`.

        Args:
            name: name of the variable.
            value: current value of the variable.
            start: value of the variable in the global model.
            received: the arrays that came with the global model.
            state: the arrays that the client kept; empty until an update of it was accepted.
        """
        return None

    def returns(self, base: Mapping[str, Any]) -> dict[str, ArraySpec]:
        """Return the arrays that each update contains beside the weights; name -> shape and dtype.

        Args:
            base: the global model that the clients receive.
        """
        return {}

    def keeps(self, base: Mapping[str, Any]) -> dict[str, ArraySpec]:
        """Return the arrays that each client keeps from one round to the next; name -> shape and dtype.

        They are stored beside the client's update. The client trains with those of the last round that counts and in
        which its update was accepted; with none before that.

        Args:
            base: the global model that the clients receive.
        """
        return {}

    def finish(self, training: LocalTraining) -> Finished:
        """Return what the client sends, and what it keeps."""
        return Finished(training.trained)


NO_RULE = LocalRule()
"""Plain training."""


@dataclass(frozen=True)
class Proximal(LocalRule):
    """The rule of FedProx (Li et al. 2018, arXiv 1812.06127, equation 2 and algorithm 2).

    The loss has the additional term mu / 2 * ||w - w_global||^2 over the trainable variables.

    Attributes:
        mu: weight of the term; 0 is plain training.
    """

    mu: float

    @property
    def partial_work(self) -> bool:
        """Partial work counts: the paper's clients solve their problems inexactly, each as far as it comes."""
        return True

    @property
    def corrects(self) -> bool:
        return self.mu > 0

    def gradient(self, name: str, value: Any, start: Any, received: Mapping[str, Any], state: Mapping[str, Any]) -> Any:
        """Return the gradient of the term."""
        return self.mu * (value - start)
