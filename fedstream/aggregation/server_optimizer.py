"""Server optimizers: from the mean of the clients' models to the next global model, element by element.

The mean minus the base is the pseudo-gradient (Reddi et al. 2021, arXiv 2003.00295, algorithm 1). Everything after it
is elementwise float64 and rounded once, so it depends neither on the order of the clients nor on the processor.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import numpy as np
from pydantic import Field

from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.strategy import Aggregated, Strategy, is_optimized
from fedstream.aggregation.updates import BLOCK, Updates
from fedstream.record.sums import total
from fedstream.record.weights import Weights

Array = np.ndarray

Rate = Annotated[float, Field(gt=0, le=1_000, description="Step size of the server, eta in the paper.")]
Beta1 = Annotated[float, Field(ge=0, lt=1, description="Decay of the first moment.")]
Beta2 = Annotated[float, Field(ge=0, lt=1, description="Decay of the second moment.")]
Tau = Annotated[
    float,
    Field(gt=0, le=1, description="Adaptivity: added to the root of the second moment, which starts at tau squared."),
]
Decay = Annotated[float, Field(ge=0, lt=1, description="Decay of the momentum, beta in the paper.")]
Nesterov = Annotated[bool, Field(description="Use Nesterov's accelerated gradient.")]


class Optimizer(Protocol):
    """One step of an optimizer. All arrays are one-dimensional float64 blocks of one length."""

    @property
    def first(self) -> Mapping[str, float]:
        """The moments, by the prefix of their names in the server state, with their value before the first round."""
        ...

    def moments(self, delta: Array, old: list[Array]) -> list[Array]:
        """Return the new moments.

        Args:
            delta: the pseudo-gradient.
            old: the moments of the last round, in the order of `first`.
        """
        ...

    def change(self, delta: Array, moments: list[Array]) -> Array:
        """Return what is added to the weights, given the new moments as they will be stored."""
        ...


@dataclass(frozen=True)
class Sgd:
    """Plain gradient descent.

    Attributes:
        rate: step size; 1 makes the mean itself the new model.
    """

    rate: float
    first: ClassVar[Mapping[str, float]] = {}

    def moments(self, delta: Array, old: list[Array]) -> list[Array]:
        return []

    def change(self, delta: Array, moments: list[Array]) -> Array:
        return self.rate * delta


@dataclass(frozen=True)
class Momentum:
    """Gradient descent with momentum: m = beta * m + delta.

    Attributes:
        rate: step size.
        beta: decay of the momentum.
        nesterov: step along delta + beta * m instead of m.
    """

    rate: float
    beta: float
    nesterov: bool
    first: ClassVar[Mapping[str, float]] = {"m/": 0.0}

    def moments(self, delta: Array, old: list[Array]) -> list[Array]:
        return [self.beta * old[0] + delta]

    def change(self, delta: Array, moments: list[Array]) -> Array:
        return self.rate * (delta + self.beta * moments[0] if self.nesterov else moments[0])


@dataclass(frozen=True)
class Adaptive:
    """The adaptive optimizers of Reddi et al. 2021, algorithm 2, which have no bias correction.

    Attributes:
        rate: step size.
        beta_1: decay of the first moment.
        tau: adaptivity; the second moment starts at its square, the least that the algorithm allows.
        second: returns the new second moment from the old one and the squares of the pseudo-gradient.
    """

    rate: float
    beta_1: float
    tau: float
    second: Callable[[Array, Array], Array]

    @property
    def first(self) -> Mapping[str, float]:
        return {"m/": 0.0, "v/": self.tau**2}

    def moments(self, delta: Array, old: list[Array]) -> list[Array]:
        return [self.beta_1 * old[0] + (1 - self.beta_1) * delta, self.second(old[1], np.square(delta))]

    def change(self, delta: Array, moments: list[Array]) -> Array:
        step: Array = self.rate * moments[0] / (np.sqrt(moments[1]) + self.tau)
        return step


class ServerOptimized(Strategy):
    """A strategy whose server runs an optimizer along the mean change of the clients, weighted by their examples."""

    of_mean: ClassVar[bool] = True

    @abstractmethod
    def optimizer_of_server(self) -> Optimizer:
        """Return the optimizer, with the strategy's parameters."""

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return the new model, the optimizer's moments as float32, and the norm of the pseudo-gradient."""
        return optimized(base, federated_average(updates.weighted), self.optimizer_of_server(), state)


def optimized(base: Weights, mean: Weights, optimizer: Optimizer, state: Weights) -> Aggregated:
    """Take a step from the base towards the mean. Variables that no optimizer updates become the mean.

    Args:
        base: the global model that the clients received.
        mean: the exact mean of the clients' models, rounded to the model's dtype; it is overwritten.
        optimizer: the optimizer.
        state: the moments of the last round; empty in the first one.
    """
    moments, squares = Weights(), 0.0
    for name, array in mean.items():
        if is_optimized(name, array):
            old = [
                state[prefix + name] if state else np.full(array.shape, value, np.float32)
                for prefix, value in optimizer.first.items()
            ]
            new = {prefix + name: np.empty_like(moment) for prefix, moment in zip(optimizer.first, old, strict=True)}
            squares += _step(optimizer, base[name], array, old, list(new.values()))
            moments |= new
    return Aggregated(mean, moments, {"pseudo_gradient_norm": float(np.sqrt(squares))})


def _step(optimizer: Optimizer, base: Array, mean: Array, old: list[Array], new: list[Array]) -> float:
    """Replace the mean by the new weights, fill in the new moments, and return the squared norm of the pseudo-gradient.

    The step is taken with the new moments as they are stored, so that it follows from what is on record.
    """
    x, start, squares = mean.reshape(-1), base.reshape(-1), 0.0
    flat_old, flat_new = ([moment.reshape(-1) for moment in moments] for moments in (old, new))
    with np.errstate(over="ignore", invalid="ignore"):  # the caller rejects an overflow, and names the variable
        for part in parts(x.size):
            before = start[part].astype(np.float64)
            delta = x[part] - before
            made = optimizer.moments(delta, [moment[part].astype(np.float64) for moment in flat_old])
            for moment, values in zip(flat_new, made, strict=True):
                moment[part] = values
            x[part] = before + optimizer.change(delta, [moment[part].astype(np.float64) for moment in flat_new])
            squares += total(np.square(delta))
    return squares


def parts(size: int) -> Iterator[slice]:
    """Yield the blocks of a flat array."""
    return (slice(at, at + BLOCK) for at in range(0, size, BLOCK))
