"""Which accepted updates of a run used given records, and whether they were trained on them. Reads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from fedstream.audit.question import Offsets
from fedstream.model.split import split_mask
from fedstream.record.offsets import OffsetRange, parse_ranges
from fedstream.record.provenance import IndexedSlice, RunIndex
from fedstream.record.run import RunRecord


class Use(BaseModel):
    """An accepted update that used the records.

    Attributes:
        trained: Number of the records that the client trained on.
        held_out: Number of the records on which the client only measured the models.
        counts: Whether the run's last model builds on the round; false if a rollback undid it.
    """

    round: int
    client: str
    update_digest: str
    trained: int
    held_out: int
    counts: bool


class TracedRun(BaseModel):
    """A run that used the records, or that started from a model that had learned from them.

    Attributes:
        uses: The accepted updates, in the order of the rounds.
        evaluated: Whether the records are in the run's evaluation topic, which measures every model.
        inherited_from: Version, as NAME@N, that the run started from, if that had learned from the records; else empty.
        first: Time at which the first of the rounds was committed, on the store's clock.
        last: Time at which the last of the rounds was committed.
        clean_round: Last round before the first one that trained on the records and still counts; None if there is no
            such round.
    """

    run: str
    model: str
    purpose: str
    uses: list[Use] = []
    evaluated: bool = False
    inherited_from: str = ""
    first: datetime | None = None
    last: datetime | None = None
    clean_round: int | None = None

    def rounds(self, *, trained: bool) -> list[int]:
        """Return the rounds that trained on the records, or those that only measured on them."""
        return sorted({use.round for use in self.uses if bool(use.trained) == trained})

    @property
    def undone(self) -> list[int]:
        """The rounds that used the records and that a rollback undid."""
        return sorted({use.round for use in self.uses if not use.counts})


@dataclass(frozen=True)
class RunHistory:
    """A run's spec.json, and the index of its commits."""

    record: RunRecord
    index: RunIndex

    def addresses(self, topic: str) -> Iterator[str]:
        """Yield the brokers that hold a topic's records which the run used; an empty address is the default."""
        for used in self.index.slices:
            if any(r.topic == topic for r in used.ranges):
                yield self.record.client(used.client).bootstrap_servers
        if self.record.evaluation and any(r.topic == topic for r in self._evaluation):
            yield self.record.evaluation.bootstrap_servers

    def used(self, topic: str, found: Mapping[str, Offsets]) -> TracedRun:
        """Return what the run used of the records of a topic.

        Args:
            topic: Name of the topic.
            found: Address of the brokers -> partition -> offsets of the records.
        """
        spec, evaluation = self.record.spec, self.record.evaluation
        counted = set(self.index.behind(len(self.index.commits) - 1)) if self.index.commits else set[int]()
        uses = [use for used in self.index.slices for use in self._uses(used, topic, found, counted)]
        learned = {use.round for use in uses if use.trained and use.counts}
        clean = [
            round for round in counted if round < min(learned, default=0) and self.index.commits[round].kind in MAKES
        ]
        return TracedRun(
            run=spec.run,
            model=self.record.model.name,
            purpose=spec.purpose,
            uses=sorted(uses, key=lambda use: (use.round, use.client)),
            evaluated=evaluation is not None
            and bool(len(_within(self._evaluation, topic, found.get(evaluation.bootstrap_servers, {}))[0])),
            clean_round=max(clean, default=None),
        )

    def _uses(self, used: IndexedSlice, topic: str, found: Mapping[str, Offsets], counted: set[int]) -> Iterator[Use]:
        client = self.record.client(used.client)
        ranges = [OffsetRange(r.topic, r.partition, r.start, r.end) for r in used.ranges]
        partitions, offsets = _within(ranges, topic, found.get(client.bootstrap_servers, {}))
        if not len(offsets):
            return
        held_out = int(split_mask(self.record.spec.seed, partitions, offsets, client.held_out_rate).sum())
        for round, digest in used.updates:
            yield Use(
                round=round,
                client=used.client,
                update_digest=digest,
                trained=len(offsets) - held_out,
                held_out=held_out,
                counts=round in counted,
            )

    @property
    def _evaluation(self) -> list[OffsetRange]:
        return parse_ranges(self.record.evaluation.ranges) if self.record.evaluation else []


MAKES = ("initial", "training")
"""Kinds of rounds that make a model, to which a run can go back."""


def _within(ranges: list[OffsetRange], topic: str, offsets: Offsets) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the partition and the offset of each record that is in the ranges."""
    chosen = [
        (r.partition, of[(of >= r.start) & (of < r.end)])
        for r in ranges
        if r.topic == topic and (of := offsets.get(r.partition)) is not None
    ]
    partitions = [np.full(len(of), partition) for partition, of in chosen]
    return np.concatenate([np.empty(0, np.int64), *partitions]), np.concatenate(
        [np.empty(0, np.int64), *(of for _, of in chosen)]
    )
