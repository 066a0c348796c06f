"""Check the statistics of a run: each client's contribution is judged again, and they are combined again."""

from __future__ import annotations

from datetime import UTC, datetime

from fedstream.audit.evidence import Evidence
from fedstream.audit.streams import Streams
from fedstream.errors import FedstreamError
from fedstream.record.commit import Commit
from fedstream.record.run import RunRecord
from fedstream.record.statistics import ClientStatistics, RunStatistics
from fedstream.steps.candidates import SLACK, read_refusals
from fedstream.steps.pooling import NOTHING_SENT, run_statistics, why_left_out
from fedstream.store.state import RunState

NEVER = datetime.min.replace(tzinfo=UTC)


def check_statistics(evidence: Evidence, record: RunRecord, commit: Commit, streams: Streams | None) -> None:
    """Check the statistics that the commit of round 0 names.

    Args:
        evidence: Collects the problems.
        record: The run's spec.json.
        commit: The commit.
        streams: Reads the records again; None not to read them.
    """
    state = RunState(evidence.store, record.spec.run)
    keys, digest = state.keys.at(0), commit.statistics_digest
    if bool(digest) != record.spec.gathers_statistics:
        words = ("names", "none are asked for") if digest else ("names no", "the run asks for them")
        evidence.problem(keys.commit, f"it {words[0]} statistics, but {words[1]}")
        return
    if not digest or not evidence.has_digest(keys.statistics, digest):
        return
    said = evidence.document(RunStatistics, keys.statistics)
    if said is None:
        return
    expected = sorted(client.client for client in record.clients)
    evidence.same(keys.statistics, "clients", sorted([*said.clients, *said.left_out]), expected)
    counting = [document for client in said.clients if (document := _contribution(evidence, state, said, client))]
    if evidence.accused(keys.statistics) or len(counting) < len(said.clients):
        return
    for document in counting:
        if streams and (what := streams.check_statistics(document)):
            evidence.problem(keys.statistics_of(document.client), what)
    _check_left_out(evidence, state, said)
    again = run_statistics(state, sorted(counting, key=lambda document: document.client), said.left_out)
    for name in RunStatistics.model_fields:
        evidence.same(keys.statistics, name, getattr(said, name), getattr(again, name))


def _contribution(evidence: Evidence, state: RunState, said: RunStatistics, client: str) -> ClientStatistics | None:
    """Return a client's contribution if it is the one that was combined, and counts."""
    key, planned = state.keys.at(0).statistics_of(client), {one.client: one for one in state.record.clients}
    if client not in planned or not evidence.has_digest(key, said.clients[client]):
        return None
    document = evidence.document(ClientStatistics, key)
    try:
        reason = why_left_out(state, planned[client], document) if document else ""
    except FedstreamError as error:  # such as a format that is not installed here
        reason = str(error)
    if reason:
        evidence.problem(key, f"it cannot count: {reason}")
        return None
    return document


def _check_left_out(evidence: Evidence, state: RunState, said: RunStatistics) -> None:
    """Check that each client that is left out has a reason on record."""
    keys = state.keys.at(0)
    times = {info.key: info.last_modified for info in state.store.list(f"{keys.root}/")}
    refusals = read_refusals(state, 0).values()
    for client, reason in said.left_out.items():
        key = keys.statistics_of(client)
        if key not in times:
            known = {NOTHING_SENT, *(told[client] for told in refusals if client in told)}
            if reason not in known:
                evidence.problem(keys.statistics, f"it leaves out {client}, saying {reason!r}, which is not on record")
        elif times[key] + SLACK <= times.get(keys.statistics, NEVER):
            document = evidence.document(ClientStatistics, key)
            if document and not why_left_out(state, state.record.client(client), document):
                evidence.problem(keys.statistics, f"it leaves out {client}, whose statistics count, saying {reason!r}")
