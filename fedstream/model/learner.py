"""What the steps need of a model: to be described, trained, measured and exported. Which library does it is the learner's own affair.

Must not import TensorFlow.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

from numpy.typing import NDArray

from fedstream.model.examples import Examples
from fedstream.record.description import ModelDescription
from fedstream.record.documents import Metrics
from fedstream.record.local_rule import NO_RULE, LocalRule
from fedstream.record.weights import Weights

OPEN = 4
"""Learners that a process keeps open."""


@dataclass(frozen=True)
class TrainingConfig:
    """How one client trains in one round.

    Attributes:
        epochs: passes over the training records.
        batch_size: records in one optimizer step; the last one of an epoch may have fewer.
        learning_rate: of the optimizer; None for the one the model was compiled with.
        seed: of shuffling and of layers such as Dropout, in [0, 2**31).
        threads: TensorFlow's intra-op threads.
        mixed_precision: train in half precision; weights stay float32, and the model is measured in float32.
        measure_only: measure the received model and train nothing.
        deadline: `time.monotonic()` at which training is given up; None for never.
        rule: what the strategy asks for beside plain training.
        received: arrays that came with the global model, for the rule; name -> array.
    """

    epochs: int = 1
    batch_size: int = 32
    learning_rate: float | None = None
    seed: int = 0
    threads: int = 2
    mixed_precision: bool = False
    measure_only: bool = False
    deadline: float | None = None
    rule: LocalRule = NO_RULE
    received: Weights = field(default_factory=dict)


@dataclass(frozen=True)
class TrainResult:
    """What a client's training came to.

    Attributes:
        weights: name -> array; empty when only measured.
        num_examples: records trained on; when only measured, records measured on.
        incoming: the received model on the held-out records; None without such records.
        trained: the trained model on them; None without such records, or when only measured.
        training: means over the last epoch while the weights were changing; None when only measured.
        device: what it ran on.
        extras: arrays that the local rule sends back beside the weights; name -> array.
        figures: what it used of its machine, by name; see fedstream.model.usage.
    """

    weights: Weights
    num_examples: int
    incoming: Metrics | None
    trained: Metrics | None
    training: Metrics | None
    device: str
    extras: Weights = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)


class Learner(Protocol):
    """An open model. It may be kept for as long as the process lasts: nothing of one training reaches the next."""

    def train(self, weights: Weights, examples: Examples, config: TrainingConfig) -> TrainResult:
        """Train global weights on a client's records, and measure before and after on those held out.

        A pure function of its arguments, on one kind of processor.

        Raises:
            ModelError: no record is left to train on, or training diverged or passed its deadline.
        """
        ...

    def measure(self, weights: Weights, x: NDArray[Any], y: NDArray[Any]) -> Metrics:
        """Measure weights on labelled records."""
        ...

    def export(self, weights: Weights) -> dict[str, bytes]:
        """Return the files of a published version, by name; the one called `model.*` is announced to the data owners."""
        ...

    def why_no_gpu(self) -> str:
        """Return what the process sees instead of a GPU; an empty string where it can train on one."""
        ...


class Kind(Protocol):
    """A library that learns: a module with these two functions."""

    def describe(self, data: bytes, name: str) -> tuple[ModelDescription, bytes]:
        """Try a model file, and return its description and its initial weights as safetensors.

        Raises:
            ModelError: it is no model that can be trained here; says why.
        """
        ...

    def open_learner(self, data: bytes, threads: int | None, gpu_memory_mib: int | None) -> Learner:
        """Open a model file.

        Args:
            data: the file's bytes.
            threads: of a training; None for the default.
            gpu_memory_mib: the most memory that it takes on each GPU, in MiB; 0 for any, None for the limit in force.
        """
        ...


def kind_of(data: bytes) -> Kind | ModuleType:
    """Return the library that a model file is for: a JSON object is a numpy model, and all else is Keras', which says what is wrong with it."""
    if data.startswith(b"{"):
        from fedstream.model import numpy_learner

        return numpy_learner
    from fedstream.model import keras_learner

    return keras_learner


class Learners:
    """The learners that were used last, open. Traced functions and loaded libraries make the first use of one slow, and the others fast."""

    def __init__(self) -> None:
        self._open: OrderedDict[Hashable, Learner] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Learner]) -> Learner:
        """Return the learner of a key, which says all that `make` depends on."""
        if key not in self._open:
            self._open[key] = make()
        self._open.move_to_end(key)
        while len(self._open) > OPEN:
            self._open.popitem(last=False)
        return self._open[key]
