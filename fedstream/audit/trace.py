"""Trace records: which rounds used them, and which published models build on these rounds.

The answer comes from the ledgers in the bucket. Brokers are only needed to find the records with a key or of a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel

from fedstream.audit.heirs import Heirs, TracedVersion, written_at
from fedstream.audit.index import COMPARED, read_index, rebuild_index
from fedstream.audit.question import Find, Question
from fedstream.audit.uses import RunHistory, TracedRun
from fedstream.errors import CorruptObject, RunError
from fedstream.record.layout import RunKeys
from fedstream.settings import KafkaSettings
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState, run_names
from fedstream.store.store import Store
from fedstream.stream.search import Search, Wanted, find_records

REQUESTS = 8
"""Number of runs that are read at the same time."""

POSITIONS = 20
"""Maximum number of positions that are listed."""

SEARCH_S = 300.0
"""Time limit for looking through a topic, in seconds: about 25 million small records."""


class Trace(BaseModel):
    """The answer to which models records have touched.

    Attributes:
        asked: The records, in words.
        positions: `topic:partition:offset` of the first POSITIONS records.
        records: Number of records that are traced.
        looked_at: Number of records on the brokers that were looked at to find them.
        runs: The runs that used them, or that inherit from them, sorted by name.
        versions: Published versions that build on them.
        runs_searched: Number of runs that were searched.
        commits_read: Number of commits that were read; the others are known from the indexes.
        clean: Model with versions that have learned from the records -> number of its newest version that has not.
        problems: What could not be read, and indexes that were wrong. The answer can then be incomplete.
    """

    asked: str
    positions: list[str]
    records: int
    looked_at: int
    runs: list[TracedRun]
    versions: list[TracedVersion]
    runs_searched: int
    commits_read: int
    clean: dict[str, int]
    problems: list[str]

    @property
    def learned(self) -> list[TracedVersion]:
        """The versions that have learned from the records."""
        return [version for version in self.versions if version.trained]


def trace(
    topic: str,
    partition: int | None = None,
    offset: int | None = None,
    *,
    key: str | bytes | None = None,
    timestamp: str | int | datetime | None = None,
    run: str | None = None,
    store: Store | None = None,
) -> Trace:
    """Return which rounds used a record, and which published models build on them.

        fedstream.trace("ward7", 0, 12).learned

    With a key or a timestamp, all records of the topic that its brokers still keep are looked at.

    Args:
        topic: Topic of the record.
        partition: Its partition; None for all partitions.
        offset: Its offset.
        key: Its key, instead of an offset.
        timestamp: The time at which it was written, instead of an offset: a time, in UTC unless it says otherwise, or
            milliseconds since 1970. A time in whole seconds stands for all records of that second.
        run: Name of a run; None for all runs in the bucket.
        store: Bucket of the runs; None for the bucket in the environment.

    Raises:
        UsageError: The record is not named by exactly one of offset, key and timestamp.
        RunError: There is no such run.
        DeadlineError: The brokers did not deliver the records in time.
        StreamError: A topic does not exist any more, or its brokers do not answer.
    """
    question = Question.of(topic, partition, offset, key, timestamp)
    return trace_records(store or ObjectStore.from_env(), question, run)


def search_brokers(address: str, topic: str, partition: int | None, wanted: Wanted) -> Search:
    """Search a topic of the cluster at an address, with the credentials in the environment."""
    return find_records(KafkaSettings.from_env().at(address), topic, partition, wanted, SEARCH_S)


def trace_records(
    store: Store, question: Question, run: str | None = None, rebuild: bool = False, find: Find = search_brokers
) -> Trace:
    """Return the answer to a question.

    1. Read the plan and the index of each run.
    2. Find the records, if the question does not name their offset.
    3. Find the updates that used them.
    4. Find the published versions that build on these updates.

    Args:
        store: The bucket.
        question: The records that are asked for.
        run: Name of a run; None for all runs.
        rebuild: Whether to make the indexes from the ledgers and write them, instead of using those in the store.
        find: Searches the brokers.

    Raises:
        RunError: There is no such run.
        StreamError: The records cannot be searched.
    """
    names = [run] if run else run_names(store)
    with ThreadPoolExecutor(REQUESTS) as threads:
        compared = max(1, COMPARED // max(1, len(names)))
        read = list(threads.map(lambda name: _history(store, name, rebuild, compared), names))
    if run and read == [None]:
        raise RunError(f"there is no run {run!r} in this bucket; `fedstream runs` lists those that there are")
    known = [one for one in read if one]
    histories = {name: one.history for name, one in zip(names, read, strict=True) if one and one.history}
    problems = [one.problem for one in known if one.problem]
    addresses = {address for history in histories.values() for address in history.addresses(question.topic)}
    found, looked_at = question.answered(sorted(addresses), find)
    positions = question.positions(found)
    used = [history.used(question.topic, found) for history in histories.values()]
    used = [traced for traced in used if traced.uses or traced.evaluated]
    versions, heirs, clean = _versions(store, histories, used, problems)
    begun = [histories[name].used(question.topic, {}) for name in heirs.keys() - {traced.run for traced in used}]
    return Trace(
        asked=str(question),
        positions=positions[:POSITIONS],
        records=len(positions),
        looked_at=looked_at,
        runs=[_dated(store, traced, heirs) for traced in sorted([*used, *begun], key=lambda traced: traced.run)],
        versions=versions,
        runs_searched=len(histories),
        commits_read=sum(one.commits_read for one in known),
        clean=clean,
        problems=problems,
    )


@dataclass(frozen=True)
class _Read:
    """What was read of a run: its history, unless it cannot be read, and what is wrong."""

    history: RunHistory | None
    commits_read: int
    problem: str


def _history(store: Store, run: str, rebuild: bool, compared: int) -> _Read | None:
    """Read a run; return None if there is none, because its submission has just begun or was rejected."""
    state = RunState(store, run)
    try:
        record = state.record
        indexed = rebuild_index(store, run) if rebuild else read_index(store, run, compared)
        strangers = {used.client for used in indexed.index.slices} - {client.client for client in record.clients}
        follows = state.ledger.commit(0).parent if indexed.index.commits else None
        if record.spec.run != run or strangers or follows not in (None, store.digest(state.keys.spec)):
            raise CorruptObject(f"its spec.json and its commits do not fit together; see `fedstream verify {run}`")
    except CorruptObject as error:
        return _Read(None, 0, f"run {run!r} cannot be read: {error}")
    except RunError:
        if not store.exists(state.keys.at(0).commit):
            return None
        return _Read(None, 0, f"run {run!r} cannot be read: it has commits, but no {state.keys.spec}")
    return _Read(RunHistory(record, indexed.index), indexed.commits_read, indexed.problem)


def _versions(
    store: Store, histories: Mapping[str, RunHistory], used: Sequence[TracedRun], problems: list[str]
) -> tuple[list[TracedVersion], dict[str, str], dict[str, int]]:
    """Return the versions that build on the uses, the runs that inherit from them, and the newest clean versions."""
    if not any(traced.uses for traced in used):
        return [], {}, {}
    heirs = Heirs(store, histories)
    versions, begun = heirs.of(
        {traced.run: set(traced.rounds(trained=True)) for traced in used},
        {traced.run: set(traced.rounds(trained=False)) for traced in used},
    )
    problems += heirs.problems
    return versions, begun, heirs.newest_without(version for version in versions if version.trained)


def _dated(store: Store, traced: TracedRun, heirs: Mapping[str, str]) -> TracedRun:
    """Return a run with the times of its uses, and the version that it inherits from."""
    keys, rounds = RunKeys(traced.run), [use.round for use in traced.uses]
    first, last = (written_at(store, keys.at(end(rounds)).commit) if rounds else None for end in (min, max))
    return traced.model_copy(update={"first": first, "last": last, "inherited_from": heirs.get(traced.run, "")})
