"""Slices that are too large for memory, in whole runs on streams in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.federation import digests, run
from support.in_memory import send

from fedstream import memory_limits
from fedstream.audit import verify_run
from fedstream.errors import BrokerAway, QuorumError
from fedstream.record.documents import offsets_of
from fedstream.record.offsets import OffsetRange
from fedstream.steps import retry
from fedstream.steps.context import Context
from fedstream.store.state import RunState
from fedstream.stream import blocks
from fedstream.stream.memory import MemoryBroker
from fedstream.stream.records import RawRecords, RecordSize

RUN: dict[str, Any] = {"model": "builtin:digits-mlp", "rounds": 2, "epochs": 2, "batch_size": 7, "min_clients": 2}
BLOCKS = 30
"""Blocks of 5 of a client's 150 records, so that an epoch has two windows."""

Change = Callable[[int, RawRecords], RawRecords]
"""Changes what the n-th read of a block returns."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 5 * 4 * (64 + 1))


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave room for 1,000 bytes of a slice's 9,750."""
    monkeypatch.setattr(memory_limits, "memory_bytes", lambda: 8_000)


class Counted(MemoryBroker):
    """A broker whose reads of blocks are counted and can be changed."""

    def __init__(self, change: Change = lambda number, records: records) -> None:
        super().__init__()
        self.reads, self._change = 0, change

    def read_part(
        self, ranges: Sequence[OffsetRange], deadline_s: float, size: RecordSize | None = None, skip: int = 0
    ) -> RawRecords:
        self.reads += 1
        return self._change(self.reads, super().read_part(ranges, deadline_s, size, skip))


def federation(change: Change = lambda number, records: records) -> tuple[Context, Counted]:
    context, broker = Context.in_memory(), Counted(change)
    context.brokers._known[""] = broker  # type: ignore[attr-defined]
    context.brokers._known["memory"] = broker  # type: ignore[attr-defined]
    send(context, "north", "south")
    return context, broker


def tampered(records: RawRecords) -> RawRecords:
    records.values.data[3] ^= 1
    return records


@pytest.fixture(scope="module")
def whole() -> RunState:
    """Return the run of the same records in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", 5 * 4 * (64 + 1))
        context, broker = federation()
        state = run(context, **RUN)
    assert broker.reads == 0
    return state


@pytest.mark.usefixtures("little_memory")
def test_a_streamed_run_has_the_digests_of_memory(whole: RunState) -> None:
    context, broker = federation()
    state = run(context, **RUN)
    assert digests(state) == digests(whole)
    assert [commit.metrics for commit in state.ledger.commits()] == [c.metrics for c in whole.ledger.commits()]
    # The slice takes three passes, each round two measurements and two epochs; some blocks have nothing to measure.
    assert 2 * BLOCKS * (3 + 2 * 2) < broker.reads <= 2 * BLOCKS * (3 + 2 * (2 + 2) + 1)
    audit = verify_run(context.store, state.run, brokers=context.brokers)
    assert audit.ok, audit.problems
    assert audit.records_checked == 300


def test_the_threshold_is_the_runs_own_if_it_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limits, "memory_bytes", lambda: 8 * 3 * 2**20)
    assert memory_limits.held_bytes(0, {}) == 3 * 2**20
    assert memory_limits.held_bytes(2, {}) == 2 * 2**20
    assert memory_limits.held_bytes(5000, {"FEDSTREAM_SLICE_GIB": "1"}) == 2**30


def test_memory_is_that_of_the_container(tmp_path: Any) -> None:
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text("1048576\n")
    machine = memory_limits.memory_bytes([])
    assert machine > 2**28
    assert memory_limits.memory_bytes([str(tmp_path / "max"), str(tmp_path / "absent")]) == machine
    assert memory_limits.memory_bytes([str(tmp_path / "limit")]) == 2**20


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("read", [2 * BLOCKS + 3, 3 * BLOCKS + 3, 4 * BLOCKS + 5, 5 * BLOCKS + 2])
def test_a_record_that_changes_between_two_passes_is_found(read: int) -> None:
    context, _ = federation(lambda number, records: tampered(records) if number == read else records)
    with pytest.raises(QuorumError, match=r"the records of \w+:0:\d+:\d+ have digest \w{12}, but ingest"):
        run(context, **RUN)


@pytest.mark.usefixtures("little_memory")
def test_records_that_were_replaced_before_the_training_are_found_before_it(whole: RunState) -> None:
    context, _ = federation(lambda number, records: tampered(records) if number > 3 * BLOCKS else records)
    context.blocks.put = lambda name, value: None  # type: ignore[method-assign]  # as in a pod, which only trains
    with pytest.raises(QuorumError, match=r"the records of \w+:0:0:150 have digest \w{12}, but ingest_from_kafka saw"):
        run(context, **RUN)


@pytest.mark.usefixtures("little_memory")
def test_a_broker_that_is_away_in_the_middle_of_an_epoch_changes_nothing(
    whole: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "AGAIN_S", 0.01)

    def hiccup(number: int, records: RawRecords) -> RawRecords:
        if number in (4 * BLOCKS + 9, 4 * BLOCKS + 10, 11 * BLOCKS + 3):
            raise BrokerAway("the brokers do not answer")
        return records

    context, _ = federation(hiccup)
    assert digests(run(context, **RUN)) == digests(whole)


@pytest.mark.usefixtures("little_memory")
def test_a_broker_that_stays_away_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "AGAIN_S", 0.01)

    def away(number: int, records: RawRecords) -> RawRecords:
        if number > 4 * BLOCKS + 9:
            raise BrokerAway("the brokers do not answer")
        return records

    context, _ = federation(away)
    with pytest.raises(QuorumError, match="the brokers do not answer"):
        run(context, **RUN, round_deadline_s=3)


def test_records_that_are_skipped_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = []
    for memory in (2**40, 8_000):
        monkeypatch.setattr(memory_limits, "memory_bytes", lambda memory=memory: memory)
        context, broker = federation()
        for offset in (0, 7, 8, 149):
            broker._topics["north"].records[offset] = (b"\1", bytes(63))  # a value of another size
        state = run(context, **RUN | {"rounds": 1, "max_skipped": 4})
        documents.append(state.slice(1, "north"))
    assert documents[0] == documents[1]
    assert documents[0] is not None
    assert [str(r) for r in offsets_of(documents[0].skipped)] == ["north:0:0:1", "north:0:7:9", "north:0:149:150"]


@pytest.mark.usefixtures("little_memory")
def test_a_numpy_model_says_that_it_needs_memory() -> None:
    context, _ = federation()
    with pytest.raises(QuorumError, match="a numpy model needs all records in memory"):
        run(context, **RUN | {"model": "builtin:numpy-softmax"})
