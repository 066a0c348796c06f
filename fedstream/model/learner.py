"""The interface of the steps to a model, which is described, trained, evaluated and exported.

The steps do not depend on the library behind a learner. This module must not import TensorFlow.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

from numpy.typing import NDArray

from fedstream.deadline import Deadline
from fedstream.model.streaming import AnyExamples
from fedstream.preprocessing.transform import Transform
from fedstream.record.description import ModelDescription
from fedstream.record.documents import Metrics
from fedstream.record.exchange import Parts
from fedstream.record.local_rule import NO_RULE, LocalRule
from fedstream.record.weights import Weights

OPEN = 4
"""Learners that a process keeps open."""


@dataclass(frozen=True)
class TrainingConfig:
    """How one client trains in one round.

    Attributes:
        epochs: Number of passes over the training records.
        batch_size: Number of records in one optimizer step; the last step of an epoch can have fewer.
        learning_rate: Learning rate of the optimizer; None for the compiled one.
        seed: Seed of shuffling and of layers such as Dropout, in [0, 2**31).
        threads: Number of TensorFlow's intra-op threads.
        mixed_precision: Train in half precision; weights stay float32, and the model is evaluated in float32.
        measure_only: Evaluate the received model without training.
        deadline: When training is aborted; None for no deadline.
        rule: Local rule of the strategy, in addition to plain training.
        received: Arrays that came with the global model, for the rule; name -> array.
        state: Arrays that the client kept, for the rule; name -> array.
        parts: Which variables travel and which are personal; None if all travel. Training leaves all others as they
            are.
    """

    epochs: int = 1
    batch_size: int = 32
    learning_rate: float | None = None
    seed: int = 0
    threads: int = 2
    mixed_precision: bool = False
    measure_only: bool = False
    deadline: Deadline | None = None
    rule: LocalRule = NO_RULE
    received: Weights = field(default_factory=dict)
    state: Weights = field(default_factory=dict)
    parts: Parts | None = None


@dataclass(frozen=True)
class TrainResult:
    """The result of a client's training.

    Attributes:
        weights: All variables of the model; name -> array; empty if the model was only evaluated.
        num_examples: Number of training records, or of evaluation records if the model was only evaluated.
        incoming: Metrics of the received model on the held-out records; None without such records.
        trained: Metrics of the trained model on them; None without such records, or if the model was only evaluated.
        training: Means over the last epoch while the weights changed; None if the model was only evaluated.
        device: Name of the device.
        extras: Arrays that the local rule returns in addition to the weights; name -> array.
        state: Arrays that the client keeps for its next round; name -> array.
        epochs: Number of passes that were finished before the deadline, if they are fewer than asked for.
        figures: Resources that the training used, by name; see fedstream.model.usage.
        pseudo_labelled: Number of unlabelled records that were trained on with labels of the model; None if the
            training uses none.
    """

    weights: Weights
    num_examples: int
    incoming: Metrics | None
    trained: Metrics | None
    training: Metrics | None
    device: str
    extras: Weights = field(default_factory=dict)
    state: Weights = field(default_factory=dict)
    epochs: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    pseudo_labelled: int | None = None


class Learner(Protocol):
    """An open model. It can be kept for the lifetime of the process: nothing carries over between trainings."""

    def train(self, weights: Weights, examples: AnyExamples, config: TrainingConfig) -> TrainResult:
        """Train global weights on a client's records, and evaluate before and after on the held-out records.

        The result is a pure function of the arguments, on one kind of processor.

        Raises:
            ModelError: No record is left to train on, or training diverged or passed its deadline.
        """
        ...

    def measure(self, weights: Weights, x: NDArray[Any], y: NDArray[Any]) -> Metrics:
        """Measure weights on labelled records."""
        ...

    def predict(self, weights: Weights, x: NDArray[Any]) -> NDArray[Any]:
        """Return the probability of each class for each sample, shape (n, classes).

        Raises:
            ModelError: The model does not tell classes apart, one for each record.
        """
        ...

    def export(self, weights: Weights, transform: Transform | None = None) -> dict[str, bytes]:
        """Return the files of a published version, by name. The file `model.*` is announced to the data owners.

        Args:
            weights: The weights.
            transform: What the published model does to raw records itself; None if it takes records as they are sent.
        """
        ...

    def why_no_gpu(self) -> str:
        """Return what the process finds instead of a GPU, or an empty string if it can train on one."""
        ...


class Kind(Protocol):
    """A library that learns: a module with these two functions."""

    def describe(self, data: bytes, name: str) -> tuple[ModelDescription, bytes]:
        """Try a model file, and return its description and its initial weights as safetensors.

        Raises:
            ModelError: The model cannot be trained here. The message says why.
        """
        ...

    def open_learner(self, data: bytes, threads: int | None, gpu_memory_mib: int | None) -> Learner:
        """Open a model file.

        Args:
            data: Bytes of the file.
            threads: Number of threads of a training; None for the default.
            gpu_memory_mib: Maximum memory on each GPU, in MiB; 0 for no limit, None for the current limit.
        """
        ...


def kind_of(data: bytes) -> Kind | ModuleType:
    """Return the library of a model file.

    A JSON object is a numpy model. Keras handles all other files, and reports what is wrong with an invalid one.
    """
    if data.startswith(b"{"):
        from fedstream.model import numpy_learner

        return numpy_learner
    from fedstream.model import keras_learner

    return keras_learner


class Learners:
    """Keep the most recently used learners open.

    The first use of a learner is slow, because it loads libraries and traces functions; later uses are fast.
    """

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
