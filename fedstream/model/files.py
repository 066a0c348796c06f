"""Keras models as files and objects: load safely, save canonically, describe, and find again. TensorFlow is imported only where a model is built or loaded."""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from fedstream.errors import ModelError, ObjectNotFound
from fedstream.model._tensorflow import keras
from fedstream.model.description import SPARSE_LOSS, ModelDescription, VariableDescription
from fedstream.store.canonical import canonical_json, sha256_hex
from fedstream.store.layout import ModelKeys
from fedstream.store.objects import ObjectStore
from fedstream.store.weights import Weights, to_bytes

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip entry can have: a saved model's bytes must not tell when it was saved."""


def load_keras(data: bytes, where: str = "the model") -> Any:
    """Load a compiled `keras.Model` from the bytes of a .keras file, with Keras' safe mode on.

    Args:
        data: the file's bytes.
        where: its name, for the message.

    Raises:
        ModelError: it is no .keras file, has a Lambda layer (code that would run here), or is not compiled.
    """
    if not data.startswith(b"PK"):
        raise ModelError(f"{where} is no .keras file; save the model with `model.save('model.keras')`")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(data)
        try:
            model = keras().saving.load_model(path, safe_mode=True)
        except Exception as error:  # Keras raises many kinds for one cause: the file is not to be used
            raise ModelError(_why_unloadable(where, error)) from error
    if not getattr(model, "compiled", False) or model.optimizer is None or model.loss is None:
        raise ModelError(f"{where} is not compiled; call model.compile(optimizer=..., loss=..., metrics=[...]) before saving it")
    model.jit_compile = False
    return model


def _why_unloadable(where: str, error: Exception) -> str:
    text = str(error)
    if "Lambda" in text or "lambda" in text:
        return f"{where} has a Lambda layer: it holds Python code, which would run at every client, so it is refused; use Keras' own layers"
    return f"{where} cannot be loaded by Keras: {text.strip().splitlines()[0] if text.strip() else type(error).__name__}; use Keras' own layers and save it anew"


