"""The published version that predicts: loaded, checked, and replaced when a newer one is published, or its alias moves. Knows no Kafka."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from fedstream.catalog.versions import Version, Which, find_latest, find_version, read_version_file
from fedstream.errors import CorruptObject, FedstreamError, ModelError, ObjectNotFound, RunError
from fedstream.model.prediction import Predict
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
        model: its model's name.
        number: the version.
        weights_digest: SHA-256 of its weights, which was computed from the loaded ones.
        codec: of the records that it takes.
        predict: samples (n, ...) -> predictions (n, ...).
        features: names of the columns, in the order in which it takes them; empty where they have none.
        classes: names of the classes 0, 1, ...; likewise.
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
        """Headers that say which model made a prediction."""
        names = {"fedstream-model": self.model, "fedstream-version": str(self.number), "fedstream-weights": self.weights_digest}
        return [(name, value.encode()) for name, value in names.items()]


class ServedVersion:
    """The version that predicts now.

    Args:
        store: where models are.
        model: model name.
        which: the version; an alias, or None for the newest, is followed as it moves.
        laid_out: the records' format, as in an announcement; None for that of the version's run.
        check_every_s: seconds between two looks at the alias, or at latest.json.

    Raises:
        ModelError: there is no such version, or it does not take such records.
        AnnouncementError: the format is not offered, or its configuration is wrong.
        CorruptObject: the version is not what was published.
    """

    def __init__(self, store: Store, model: str, which: Which, laid_out: StreamFormat | None, check_every_s: float) -> None:
        self._store, self._model, self._which = store, model, which
        self._laid_out, self._check_every_s = laid_out, check_every_s
        version = self._wanted()
        self._served = self._load(version, self._codec(version))
        self._checked = time.monotonic()

    def current(self) -> Served:
        """Return the version to predict with; now and then look for another one. One that fails to load, or takes other records, replaces nothing."""
        if not isinstance(self._which, int) and time.monotonic() - self._checked >= self._check_every_s:
            try:
                wanted = self._wanted()
                if wanted.number != self._served.number:
                    self._served = self._load(wanted, self._same_codec(wanted))
            except FedstreamError as error:
                log.warning("version %d of %s stays: %s", self._served.number, self._model, error)
            self._checked = time.monotonic()
        return self._served

    def _wanted(self) -> Version:
        return find_latest(self._store, self._model) if self._which is None else find_version(self._store, self._model, self._which)

    def _codec(self, version: Version) -> Codec:
        if self._laid_out is None:
            return codec_of(self._store, version)
        codec = codec_class(self._laid_out.format).unlabelled(self._laid_out.config)
        return codec.in_order(codec.names, version.manifest.features or codec.names)

    def _same_codec(self, version: Version) -> Codec:
        """Return the codec of another version, which must read records as the present one does: publishing a model does not change the stream."""
        for what in ("features", "classes"):
            names, known = getattr(version.manifest, what), list(getattr(self._served, what))
            if names and known and names != known:
                raise ModelError(
                    f"version {version.number} has {what} {', '.join(map(str, names))}, those of this stream are {', '.join(map(str, known))};"
                    " start again once the stream, and who reads its predictions, have changed"
                )
        codec, now = self._codec(version), self._served.codec
        if codec.sample_format != now.sample_format:
            raise ModelError(
                f"version {version.number} was trained on records of {codec.sample_format}, those of this stream are read as {now.sample_format};"
                " start again once the stream has changed, or name its format with --input-config"
            )
        return codec

    def _load(self, version: Version, codec: Codec) -> Served:
        served = load(self._store, version, codec)
        log.info("version %d of %s predicts: weights %s, records %s", served.number, served.model, served.weights_digest[:12], codec.sample_format)
        if served.features:
            log.info("it takes the columns in this order: %s", ", ".join(map(str, served.features)))
        return served


def load(store: Store, version: Version, codec: Codec) -> Served:
    """Load a version. Imports TensorFlow.

    Raises:
        CorruptObject: its file or its weights do not have the digests in its manifest.
        ModelError: it does not take records of the codec's shape.
    """
    from fedstream.model.files import load_keras
    from fedstream.model.keras_model import get_weights, record_shape
    from fedstream.model.prediction import predictor
    from fedstream.record.weights import digest

    model = load_keras(read_version_file(store, version))
    expected, found = version.manifest.weights_digest, digest(get_weights(model))
    if found != expected:
        raise CorruptObject(f"version {version.number} of model {version.model!r} has weights {found}, its manifest says {expected}")
    if (shape := tuple(record_shape(model, model.inputs, "input"))) != codec.data_shape:
        raise ModelError(
            f"version {version.number} of model {version.model!r} has input {shape}, which does not fit records of shape {codec.data_shape};"
            " correct --input-config"
        )
    return Served(version.model, version.number, found, codec, predictor(model), version.manifest.features, version.manifest.classes)


def codec_of(store: Store, version: Version) -> Codec:
    """Return the codec of the records that a version's run was trained on, in the order of the run's columns.

    Raises:
        ModelError: the run is no longer in the store, or its clients differ.
    """
    run = version.manifest.run
    name = '--input-config \'{"data_type": "float32", "data_reshape": "28 28"}\''
    try:
        record = RunState(store, run).record
    except (RunError, ObjectNotFound) as error:
        raise ModelError(
            f"run {run!r} of version {version.number} is not in the store, so the records' format is unknown; name it: {name}"
        ) from error
    codecs = {codec.sample_format: codec for codec in (_codec_of(record, client) for client in record.clients)}
    if len(codecs) != 1:
        found = " and ".join(sorted(codecs))
        raise ModelError(f"the clients of run {run!r} sent records of different formats ({found}); name that of the records to predict: {name}")
    return next(iter(codecs.values()))


def _codec_of(record: RunRecord, client: MatchedClient) -> Codec:
    codec = codec_class(client.input_format).unlabelled(client.input_config)
    return codec.in_order(client.features, record.features)
