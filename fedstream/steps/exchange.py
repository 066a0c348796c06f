"""What the clients of a run write in a round, an update and what they keep, and how everyone reads it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fedstream.aggregation.compression import codec_of, compress, decompress, residual_arrays, sent_arrays
from fedstream.aggregation.outcome import strategy_of
from fedstream.model.learner import TrainResult
from fedstream.record.exchange import select
from fedstream.record.extras import EXTRA, ArraySpec, join, prefixed, unprefixed
from fedstream.record.local_rule import LocalRule
from fedstream.record.run import RunRecord
from fedstream.record.weights import Weights
from fedstream.store.mapped import Downloads, largest_update
from fedstream.store.store import Store

PERSONAL, RESIDUAL = "personal//", "residual//"
"""Prefixes of what a client keeps: its personal variables, and what the compression of its last update lost.

The arrays of a local rule have none.
"""


def rule_of(record: RunRecord) -> LocalRule:
    """Return the local rule of a run's clients."""
    return strategy_of(record.spec).local_rule()


def returned_arrays(record: RunRecord, base: Weights) -> dict[str, ArraySpec]:
    """Return the arrays that each update of a run contains in addition to the weights.

    Args:
        record: The run's record.
        base: The global model that the clients received.
    """
    return rule_of(record).returns(base)


def kept_arrays(record: RunRecord, base: Weights) -> dict[str, ArraySpec]:
    """Return the arrays that each client of a run keeps from one round to the next; empty for none.

    Args:
        record: The run's record.
        base: The global model that the clients received.
    """
    personal = {
        variable.name: ArraySpec(tuple(variable.shape), variable.dtype)
        for variable in (record.parts.personal if record.parts else [])
    }
    return {
        **rule_of(record).keeps(base),
        **prefixed(PERSONAL, personal),
        **prefixed(RESIDUAL, residual_arrays(codec_of(record.spec.exchange), base)),
    }


def of_rule(kept: Weights) -> Weights:
    """Return those of the arrays that a client keeps that its local rule declares."""
    return {name: array for name, array in kept.items() if not name.startswith((PERSONAL, RESIDUAL))}


def written(record: RunRecord, base: Weights, result: TrainResult, before: Weights) -> tuple[Weights, Weights]:
    """Return the arrays of a client's update, and those that it keeps.

    Args:
        record: The run's record.
        base: The global model that the client received.
        result: The client's training.
        before: What the client kept before.

    Raises:
        UpdateError: A change is too large for the compression.
    """
    shared, lost = select(result.weights, record.parts), Weights()
    if codec := codec_of(record.spec.exchange):
        shared, lost = compress(codec, base, shared, unprefixed(RESIDUAL, before))
    personal = {variable.name for variable in record.parts.personal} if record.parts else set()
    own = {name: array for name, array in result.weights.items() if name in personal}
    return join(shared, result.extras), {**result.state, **prefixed(PERSONAL, own), **prefixed(RESIDUAL, lost)}


def decoder(record: RunRecord, base: Weights) -> Callable[[Weights], Weights] | None:
    """Return what makes weights of a compressed update; None if updates are not compressed.

    Args:
        record: The run's record.
        base: The global model that the clients received.
    """
    codec = codec_of(record.spec.exchange)
    return partial(decompress, codec, base) if codec else None


def downloads_of(store: Store, record: RunRecord, base: Weights) -> Downloads:
    """Return a context that fetches what clients wrote, up to the size that it can have.

    Args:
        store: The bucket.
        record: The run's record.
        base: The global model that the clients received.
    """
    sent = sent_arrays(codec_of(record.spec.exchange), base) | prefixed(EXTRA, returned_arrays(record, base))
    return Downloads(store, max(largest_update(sent), largest_update(kept_arrays(record, base))))
