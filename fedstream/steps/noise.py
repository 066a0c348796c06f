"""The noise of a private run: its keys, what goes on record of it, and the figures of each round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedstream.aggregation.private import clip_norm_of
from fedstream.errors import RunError
from fedstream.privacy.accounting import spent
from fedstream.privacy.keys import commitment, noise_key
from fedstream.privacy.local import LocalNoise
from fedstream.privacy.secret import required_secret
from fedstream.record.commit import Aggregation, ClientEntry, Figures
from fedstream.record.documents import Verdict
from fedstream.record.local_rule import LocalRule
from fedstream.store.state import RunState

COMMITMENT = "noise_commitment"
"""Name of the figure with the commitment to a round's key."""


def round_key(state: RunState, round: int, clients: Sequence[Verdict] | Sequence[ClientEntry], secret: bytes) -> bytes:
    """Return the key of a round's central noise, which depends on all that the noise is added to.

    Args:
        state: The run.
        round: Number of the round.
        clients: The selected clients, and the update of each that counts.
        secret: The run's secret.
    """
    updates = [entry.update_digest for entry in clients if entry.accepted and entry.update_digest]
    return noise_key(secret, state.run, round, "", _spec_digest(state), state.base(round).weights_digest, *updates)


def local_noise(
    state: RunState, round: int, client: str, rule: LocalRule, secret: Callable[[], bytes | None]
) -> LocalRule:
    """Return the rule of a client: the strategy's, and the local noise of the run if it has any.

    Args:
        state: The run.
        round: Number of the round.
        client: Name of the client.
        rule: The strategy's rule.
        secret: Returns the client's secret, or None; it is only called if the run has local noise.

    Raises:
        SettingsError: The run has local noise, and there is no secret.
    """
    spec = state.record.spec
    if not spec.privacy.local:
        return rule
    found = required_secret(secret(), f"the local noise of run {state.run!r}")
    inputs, norm = (_spec_digest(state), state.base(round).weights_digest), clip_norm_of(spec)
    return LocalNoise(
        rule,
        norm,
        spec.privacy.noise_multiplier * norm,
        lambda trained: noise_key(found, state.run, round, client, *inputs, trained),
    )


def check_same_secret(state: RunState, round: int, secret: bytes) -> None:
    """Check that the secret made the noise that is on record, so that its holder can prove all rounds of the run.

    Raises:
        RunError: Another secret did.
    """
    last = next((c for c in reversed(state.ledger.commits()[:round]) if c.kind == "training"), None)
    if last and commitment(round_key(state, last.round, last.clients, secret)) != last.figures.get(COMMITMENT):
        raise RunError(_other_secret(state.run, last.round))
    key = state.keys.at(round).aggregation
    if state.store.exists(key):
        clients = state.verdicts(round).verdicts
        made = state.read(Aggregation, key).figures.get(COMMITMENT)
        if commitment(round_key(state, round, clients, secret)) != made:
            raise RunError(_other_secret(state.run, round))


def privacy_figures(
    state: RunState, round: int, clients: Sequence[Verdict] | Sequence[ClientEntry], committed: str
) -> Figures:
    """Return what the commit of a private round says: the epsilon spent so far, and the noise.

    Args:
        state: The run.
        round: Number of the round.
        clients: The clients that the round asked.
        committed: Commitment to the key of the round's central noise.

    Raises:
        RunError: The round exceeds the budget.
    """
    privacy, norm = state.record.spec.privacy, clip_norm_of(state.record.spec)
    epsilon = spent(privacy, state.ledger.commits()[:round], [entry.client for entry in clients])
    if epsilon > privacy.max_epsilon:
        raise RunError(
            f"privacy budget: round {round} of run {state.run!r} would make epsilon {epsilon:.4g}, "
            f"and max_epsilon is {privacy.max_epsilon:g}"
        )
    std = privacy.noise_multiplier * norm
    figures: Figures = {"epsilon": epsilon, "delta": privacy.delta}
    if privacy.local:
        return figures | {"noise_std_of_a_client": std}
    return figures | {"noise_std": std / len(clients), COMMITMENT: committed}


def _spec_digest(state: RunState) -> str:
    return state.ledger.commit(0).parent


def _other_secret(run: str, round: int) -> str:
    return (
        f"the noise of round {round} of run {run!r} was made with another secret than the one given; "
        "a run keeps its secret, so that every round can be proved: set that one, or start a new run"
    )
