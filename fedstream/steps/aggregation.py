"""Compute a round's global model from its accepted updates.

This happens when the round is aggregated, and again when the run is verified.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from fedstream.aggregation.contribution import contributions
from fedstream.aggregation.outcome import Outcome, combine_updates
from fedstream.aggregation.private import private_mean
from fedstream.aggregation.updates import Update, Updates
from fedstream.privacy.keys import commitment
from fedstream.privacy.normals import Normals
from fedstream.privacy.secret import required_secret
from fedstream.record.commit import Aggregation, ClientEntry, Figures
from fedstream.record.documents import Verdict
from fedstream.record.extras import split
from fedstream.record.weights import Weights, digest, from_bytes
from fedstream.steps.exchange import decoder
from fedstream.steps.noise import privacy_figures, round_key
from fedstream.store.mapped import Downloads
from fedstream.store.state import RunState

CLOSE = 1e-9
"""Relative difference up to which two figures count as equal.

Sums of a hundred million float64 values differ by less.
"""


def aggregate_round(
    state: RunState,
    round: int,
    base: Weights,
    clients: Sequence[Verdict] | Sequence[ClientEntry],
    downloads: Downloads,
    secret: bytes | None = None,
) -> Outcome:
    """Aggregate a round's accepted updates with the run's strategy.

    Args:
        state: The run.
        round: Number of the round.
        base: The global model that the clients received.
        clients: The selected clients, and the update of each that counts.
        downloads: Fetches the updates.
        secret: The secret of the noise; only a run with central noise needs one.

    Raises:
        CorruptObject: An update or the server state does not match its digest.
        UpdateError: The strategy cannot compute a model from the updates.
        SettingsError: The run has central noise, and there is no secret.
        RunError: The round exceeds the budget of a private run.
    """
    spec, (updates, server_state) = state.record.spec, read_round(state, round, base, clients, downloads)
    key = b""
    if spec.privacy.central:
        key = round_key(state, round, clients, required_secret(secret, f"the noise of run {state.run!r}"))
        updates = private_mean(spec, base, updates, len(clients), Normals(key))
    figures = privacy_figures(state, round, clients, commitment(key)) if spec.privacy.where else {}
    outcome = combine_updates(spec, base, updates, server_state)
    shares = {} if spec.privacy.central else contributions(base, outcome.weights, updates)
    return replace(outcome, figures=outcome.figures | figures, contributions=shares)


def read_round(
    state: RunState, round: int, base: Weights, clients: Sequence[Verdict] | Sequence[ClientEntry], downloads: Downloads
) -> tuple[Updates, Weights]:
    """Return a round's accepted updates, and the server state that it builds on.

    The arguments are those of `aggregate_round`.

    Raises:
        CorruptObject: An update or the server state does not match its digest.
    """
    spec, keys, before, server_state = state.record.spec, state.keys.at(round), state.base(round), {}
    if before.server_state_digest:
        key = state.base_keys(round).server_state
        server_state = from_bytes(state.store.get_verified(key, before.server_state_digest), key)
    decode = decoder(state.record, base)
    updates = [
        Update(
            entry.client,
            entry.num_examples,
            *split(downloads.weights(keys.update(entry.client, entry.update_digest), entry.update_digest, decode)),
            (entry.epochs or spec.epochs) * math.ceil(entry.num_examples / spec.batch_size),
        )
        for entry in clients
        if entry.accepted and entry.update_digest
    ]
    return Updates(updates, len(state.record.clients)), server_state


def beside_model(outcome: Outcome) -> Aggregation:
    """Return what an aggregation produced in addition to the global model."""
    return Aggregation(
        server_state_digest=_digest(outcome.state),
        broadcast_digest=_digest(outcome.broadcast),
        figures=outcome.figures,
        contributions=outcome.contributions,
    )


def same_figures(one: Figures, other: Figures) -> bool:
    """Return whether figures are equal, up to the differences between processors.

    A processor that sums in a different order can compute a slightly different number.
    """
    return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())


def _same(one: float | str, other: float | str) -> bool:
    return (
        math.isclose(one, other, rel_tol=CLOSE) if isinstance(one, float) and isinstance(other, float) else one == other
    )


def _digest(arrays: Weights) -> str | None:
    return digest(arrays) if arrays else None
