"""Added models: their files, weights and descriptions in the store. Imports TensorFlow only to add a model."""

from __future__ import annotations

from collections.abc import Sequence

from fedstream.catalog.additions import current, list_models, record_addition
from fedstream.errors import ModelError, ObjectConflict
from fedstream.model.builtin import builtin_file, builtin_names
from fedstream.model.learner import kind_of
from fedstream.record.description import ModelDescription, named
from fedstream.record.layout import ModelKeys
from fedstream.record.names import MODEL_NAME, check_name
from fedstream.store.loading import load_document
from fedstream.store.store import Store


def add_model(
    store: Store, name: str, data: bytes, features: Sequence[str] = (), classes: Sequence[str] = ()
) -> ModelDescription:
    """Add a model file to the store for new runs to start from; do nothing if it already is the current file.

    This writes the file, its weights and its description, and then the number of the addition, which makes it current.

    Args:
        store: Store of the models.
        name: Name of the model.
        data: Content of the .keras file.
        features: Names of the columns of a flat record, in the order of the model's input; empty for none.
        classes: Names of the classes 0, 1, ...; empty for none.

    Returns:
        The description of the model.

    Raises:
        ModelError: The file is invalid as described in `describe`, the number of names differs from the number of
            columns or classes, or the same file was added with different names.
    """
    description, weights = kind_of(data).describe(data, name)
    description = named(description, features, classes)
    keys, sha256 = ModelKeys(name), description.keras_digest
    store.put_new(keys.initial(sha256), data)
    store.put_new(keys.initial(sha256, "safetensors"), weights)
    try:
        store.put_new_json(keys.initial(sha256, "json"), description.model_dump(mode="json"))
    except ObjectConflict as error:  # an earlier version of fedstream may have described the same file with fewer words
        given, description = description, read_description(store, name, sha256)
        if (given.features, given.classes) != (description.features, description.classes):
            raise ModelError(
                f"this file was already added as {name!r} with different names of columns or classes; "
                "add it under another name"
            ) from error
    record_addition(store, name, sha256)
    return description


def ensure_model(
    store: Store, name: str, threads: int | None = None, gpu_memory_mib: int | None = None
) -> ModelDescription:
    """Return the description of the current model of a name.

    A built-in model that is not in the store is built and added; only this imports TensorFlow.

    Args:
        store: Store of the models.
        name: Name of an added model, or `builtin:NAME`.
        threads: As in `load_keras`, for a process that trains later.
        gpu_memory_mib: As in `configure`, in MiB, for a process that trains later.

    Raises:
        ModelError: There is no such model; the message lists the existing ones.
    """
    if added := current(store, check_name("model", name, MODEL_NAME)):
        return read_description(store, name, added.digest)
    if name in builtin_names():
        return add_model(store, name, builtin_file(name, threads, gpu_memory_mib))
    known = ", ".join(sorted({*list_models(store), *builtin_names()}))
    raise ModelError(
        f"there is no model {name!r}; there are {known}. Add one with `fedstream model add FILE.keras --name NAME`"
    )


def read_description(store: Store, name: str, keras_digest: str) -> ModelDescription:
    """Return the description that was written when a model was added.

    Raises:
        ObjectNotFound: No such file was added.
        CorruptObject: The object is not a model description.
    """
    return load_document(ModelDescription, store, ModelKeys(name).initial(keras_digest, "json"))
