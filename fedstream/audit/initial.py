"""Check round 0 against the rest of the record: which variables travel, the first global model, the first broadcast."""

from __future__ import annotations

from fedstream.aggregation.outcome import first_broadcast
from fedstream.audit.evidence import Evidence
from fedstream.errors import FedstreamError
from fedstream.record.canonical import sha256_hex
from fedstream.record.commit import Commit
from fedstream.record.description import ModelDescription
from fedstream.record.exchange import parts_of
from fedstream.record.layout import ModelKeys, RunKeys
from fedstream.record.run import RunRecord
from fedstream.record.weights import digest
from fedstream.steps.global_model import first_global


def check_initial(evidence: Evidence, record: RunRecord, commit: Commit) -> None:
    """Check the commit of round 0, and the objects that it names.

    Args:
        evidence: Collects the problems.
        record: The run's spec.json.
        commit: The commit.
    """
    run = RunKeys(record.spec.run)
    keys = run.at(0)
    if expected := _first_digest(evidence, record):
        evidence.same(keys.commit, "weights_digest", commit.weights_digest, expected)
    if not evidence.has_digest(keys.weights, commit.weights_digest):
        return
    try:
        broadcast = first_broadcast(record.spec, evidence.weights(keys.weights))
    except FedstreamError as error:
        evidence.problem(run.spec, str(error))
        return
    evidence.same(keys.commit, "broadcast_digest", commit.broadcast_digest, digest(broadcast) if broadcast else None)
    if commit.broadcast_digest:
        evidence.has_digest(keys.broadcast, commit.broadcast_digest)


def _first_digest(evidence: Evidence, record: RunRecord) -> str | None:
    """Return the digest of round 0's global model, after checking which of the model's variables are in it.

    Returns None if that cannot be told, which is a problem of the initial model or of the spec.
    """
    model, parts, spec = record.model, record.parts, RunKeys(record.spec.run).spec
    described, initial = (ModelKeys(model.name).initial(model.keras_digest, kind) for kind in ("json", "safetensors"))
    if not evidence.has_digest(described, model.description_digest):
        return None
    description = evidence.document(ModelDescription, described)
    if description is None:
        return None
    try:
        evidence.same(spec, "parts", parts, parts_of(record.spec.exchange, description))
    except FedstreamError as error:
        evidence.problem(spec, str(error))
    if evidence.accused(spec):
        return None
    if parts is None:
        return model.weights_digest
    if not evidence.has_digest(initial, model.weights_digest):
        return None
    return sha256_hex(first_global(parts, evidence.store.get(initial), initial))
