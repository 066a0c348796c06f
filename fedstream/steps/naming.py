"""The names of a run's columns and classes, and whose names do not fit. All functions are pure."""

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
    """The names of a run's columns and classes, in the run's order.

    Attributes:
        features: Names of the columns; empty if neither the model nor a client names any.
        classes: Names of the classes 0, 1, ...; empty if neither the model nor a client names any.
    """

    features: list[str]
    classes: list[str]

    def differ(self, client: MatchedClient) -> str:
        """Return how a client's names differ from the run's, or an empty string."""
        return names_differ(client.features, client.classes, self.features, self.classes)


def agree(model: ModelDescription, clients: Sequence[MatchedClient]) -> Names:
    """Return the model's names or, if it has none, those of the first client that announces any.

    Args:
        model: The initial model.
        clients: The clients, sorted by name.
    """
    features = model.features or next((client.features for client in clients if client.features), [])
    return Names(features, model.classes or next((client.classes for client in clients if client.classes), []))


def features_of(announcement: DataAnnouncement, codec: Codec) -> list[str]:
    """Return the names of a stream's columns: the announced ones or, if there are none, those in the records."""
    return announcement.features or list(codec.names)


def names_misfit(model: ModelDescription, codec: Codec, announcement: DataAnnouncement) -> str:
    """Return why an announcement's names do not fit its records or the model, or an empty string."""
    features, classes = features_of(announcement, codec), announcement.classes
    if features and codec.data_shape != (len(features),):
        return (
            f"names {len(features)} columns, but its records have shape {codec.data_shape}; "
            "announce one name for each value of a flat record"
        )
    if classes and codec.label_shape not in ((), (1,)):
        return (
            f"names classes, but its labels have shape {codec.label_shape}; send class numbers, or announce no classes"
        )
    if codec.label_dtype.kind == "O" and not classes:
        return (
            "has labels that are text, but announces no classes; announce their names as classes, or send class numbers"
        )
    if classes and model.class_count and len(classes) > model.class_count:
        return f"names {len(classes)} classes, but model {model.name!r} tells {model.class_count} apart"
    return names_differ(features, classes, model.features, model.classes)
