"""Read what is on record of a round's clients from the store, for the judge.

Anything damaged or missing becomes a reason, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from fedstream.aggregation.validation import examine
from fedstream.errors import CorruptObject, ObjectNotFound
from fedstream.record.documents import Manifest, Refusal, Selection, SliceDoc, Verdicts
from fedstream.record.extras import ArraySpec, why_not
from fedstream.record.judge import NO_UPDATE, Candidate, Examined
from fedstream.record.layout import RoundKeys
from fedstream.record.weights import Weights
from fedstream.steps.exchange import decoder, kept_arrays, returned_arrays, rule_of
from fedstream.steps.feeding import why_not_fed
from fedstream.store.mapped import Downloads
from fedstream.store.state import RunState

SLACK = timedelta(seconds=2)
"""How long before the verdicts an update that they do not mention can have arrived.

`aggregate` lists the updates immediately before it writes the verdicts, and stores report times in whole seconds.
"""

NEVER = datetime.min.replace(tzinfo=UTC)


def read_candidates(
    state: RunState,
    selection: Selection,
    base: Weights,
    downloads: Downloads,
    reasons: Mapping[str, str],
    said: Verdicts | None = None,
) -> list[Candidate]:
    """Return what is on record of each client of a selection.

    Args:
        state: The run.
        selection: The selected clients, and whether they train or only measure.
        base: The global model that the clients received.
        downloads: Fetches updates, and the arrays that clients keep.
        reasons: The reason of each client that refused to take part.
        said: The verdicts on record, if there are any. A manifest that arrived after them and that they do not mention
            is ignored.

    Raises:
        StoreUnavailable: The store does not work.
    """
    keys = state.keys.at(selection.round)
    times = {info.key: info.last_modified for info in state.store.list(f"{keys.root}/")}
    unknown = {verdict.client for verdict in said.verdicts if verdict.manifest_digest is None} if said else set()
    late = {
        client
        for client in unknown & set(selection.clients)
        if times.get(keys.manifest(client), NEVER) + SLACK > times.get(keys.verdicts, NEVER)
    }
    here = {client for client in selection.clients if keys.manifest(client) in times} - late
    decode, kept = decoder(state.record, base), kept_arrays(state.record, base)
    returned, partial_work = returned_arrays(state.record, base), rule_of(state.record).partial_work

    def of_update(key: str, digest: str) -> Examined:
        return examine(base, downloads.weights(key, digest, decode), returned)

    def examined(client: str, manifest: Manifest) -> Examined | None:
        if manifest.epochs is not None and not partial_work:
            return Examined(f"it ended after {manifest.epochs} epochs, but the strategy accepts no partial work")
        return _examined(keys, client, manifest, of_update, downloads, kept)

    return [
        _read(state, selection, client, examined)
        if client in here
        else Candidate(client, problem=reasons.get(client) or NO_UPDATE)
        for client in selection.clients
    ]


def arrived(state: RunState, selection: Selection) -> set[str]:
    """Return the clients of a selection that have already written a manifest."""
    keys = state.keys.at(selection.round)
    listed = {info.key for info in state.store.list(f"{keys.root}/updates/")}
    return {client for client in selection.clients if keys.manifest(client) in listed}


def read_refusals(state: RunState, round: int) -> dict[str, dict[str, str]]:
    """Return the reasons of all refusals on record in a round, by attempt and client.

    Damaged refusals are skipped.
    """
    prefix = f"{state.keys.at(round).root}/refusals/"
    found: dict[str, dict[str, str]] = {}
    for info in state.store.list(prefix):
        try:
            refusal = state.read(Refusal, info.key)
        except CorruptObject:
            continue
        attempt, _, name = info.key.removeprefix(prefix).partition("/")
        if name == f"{refusal.client}.json":
            found.setdefault(attempt, {})[refusal.client] = refusal.reason
    return found


def _read(
    state: RunState, selection: Selection, client: str, examined: Callable[[str, Manifest], Examined | None]
) -> Candidate:
    digest, document, document_digest = state.manifest_digest(selection.round, client), None, None
    try:
        manifest = state.manifest(selection.round, client)
        document, document_digest = _slice(state, selection.round, client)
        not_fed = why_not_fed(state, selection.round, document, client) if document else ""
        weights = examined(client, manifest) if selection.kind == "training" else None
    except CorruptObject as error:
        return Candidate(
            client, manifest_digest=digest, slice=document, slice_document=document_digest, problem=str(error)
        )
    return Candidate(client, manifest, digest, document, document_digest, weights, not_fed=not_fed)


def _slice(state: RunState, round: int, client: str) -> tuple[SliceDoc | None, str | None]:
    document = state.slice(round, client)
    return document, state.slice_digest(round, client) if document else None


def _examined(
    keys: RoundKeys,
    client: str,
    manifest: Manifest,
    of_update: Callable[[str, str], Examined],
    downloads: Downloads,
    kept: Mapping[str, ArraySpec],
) -> Examined | None:
    """Return the result of examining the arrays that a manifest names; None if it names no update."""
    update, own = manifest.update_digest, manifest.client_state_digest
    if update is None:
        return None
    if bool(own) != bool(kept):
        words = ("a", "does not ask for") if own else ("no", "asks for")
        return Examined(f"its manifest names {words[0]} client state, which the run {words[1]}")
    try:
        result = of_update(keys.update(client, update), update)
        state = downloads.weights(keys.client_state(client, own), own) if own and not result.problem else None
    except (CorruptObject, ObjectNotFound) as error:
        return Examined(str(error))
    problem = why_not(kept, state, "client state array", "what the run asks for") if state is not None else ""
    return Examined(problem) if problem else result
