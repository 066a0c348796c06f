"""What all clients say together: the statistics of a run, from the contributions that count."""

from __future__ import annotations

from fedstream.errors import CorruptObject, ObjectConflict, ObjectNotFound, QuorumError
from fedstream.record.document import REASON
from fedstream.record.run import MatchedClient
from fedstream.record.selection import quorum
from fedstream.record.statistics import ClientStatistics, RunStatistics
from fedstream.statistics.combine import combined, combined_classes
from fedstream.statistics.compare import differences
from fedstream.statistics.judge import why_not
from fedstream.steps.candidates import read_refusals
from fedstream.steps.feeding import why_unexpected
from fedstream.steps.statistics import FIRST, features_in
from fedstream.store.state import RunState, log

NOTHING_SENT = "it sent no statistics"
"""Why a client without statistics and without a refusal is left out."""


def combine_statistics(state: RunState, attempt: str) -> str:
    """Write the statistics of a run from what its clients have sent, and return their key.

    Raises:
        QuorumError: Fewer clients have sent statistics than a round needs updates.
    """
    key = state.keys.at(0).statistics
    if state.store.exists(key):
        return key
    told = read_refusals(state, 0).get(attempt, {})
    counting, left_out = judged_statistics(state)
    left_out |= {client: told[client] for client in told.keys() & left_out.keys() if left_out[client] == NOTHING_SENT}
    _check_quorum(state, counting, left_out)
    try:
        state.put_new(key, run_statistics(state, counting, left_out))
    except ObjectConflict:
        log.info("another submission has combined the statistics of run %s; its statistics count", state.run)
    for client, reason in sorted(left_out.items()):
        log.warning("statistics: %s is left out: %s", client, reason)
    for difference in differences(counting):
        log.warning("statistics: %s", difference)
    return key


def judged_statistics(state: RunState) -> tuple[list[ClientStatistics], dict[str, str]]:
    """Return the contributions on record that count, sorted by client, and why the other clients are left out."""
    counting: list[ClientStatistics] = []
    left_out: dict[str, str] = {}
    for client in state.record.clients:
        try:
            document = state.statistics_of(client.client)
        except ObjectNotFound:
            left_out[client.client] = NOTHING_SENT
            continue
        except CorruptObject as error:
            left_out[client.client] = str(error)
            continue
        if reason := why_left_out(state, client, document):
            left_out[client.client] = reason
        else:
            counting.append(document)
    return counting, left_out


def why_left_out(state: RunState, client: MatchedClient, document: ClientStatistics) -> str:
    """Return why the contribution of a client does not count, or an empty string."""
    if document.run != state.run:
        return f"its statistics are those of run {document.run!r}"
    if reason := why_unexpected(state, FIRST, document.slice, client.client):
        return f"its slice is not the planned one: {reason}"
    return why_not(document, state.record.spec.statistics, features_in(client, state.record.features))


def run_statistics(state: RunState, counting: list[ClientStatistics], left_out: dict[str, str]) -> RunStatistics:
    """Return what the contributions of the clients say together."""
    return RunStatistics(
        run=state.run,
        clients={document.client: state.statistics_digest(document.client) for document in counting},
        left_out={client: reason[:REASON] for client, reason in left_out.items()},
        records=sum(document.records for document in counting),
        features=combined(counting),
        class_counts=combined_classes(counting),
    )


def _check_quorum(state: RunState, counting: list[ClientStatistics], left_out: dict[str, str]) -> None:
    """Check that as many clients have answered as a round needs, and that one of them has enough records."""
    clients = len(state.record.clients)
    answered = sum(state.store.exists(state.keys.at(0).statistics_of(client.client)) for client in state.record.clients)
    needed = quorum(state.record.spec, clients)
    if counting and answered >= needed:
        return
    reasons = "; ".join(f"{client}: {reason}" for client, reason in sorted(left_out.items()))
    raise QuorumError(
        f"statistics of run {state.run!r}: {answered} of {clients} clients sent them, those of {len(counting)} count, "
        f"and the quorum is {needed}. {reasons}. Correct that and submit the run again; what was sent is kept"
    )
