"""Announce a published version to the data owners, and move the model's latest.json."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from fedstream.catalog.models import read_description
from fedstream.catalog.versions import names_a_version, read_pointer
from fedstream.deadline import Deadline
from fedstream.errors import BrokerError, StoreError
from fedstream.record.canonical import canonical_json
from fedstream.record.layout import ModelKeys
from fedstream.record.versions import LatestVersion, VersionManifest
from fedstream.steps.context import Context
from fedstream.steps.retry import patiently
from fedstream.store.state import RunState, log
from fedstream.stream.announcement import MODEL_CONTROL_TOPIC, ModelAnnouncement
from fedstream.stream.broker import Broker
from fedstream.stream.sink import announce_model

MAX_TRIES = 20
"""Number of attempts to move latest.json while other publishers move it; far more than can be in flight at once."""

AWAY_S = 60.0
"""Seconds that all brokers together can be unavailable while a version is announced; a restart takes less."""


def announce(context: Context, state: RunState, version: int, manifest: VersionManifest, digest: str) -> None:
    """Announce a version to the data owners, then move latest.json.

    If the step is killed in between, the next publish announces the version again.

    Raises:
        BrokerError: The default brokers do not answer.
        StoreError: Other publishers kept moving latest.json.
    """
    keys = ModelKeys(state.record.model.name)
    latest = canonical_json(LatestVersion(version=version, manifest=digest).model_dump(mode="json"))
    for _ in range(MAX_TRIES):
        current, etag = read_pointer(state.store, keys.latest)
        if current and current.version >= version and names_a_version(state.store, keys, current):
            return
        announcement = _announcement(state, manifest)
        _tell(context, state, announcement)
        if state.store.put_if_match(keys.latest, latest, etag):
            return
    raise StoreError(f"{keys.latest} changes faster than it can be moved; publish again")


def _tell(context: Context, state: RunState, announcement: ModelAnnouncement) -> None:
    """Announce a version at each broker.

    A site's broker that does not answer is skipped, so that all other owners still receive the announcement.
    """
    patience = context.deadline(AWAY_S)
    for servers in state.record.spec.bootstrap_servers:
        try:
            _tell_at(context.brokers.at(servers), announcement, patience)
        except BrokerError:
            if not servers:
                raise
            log.warning(
                "the brokers %s of a site do not answer; the version is not announced there", servers, exc_info=True
            )


def _tell_at(broker: Broker, announcement: ModelAnnouncement, patience: Deadline) -> None:
    patiently(patience, lambda _: announce_model(broker.writer(), announcement, MODEL_CONTROL_TOPIC))


def _announcement(state: RunState, manifest: VersionManifest) -> ModelAnnouncement:
    record, file = state.record, next(name for name in manifest.files if name.startswith("model."))
    key = ModelKeys(record.model.name).version(manifest.version, file)
    description, place = (
        read_description(state.store, record.model.name, record.model.keras_digest),
        urlsplit(state.store.uri(key)),
    )
    return ModelAnnouncement(
        model_format={
            "input_shape": "; ".join(f"{name} {_spaced(one.shape)}".strip() for name, one in description.takes.items()),
            "output_shape": _spaced(description.output_shape),
        },
        federated_params={
            "federated_string_id": state.run,
            "data_restriction": json.dumps(record.spec.data_restriction, sort_keys=True),
            "min_data": record.spec.min_data,
        },
        model=record.model.name,
        version=manifest.version,
        run=state.run,
        bucket=place.netloc,
        model_key=place.path.removeprefix("/"),
        model_digest=manifest.files[file],
        weights_digest=manifest.weights_digest,
        head=manifest.head,
        features=record.features,
        classes=record.classes,
    )


def _spaced(shape: list[int]) -> str:
    return " ".join(map(str, shape))
