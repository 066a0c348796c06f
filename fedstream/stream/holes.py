"""The offsets that transactions leave without a record: their markers, and the records of aborted ones.

A consumer passes them in silence, so that they look like records that retention or compaction removed. kafka-python has
no interface for the difference, so the class that unpacks its batches is extended here.
"""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import Fetcher


class WatchingConsumer(KafkaConsumer):  # type: ignore[misc]
    """A consumer of committed records that keeps which offsets transactions left empty."""

    def __init__(self, **configs: Any) -> None:
        super().__init__(**configs)
        self.passed: set[tuple[TopicPartition, int, int]] = set()
        passed = self.passed

        class Watched(Fetcher.PartitionRecords):  # type: ignore[misc]
            def _is_batch_aborted(self, batch: Any) -> bool:
                aborted = bool(super()._is_batch_aborted(batch))
                if aborted:
                    passed.add((self.topic_partition, batch.base_offset, batch.next_offset))
                return aborted

            def _contains_abort_marker(self, batch: Any) -> bool:
                if batch.is_control_batch:
                    passed.add((self.topic_partition, batch.base_offset, batch.next_offset))
                return bool(super()._contains_abort_marker(batch))

        self._fetcher.PartitionRecords = Watched

    def first_lost(self, partition: TopicPartition, start: int, end: int) -> int:
        """Return the first offset of [start, end) that no transaction left empty; `end` if there is none."""
        at = start
        for _, first, after in sorted(hole for hole in self.passed if hole[0] == partition and hole[2] > start):
            if first > at:
                break
            at = max(at, after)
        return min(at, end)
