"""Load and check the published version that predicts, and replace it when a newer one is published or its alias moves.

This module knows nothing of Kafka.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from fedstream.catalog.versions import Version, Which, find_latest, find_version, read_version_file
from fedstream.errors import CorruptObject, FedstreamError, ModelError, ObjectNotFound, RunError
from fedstream.model.compatibility import inputs_differ
from fedstream.model.prediction import Predict
from fedstream.record.description import taken
from fedstream.record.format import StreamFormat
from fedstream.record.run import MatchedClient, RunRecord
from fedstream.store.state import RunState
from fedstream.store.store import Store
from fedstream.stream.codec import Codec, codec_class

log = logging.getLogger("fedstream.serving")


@dataclass(frozen=True)
class Served:
    """A version in memory.

    Attributes:
        model: Name of the model.
        number: Number of the version.
        weights_digest: SHA-256 of the loaded weights.
        codec: Codec of the records.
        predict: Function that maps samples (n, ...) to predictions (n, ...).
        features: Names of the columns, in the order of the model's input; empty if they have no names.
        classes: Names of the classes 0, 1, ...; empty if they have no names.
    """

    model: str
    number: int
    weights_digest: str
    codec: Codec
    predict: Predict
    features: Sequence[str] = ()
    classes: Sequence[str] = ()

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """Headers that identify the model that made a prediction."""
        names = {
            "fedstream-model": self.model,
            "fedstream-version": str(self.number),
            "fedstream-weights": self.weights_digest,
        }
        return [(name, value.encode()) for name, value in names.items()]


class ServedVersion:
    """The version that currently predicts.

    Args:
        store: Store of the models.
        model: Name of the model.
        which: The version; an alias, or None for the newest version, is followed when it moves.
        laid_out: Format of the records, as in an announcement; None for that of the version's run.
        check_every_s: Seconds between checks of the alias or of latest.json.

    Raises:
        ModelError: There is no such version, or it does not accept records of this format.
        AnnouncementError: The format is unknown, or its configuration is invalid.
        CorruptObject: The version is not what was published.
    """

    def __init__(
        self, store: Store, model: str, which: Which, laid_out: StreamFormat | None, check_every_s: float
    ) -> None:
        self._store, self._model, self._which = store, model, which
        self._laid_out, self._check_every_s = laid_out, check_every_s
        version = self._wanted()
        self._served = self._load(version, self._codec(version))
        self._checked = time.monotonic()

    def current(self) -> Served:
        """Return the version to predict with, after checking for another one from time to time.

        A version that fails to load or needs a different record format does not replace the current one.
        """
        if not isinstance(self._which, int) and time.monotonic() - self._checked >= self._check_every_s:
            try:
                wanted = self._wanted()
                if wanted.number != self._served.number:
                    self._served = self._load(wanted, self._same_codec(wanted))
            except FedstreamError as error:
                log.warning("version %d of %s stays in use: %s", self._served.number, self._model, error)
            self._checked = time.monotonic()
        return self._served

    def _wanted(self) -> Version:
        return (
            find_latest(self._store, self._model)
            if self._which is None
            else find_version(self._store, self._model, self._which)
        )

    def _codec(self, version: Version) -> Codec:
        if self._laid_out is None:
            return codec_of(self._store, version)
        codec = codec_class(self._laid_out.format).unlabelled(self._laid_out.config)
        return codec.in_order(codec.names, version.manifest.features or codec.names)

    def _same_codec(self, version: Version) -> Codec:
        """Return the codec of another version, which must read records as the current one does.

        Publishing a model does not change the stream.
        """
        for what in ("features", "classes"):
            names, known = getattr(version.manifest, what), list(getattr(self._served, what))
            if names and known and names != known:
                raise ModelError(
                    f"version {version.number} has {what} {', '.join(map(str, names))}, "
                    f"but those of this stream are {', '.join(map(str, known))};"
                    " restart this command after the stream and the consumers of its predictions have changed"
                )
        codec, now = self._codec(version), self._served.codec
        if codec.sample_format != now.sample_format:
            raise ModelError(
                f"version {version.number} was trained on records of {codec.sample_format}, "
                f"but those of this stream are read as {now.sample_format};"
                " restart this command after the stream has changed, or set its format with --input-config"
            )
        return codec

    def _load(self, version: Version, codec: Codec) -> Served:
        served = load(self._store, version, codec)
        log.info(
            "predicting with version %d of %s: weights %s, records %s",
            served.number,
            served.model,
            served.weights_digest[:12],
            codec.sample_format,
        )
        if served.features:
            log.info("order of the columns: %s", ", ".join(map(str, served.features)))
        return served


def load(store: Store, version: Version, codec: Codec) -> Served:
    """Load a version. Imports TensorFlow.

    Raises:
        CorruptObject: The file or the weights do not have the digests in the manifest.
        ModelError: The model does not accept records of the codec's shape.
    """
    from fedstream.model.files import load_keras
    from fedstream.model.inputs import describe_inputs
    from fedstream.model.keras_model import get_weights
    from fedstream.model.prediction import predictor
    from fedstream.record.weights import digest

    model = load_keras(read_version_file(store, version))
    expected, found = version.manifest.weights_digest, digest(get_weights(model))
    if found != expected:
        raise CorruptObject(
            f"version {version.number} of model {version.model!r} has weights {found}, but its manifest has {expected}"
        )
    if reason := inputs_differ(taken(*describe_inputs(model)), codec):
        raise ModelError(
            f"version {version.number} of model {version.model!r} has input shape {reason}; correct --input-config"
        )
    return Served(
        version.model,
        version.number,
        found,
        codec,
        predictor(model),
        version.manifest.features,
        version.manifest.classes,
    )


def codec_of(store: Store, version: Version) -> Codec:
    """Return the codec of the records that a version's run was trained on, in the order of the run's columns.

    Raises:
        ModelError: The run is no longer in the store, or its clients have different formats.
    """
    run = version.manifest.run
    name = '--input-config \'{"data_type": "float32", "data_reshape": "28 28"}\''
    try:
        record = RunState(store, run).record
    except (RunError, ObjectNotFound) as error:
        raise ModelError(
            f"run {run!r} of version {version.number} is not in the store, so the format of the records is "
            f"unknown; set it: {name}"
        ) from error
    codecs = {codec.sample_format: codec for codec in (_codec_of(record, client) for client in record.clients)}
    if len(codecs) != 1:
        found = " and ".join(sorted(codecs))
        raise ModelError(
            f"the clients of run {run!r} sent records of different formats ({found}); "
            f"set the format of the records to predict: {name}"
        )
    return next(iter(codecs.values()))


def _codec_of(record: RunRecord, client: MatchedClient) -> Codec:
    codec = codec_class(client.input_format).unlabelled(client.input_config)
    return codec.in_order(client.features, record.features)
