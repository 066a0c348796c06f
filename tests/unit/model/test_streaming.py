"""Records that are streamed train the same model as the same records in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_model import CLASSES, make

from fedstream.deadline import Deadline
from fedstream.errors import DeadlineError, ModelError
from fedstream.model import shuffle
from fedstream.model._tensorflow import keras
from fedstream.model.batches import epochs_of_batches
from fedstream.model.examples import Examples, Window
from fedstream.model.keras_model import get_weights
from fedstream.model.learner import TrainingConfig, TrainResult
from fedstream.model.numpy_learner import SoftmaxLearner, SoftmaxModel
from fedstream.model.shuffle import orders
from fedstream.model.streaming import AnyExamples, ExampleStream, ahead
from fedstream.model.training import Trainer
from fedstream.record.local_rule import Proximal
from fedstream.record.weights import Weights, digest
from fedstream.simulation.attacks import parse_attack

N = 1203
Y = np.random.default_rng(1).integers(0, CLASSES, N).astype(np.uint8)
X = (np.random.default_rng(0).normal(0, 20, (N, 4)) + 60 * Y[:, None]).clip(0, 255).astype(np.uint8)
HELD_OUT = np.random.default_rng(2).random(N) < 0.2


def in_memory(block: int | None = None, held_out: np.ndarray = HELD_OUT) -> Examples:
    return Examples(X[: len(held_out)], Y[: len(held_out)], held_out, block=block)


def streamed(block: int, held_out: np.ndarray = HELD_OUT, reads: list[int] | None = None) -> ExampleStream:
    """Return the same records as blocks that are cut from the arrays when they are read."""
    masks = np.split(held_out, range(block, len(held_out), block))

    def read(number: int) -> Examples:
        if reads is not None:
            reads.append(number)
        here = slice(number * block, number * block + len(masks[number]))
        return Examples(X[here], Y[here], masks[number])

    return ExampleStream([(int((~mask).sum()), int(mask.sum())) for mask in masks], read)


def trained(examples: AnyExamples, weights: Weights, **config: Any) -> TrainResult:
    how = TrainingConfig(**({"epochs": 2, "batch_size": 7, "seed": 5} | config))
    return Trainer(MODEL()).train(weights, examples, how)


def MODEL() -> Any:
    return make(keras().layers.Dropout(0.3), optimizer=keras().optimizers.Adam(0.01))


def order_of(windows: Iterator[Window]) -> list[tuple[int, ...]]:
    """Return the records in the order of training."""
    return [(*x[number].ravel().tolist(), int(y[number])) for x, y, order, _ in windows for number in order]


@pytest.mark.parametrize("block", [5, 64, 75, 2000])
def test_a_stream_gives_the_update_and_the_metrics_of_memory(block: int) -> None:
    weights = get_weights(MODEL())
    whole, stream = (trained(examples, weights) for examples in (in_memory(block), streamed(block)))
    assert digest(stream.weights) == digest(whole.weights)
    assert (stream.incoming, stream.trained, stream.training) == (whole.incoming, whole.trained, whole.training)
    assert stream.num_examples == whole.num_examples == int((~HELD_OUT).sum())
    assert digest(trained(streamed(block), weights).weights) == digest(stream.weights)


def test_several_devices_share_the_batches_of_memory() -> None:
    model, config = MODEL(), TrainingConfig(epochs=2, batch_size=7, seed=5)
    whole, stream = (
        [[(x.numpy(), y.numpy()) for x, y in epoch] for epoch in epochs_of_batches(model, examples, config)]
        for examples in (in_memory(30), streamed(30))
    )
    assert len(whole) == len(stream) == 2
    for own, other in zip(chain(*stream), chain(*whole), strict=True):
        assert all(np.array_equal(one, two) for one, two in zip(own, other, strict=True))


def test_a_closing_round_reads_only_to_measure() -> None:
    weights, reads = get_weights(MODEL()), list[int]()
    result = trained(streamed(64, reads=reads), weights, measure_only=True)
    assert result.incoming == trained(in_memory(), weights, measure_only=True).incoming
    assert reads == list(range(19))


@settings(deadline=None, max_examples=60)
@given(
    held_out=st.lists(st.booleans(), min_size=1, max_size=400).filter(lambda held: not all(held)),
    block=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 2**31 - 1),
)
def test_windows_have_the_order_and_the_batches_of_memory(
    held_out: list[bool], block: int, batch_size: int, seed: int
) -> None:
    mask = np.array(held_out)
    whole = [order_of(epoch) for epoch in in_memory(block, mask).epochs(seed, 2, batch_size)]
    epochs = [list(epoch) for epoch in streamed(block, mask).epochs(seed, 2, batch_size)]
    assert [order_of(iter(windows)) for windows in epochs] == whole
    for windows in epochs:
        assert [window.last for window in windows] == [False] * (len(windows) - 1) + [True]
        assert all(len(window.order) % batch_size == 0 for window in windows[:-1])
        # The bound of memory: a window's blocks, and less than a batch that is carried over.
        assert all(len(window.x) < shuffle.WINDOW_BLOCKS * block + batch_size for window in windows)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 2000), st.integers(1, 60), st.integers(0, 2**31 - 1))
def test_every_record_comes_once_whatever_the_blocks(records: int, block: int, seed: int) -> None:
    index = np.arange(records)
    first, second = orders(index, seed, 2, np.arange(0, records + block, block))
    assert sorted(first.tolist()) == sorted(second.tolist()) == index.tolist()
    if records > 100:
        assert first.tolist() != second.tolist()


def test_few_blocks_are_one_window_with_the_order_of_keras() -> None:
    index = np.flatnonzero(np.arange(160) % 3)
    (plain,), (blocked,) = orders(index, 9, 1), orders(index, 9, 1, np.arange(0, 170, 10))
    assert plain.tolist() == blocked.tolist()


def test_blocks_far_apart_meet_in_a_window() -> None:
    """Records that arrived in the order of their classes are trained on in another order."""
    (order,) = orders(np.arange(64_000), 1, 1, np.arange(0, 64_100, 100))
    spreads = [np.ptp(order[start : start + 1600]) for start in range(0, 64_000, 1600)]
    assert min(spreads) > 32_000


def test_a_reader_that_breaks_in_the_middle_ends_the_training_with_its_error() -> None:
    stream, weights, before = streamed(10), get_weights(MODEL()), threading.active_count()

    def broken(number: int) -> Examples:
        if number == 70:
            raise DeadlineError("3 of 10 records could be read in time")
        return stream.read(number)

    with pytest.raises(DeadlineError, match="3 of 10"):
        trained(ExampleStream(stream.splits, broken), weights)
    assert threading.active_count() <= before


def test_a_stream_that_is_late_leaves_the_whole_epochs_of_partial_work() -> None:
    stream, weights, reads = streamed(10), get_weights(MODEL()), list[int]()

    def late(number: int) -> Examples:
        reads.append(number)
        if len(reads) == 300:  # measuring and each epoch read 121 blocks
            raise DeadlineError("late")
        return stream.read(number)

    how = {"rule": Proximal(0.1), "deadline": Deadline.after(600)}
    partial = trained(ExampleStream(stream.splits, late), weights, epochs=3, **how)
    assert partial.epochs == 1
    assert digest(partial.weights) == digest(trained(in_memory(10), weights, epochs=1, **how).weights)


def test_what_needs_arrays_says_so() -> None:
    learner = SoftmaxLearner(SoftmaxModel(input_shape=[4], classes=CLASSES))
    with pytest.raises(ModelError, match="a numpy model needs all records in memory, and these are streamed"):
        learner.train({}, streamed(10), TrainingConfig())


def test_an_attacker_flips_the_labels_of_a_stream() -> None:
    attack = parse_attack("labelflip", Y)
    stream, whole = attack.examples(streamed(10)), attack.examples(in_memory())
    assert isinstance(stream, ExampleStream)
    assert isinstance(whole, Examples)
    assert np.concatenate([stream.read(number).y for number in range(121)]).tolist() == whole.y.tolist()


def test_the_next_item_is_made_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in ahead(items()):
        assert made[min(number + 1, 2)].wait(5)
        assert not any(event.is_set() for event in made[number + 2 :])
