"""Which columns and classes a run has, and whose names do not fit. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedstream.record.description import ModelDescription
from fedstream.record.run import MatchedClient
from fedstream.stream.announcement import DataAnnouncement
from fedstream.stream.codec import Codec
from fedstream.stream.columns import names_differ


@dataclass(frozen=True)
class Names:
    """A run's names, in its order.

    Attributes:
        features: of the columns; empty where nobody names any.
        classes: of the classes 0, 1, ...; likewise.
    """

    features: list[str]
    classes: list[str]

    def differ(self, client: MatchedClient) -> str:
        """Return why a client's names are not the run's, or an empty string."""
        return names_differ(client.features, client.classes, self.features, self.classes)


def agree(model: ModelDescription, clients: Sequence[MatchedClient]) -> Names:
    """Return the model's names; where it has none, those of the first client that announces any.

    Args:
        model: the initial model.
        clients: sorted by name.
    """
    features = model.features or next((client.features for client in clients if client.features), [])
    return Names(features, model.classes or next((client.classes for client in clients if client.classes), []))


def features_of(announcement: DataAnnouncement, codec: Codec) -> list[str]:
    """Return the names of a stream's columns: those that are announced, or else those that the records carry."""
    return announcement.features or list(codec.names)


def names_misfit(model: ModelDescription, codec: Codec, announcement: DataAnnouncement) -> str:
    """Return why an announcement's names fit neither its records nor the model, or an empty string."""
    features, classes = features_of(announcement, codec), announcement.classes
    if features and codec.data_shape != (len(features),):
        return f"names {len(features)} columns, but its records have shape {codec.data_shape}; announce one name for each value of a flat record"
    if classes and codec.label_shape not in ((), (1,)):
        return (
            f"names classes, but its labels have shape {codec.label_shape}; send class numbers, or announce no classes"
        )
    if classes and model.class_count and len(classes) > model.class_count:
        return f"names {len(classes)} classes, but model {model.name!r} tells {model.class_count} apart"
    return names_differ(features, classes, model.features, model.classes)
