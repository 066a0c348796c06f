"""Verify a run: walk the chain, hash every object, judge every update, and aggregate every global model again.

The verification trusts nothing but bytes.
"""

from __future__ import annotations

from pydantic import BaseModel

from fedstream.audit.chain import check_expected, check_links, read_chain
from fedstream.audit.evidence import Evidence, Problem
from fedstream.audit.index import check_index
from fedstream.audit.published import PublishedVersions
from fedstream.audit.rounds import RoundAudit
from fedstream.audit.strays import check_strays
from fedstream.audit.streams import Streams
from fedstream.errors import RunError
from fedstream.record.layout import ModelKeys, RunKeys
from fedstream.record.names import check_name
from fedstream.record.provenance import RunIndex
from fedstream.record.run import RunRecord
from fedstream.store.state import RunState
from fedstream.store.store import Store
from fedstream.stream.broker import Brokers


class Unproven(BaseModel):
    """What could not be computed again in some rounds, and what is known of it all the same."""

    rounds: list[int]
    what: str


class VerifyReport(BaseModel):
    """The result of `fedstream verify`.

    Attributes:
        run: Name of the run.
        rounds: Number of committed rounds, without round 0.
        head: SHA-256 of the last commit; None without a commit. Kept outside the bucket, it can later show whether
            rounds were removed.
        objects_checked: Number of objects whose bytes were hashed.
        records_checked: Number of records that were read again (with --stream).
        unproven: What could not be computed again without the secret of the noise; empty if there is nothing.
        problems: Everything that does not match; empty if the run is intact.
    """

    run: str
    rounds: int
    head: str | None
    objects_checked: int
    records_checked: int
    unproven: list[Unproven] = []
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_run(
    store: Store, run: str, *, brokers: Brokers | None = None, expect: str = "", noise_secret: bytes | None = None
) -> VerifyReport:
    """Verify a run from the bucket, and with `brokers` also from the records of its clients and its evaluation topic.

    1. Read the chain.
    2. Find the objects of the chain that were changed, and compare the index of `fedstream trace`, if there is one.
    3. Check each round and everything that was published against the rest.
    4. Look for objects that do not belong to the run.

    Args:
        store: The bucket.
        run: Name of the run.
        brokers: Brokers from which to read the records again; the models are then evaluated on the evaluation topic
            again, which imports TensorFlow. None not to read the records.
        expect: SHA-256 of a commit that the run must contain; empty for none.
        noise_secret: The secret of a private run's noise; None to check of the noise what can be checked without it.

    Raises:
        UsageError: The name of the run is invalid.
        RunError: There is no such run.
        StoreUnavailable: The store does not work.
    """
    keys, evidence, streams = RunKeys(check_name("run", run)), Evidence(store), None
    unproven: dict[int, str] = {}
    if not store.exists(keys.spec):
        raise RunError(f"there is no run {run!r} in {store.name}")
    record = evidence.document(RunRecord, keys.spec)
    if record:
        evidence.same(keys.spec, "run", record.spec.run, run)
    # Listed before the chain is read: if the run continues meanwhile, the chain has the commits of all listed objects.
    published = store.list(ModelKeys(record.model.name).versions) if record else []
    listed = store.list(f"{keys.root}/")
    index = evidence.document(RunIndex, keys.trace) if store.exists(keys.trace) else None
    commits, chain = read_chain(evidence, keys)
    versions = PublishedVersions(evidence, run, record.model, chain, published) if record else None
    check_links(evidence, chain, versions.claims if versions else {}, versions.vouched if versions else set())
    check_index(evidence, index, commits, chain)
    if expect:
        check_expected(evidence, chain, expect)
    if record and versions and not evidence.accused(keys.spec):
        streams = Streams(RunState(store, run), brokers, record.spec.round_deadline_s) if brokers else None
        rounds = RoundAudit(evidence, record, streams, noise_secret)
        for number, commit in enumerate(commits):
            if not evidence.accused(keys.at(number).commit):
                rounds.check(commits[:number], commit)
        unproven = rounds.unproven
        versions.check(commits)
        if not evidence.accused(keys.at(len(commits)).commit):  # otherwise the number of rounds is unknown
            check_strays(evidence, record, commits, listed)
    return VerifyReport(
        run=run,
        rounds=max(0, len(commits) - 1),
        head=chain[-1].digest if len(chain) > 1 else None,
        objects_checked=evidence.checked,
        records_checked=streams.records if streams else 0,
        unproven=[
            Unproven(rounds=[number for number in unproven if unproven[number] == what], what=what)
            for what in sorted(set(unproven.values()))
        ],
        problems=evidence.problems,
    )
