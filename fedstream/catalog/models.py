"""The models that were added: their files, weights and descriptions in the store. TensorFlow is imported only to add one."""

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


def add_model(store: Store, name: str, data: bytes, features: Sequence[str] = (), classes: Sequence[str] = ()) -> ModelDescription:
    """Put a model file into the store, for new runs to start from; adding the current file of the name again changes nothing.

    Writes the file, its weights and its description, then the addition's number, which makes it the current one.

    Args:
        store: where models are.
        name: model name.
        data: the file's bytes.
        features: names of the columns of a flat record, in the order in which the model takes them; empty for none.
        classes: names of the classes 0, 1, ...; empty for none.

    Raises:
        ModelError: as `describe`; or the names are not as many as the model's columns or classes, or the file was added with other names.
    """
    description, weights = kind_of(data).describe(data, name)
    description = named(description, features, classes)
    keys, sha256 = ModelKeys(name), description.keras_digest
    store.put_new(keys.initial(sha256), data)
    store.put_new(keys.initial(sha256, "safetensors"), weights)
    try:
        store.put_new_json(keys.initial(sha256, "json"), description.model_dump(mode="json"))
    except ObjectConflict as error:
        raise ModelError(f"this file was added as {name!r} before, with other names of columns or classes; add it under another name") from error
    record_addition(store, name, sha256)
    return description


def ensure_model(store: Store, name: str, threads: int | None = None, gpu_memory_mib: int | None = None) -> ModelDescription:
    """Return the description of the current model of a name, without TensorFlow; a built-in model that is not in the store is built and added.

    Args:
        store: where models are.
        name: an added model, or `builtin:NAME`.
        threads: as in `load_keras`, for a process that trains later.
        gpu_memory_mib: as in `configure`, likewise.

    Raises:
        ModelError: there is no such model; names those there are.
    """
    if added := current(store, check_name("model", name, MODEL_NAME)):
        return read_description(store, name, added.digest)
    if name in builtin_names():
        return add_model(store, name, builtin_file(name, threads, gpu_memory_mib))
    known = ", ".join(sorted({*list_models(store), *builtin_names()}))
    raise ModelError(f"there is no model {name!r}; there are {known}. Add one with `fedstream model add FILE.keras --name NAME`")


def read_description(store: Store, name: str, keras_digest: str) -> ModelDescription:
    """Return the description that was written when a model was added.

    Raises:
        ObjectNotFound: no such file was added.
        CorruptObject: it is no description.
    """
    return load_document(ModelDescription, store, ModelKeys(name).initial(keras_digest, "json"))
