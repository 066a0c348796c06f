"""Round 0: the variables of the initial model that travel, as the global model that the first round builds on."""

from __future__ import annotations

from fedstream import __version__
from fedstream.aggregation.outcome import first_broadcast
from fedstream.record.canonical import sha256_hex
from fedstream.record.commit import Commit, Decision
from fedstream.record.layout import ModelKeys
from fedstream.record.run import RunRecord
from fedstream.record.weights import digest, from_bytes, to_bytes
from fedstream.steps.global_model import first_global
from fedstream.store.state import RunState


def write_round_zero(state: RunState, record: RunRecord) -> None:
    """Write the global model of round 0, what goes out with it, and then the commit, unless there is one.

    The commit names the statistics of a run that gathers them, which must be on record.

    Args:
        state: The run.
        record: The run's spec.json.

    Raises:
        CorruptObject: The initial model in the store is damaged.
    """
    if state.ledger.head():
        return
    initial, keys = ModelKeys(record.model.name).initial(record.model.keras_digest, "safetensors"), state.keys.at(0)
    weights = first_global(record.parts, state.store.get_verified(initial, record.model.weights_digest), initial)
    broadcast = first_broadcast(record.spec, from_bytes(weights, initial))
    state.store.put_new(keys.weights, weights)
    if broadcast:
        state.store.put_new(keys.broadcast, to_bytes(broadcast))
    state.ledger.append(
        Commit(
            run=state.run,
            round=0,
            kind="initial",
            parent=sha256_hex(state.store.get(state.keys.spec)),
            base_digest=record.model.weights_digest,
            weights_digest=sha256_hex(weights),
            broadcast_digest=digest(broadcast) if broadcast else None,
            statistics_digest=state.store.digest(keys.statistics) if record.spec.gathers_statistics else None,
            decision=Decision(action="continue", reason="initial model"),
            code_version=__version__,
        )
    )
