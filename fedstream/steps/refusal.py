"""A client that cannot take part refuses: its step ends well, with the reason on record, and the round goes on with the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from fedstream.errors import CorruptObject, FedstreamError, ObjectConflict, ObjectNotFound, StoreUnavailable
from fedstream.record.document import REASON
from fedstream.record.documents import Refusal
from fedstream.store.loading import load_document
from fedstream.store.state import RunState, log

LONGEST = 1000
"""Characters of a reason that are repeated: Kubernetes keeps what a step returns in an object of limited size."""


@contextmanager
def refusing(
    state: RunState, round: int, client: str, attempt: str, step: Literal["ingest", "train"]
) -> Iterator[None]:
    """Turn any failure of a client's step into a refusal, since a failed pod would fail the whole run.

    A refusal holds for one submission; the next one asks the client again. Only the store's absence is let through: without it, none can be kept.
    """
    try:
        yield
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever fails at one client must not fail the others
        reason = str(error) if isinstance(error, FedstreamError) else f"{type(error).__name__}: {error}"
        log.warning(
            "round %d: client %s does not take part: %s",
            round,
            client,
            reason,
            exc_info=not isinstance(error, FedstreamError),
        )
        try:
            refusal = Refusal(client=client, step=step, reason=reason[:REASON])
            state.store.put_new_json(state.keys.at(round).refusal(attempt, client), refusal.model_dump(mode="json"))
        except ObjectConflict:
            log.info("a refusal of client %s is on record for this submission already", client)


def why_refused(state: RunState, round: int, client: str, attempt: str) -> str:
    """Return the reason this submission has on record for a client, or an empty string. A client may write its refusal itself."""
    try:
        return load_document(Refusal, state.store, state.keys.at(round).refusal(attempt, client)).reason[:LONGEST]
    except ObjectNotFound:
        return ""
    except CorruptObject as error:  # whoever may write refusals must not end the round with one
        return str(error)[:LONGEST]