def save_keras(model: Any) -> bytes:
    """Return a model's .keras file: the same weights and configuration are always the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return _canonical(path.read_bytes())


def _canonical(data: bytes) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = canonical_json({key: value for key, value in json.loads(content).items() if key != "date_saved"})
            target.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content)
    return output.getvalue()


def get_weights(model: Any) -> Weights:
    """Return what travels: trainable variables and moving statistics, by Keras path. Seeds and optimizer state stay."""
    return {variable.path: variable.numpy() for variable in model.weights}


def set_weights(model: Any, weights: Weights) -> None:
    """Give a model its weights.

    Raises:
        ModelError: a variable is missing, unknown, or of another shape.
    """
    variables = {variable.path: variable for variable in model.weights}
    if different := sorted(variables.keys() ^ weights.keys()):
        raise ModelError(f"variable {different[0]!r} is not in both the model and its weights; they belong to different models")
    for path, variable in variables.items():
        if tuple(variable.shape) != weights[path].shape:
            raise ModelError(f"variable {path!r} has shape {tuple(variable.shape)}, its weights have {weights[path].shape}")
        variable.assign(weights[path])


def describe(model: Any, name: str, keras_digest: str) -> ModelDescription:
    """Describe a loaded model.

    Raises:
        ModelError: it has more than one input or output, a shape that is not fixed, or two variables of one path.
    """
    shapes = {}
    for what, shape in (("input", model.input_shape), ("output", model.output_shape)):
        if not isinstance(shape, tuple) or any(not isinstance(size, int) for size in shape[1:]):
            raise ModelError(f"model {name!r} must have one {what} of a fixed shape, not {shape}; records are arrays of one shape")
        shapes[what] = list(shape[1:])
    paths = [variable.path for variable in model.weights]
    if doubled := sorted({path for path in paths if paths.count(path) > 1}):
        raise ModelError(f"model {name!r} has two variables {doubled[0]!r}; give its layers names of their own")
    loss = loss_name(model)
    return ModelDescription(
        name=name,
        input_shape=shapes["input"],
        output_shape=shapes["output"],
        num_classes=shapes["output"][-1] if loss == SPARSE_LOSS else None,
        loss=loss,
        metrics=_metric_names(model),
        variables=[VariableDescription(name=v.path, shape=list(v.shape), dtype=str(v.dtype)) for v in model.weights],
        keras_digest=keras_digest,
        weights_digest=sha256_hex(to_bytes(get_weights(model))),
    )


def loss_name(model: Any) -> str:
    loss = model.loss
    return loss if isinstance(loss, str) else str(getattr(loss, "name", "") or getattr(loss, "__name__", "custom"))


def _metric_names(model: Any) -> list[str]:
    import numpy as np

    samples = np.zeros((1, *model.input_shape[1:]), dtype="float32")
    labels = np.zeros((1, *(model.output_shape[1:-1] if loss_name(model) == SPARSE_LOSS else model.output_shape[1:])), dtype="float32")
    names = model.evaluate(samples, labels, verbose=0, return_dict=True)
    model.reset_metrics()
    return sorted(name for name in names if name != "loss")


def add_model(store: ObjectStore, name: str, data: bytes, where: str = "the model") -> ModelDescription:
    """Check a model and put it into the store; the same file added again changes nothing.

    Raises:
        ModelError: the model cannot be used.
    """
    model = load_keras(data, where)
    data = _canonical(data)
    description = describe(model, name, sha256_hex(data))
    keys = ModelKeys(name)
    store.put_new(keys.initial(description.keras_digest), data)
    store.put_new(keys.initial(description.keras_digest, "safetensors"), to_bytes(get_weights(model)))
    store.put_new_json(keys.initial(description.keras_digest, "json"), description.model_dump(mode="json"))
    return description


def ensure_model(store: ObjectStore, name: str) -> ModelDescription:
    """Return the newest model of that name; a built-in one is made when it is first asked for.

    Raises:
        ModelError: there is none; says which there are.
    """
    from fedstream.model.builtin import BUILTIN, build

    prefix = ModelKeys(name).initial("", "").removesuffix(".")
    added = [info for info in store.list(prefix) if info.key.endswith(".json")]
    if added:
        newest = max(added, key=lambda info: (info.last_modified, info.key))
        return ModelDescription.model_validate_json(store.get(newest.key))
    if name in BUILTIN:
        return add_model(store, name, save_keras(build(name)), name)
    raise ModelError(f"there is no model {name!r}; add it with `fedstream model add FILE.keras --name {name}`, or use one of {', '.join([*list_models(store), *BUILTIN])}")


def list_models(store: ObjectStore) -> list[str]:
    """Return the names of all added models."""
    return sorted({info.key.split("/")[1] for info in store.list("models/") if "/initial/" in info.key and not info.key.startswith("models/builtin-")})


def read_description(store: ObjectStore, name: str, keras_digest: str) -> ModelDescription:
    """Return the description of one added model.

    Raises:
        ModelError: it is not in the store.
    """
    try:
        return ModelDescription.model_validate_json(store.get(ModelKeys(name).initial(keras_digest, "json")))
    except ObjectNotFound as error:
        raise ModelError(f"model {name!r} with digest {keras_digest[:12]} is not in the store; add it again with `fedstream model add`") from error


def load_callable(reference: str) -> Any:
    """Call `package.module:function` and return the model it makes.

    Raises:
        ModelError: it cannot be imported, or returns no compiled Keras model.
    """
    import importlib
    import sys

    module_name, _, function = reference.partition(":")
    keras()
    sys.path.insert(0, os.getcwd())
    try:
        model = getattr(importlib.import_module(module_name), function)()
    except (ImportError, AttributeError) as error:
        raise ModelError(f"{reference!r} cannot be imported ({error}); give package.module:function, importable from here") from error
    finally:
        sys.path.remove(os.getcwd())
    if not isinstance(model, keras().Model):
        raise ModelError(f"{reference!r} returned a {type(model).__name__}, expected a compiled keras.Model")
    return model
