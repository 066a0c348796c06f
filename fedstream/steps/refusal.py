"""Refusals of clients that cannot take part.

The step of such a client succeeds, the reason goes on record, and the round continues with the other clients.
"""

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
"""Maximum length of a returned reason, in characters.

Kubernetes stores what a step returns in an object of limited size.
"""


@contextmanager
def refusing(
    state: RunState, round: int, client: str, attempt: str, step: Literal["statistics", "ingest", "train"]
) -> Iterator[None]:
    """Turn any failure of a client's step into a refusal, since a failed pod would fail the whole run.

    A refusal applies to one submission; the next submission asks the client again. Only StoreUnavailable is raised,
    because a refusal cannot be stored without the store.
    """
    try:
        yield
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - a failure of one client must not fail the others
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
            log.info("a refusal of client %s is already on record for this submission", client)


def why_refused(state: RunState, round: int, client: str, attempt: str) -> str:
    """Return the reason of a client's refusal in this submission, or an empty string.

    A client can also write its refusal itself.
    """
    try:
        return load_document(Refusal, state.store, state.keys.at(round).refusal(attempt, client)).reason[:LONGEST]
    except ObjectNotFound:
        return ""
    except CorruptObject as error:  # A damaged refusal must not end the round.
        return str(error)[:LONGEST]
