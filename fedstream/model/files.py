"""Model files: .keras bytes to Keras models and back. TensorFlow is imported only to load or save."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel, keras, set_threads
from fedstream.model.adapters import enable, entry_of, read_entry
from fedstream.model.archive import ADVICE, canonical_archive, check_archive, write_archive
from fedstream.model.evaluation import evaluate_model
from fedstream.model.inputs import describe_inputs, zero_records
from fedstream.model.keras_model import get_weights, loss_name, num_classes, record_shape, travelling
from fedstream.model.outputs import check_outputs, output_names
from fedstream.record.canonical import sha256_hex
from fedstream.record.description import ModelDescription, VariableDescription
from fedstream.record.weights import to_bytes

SUFFIX = ".keras"


def load_keras(source: bytes | str | Path, threads: int | None = None) -> KerasModel:
    """Load a compiled model, like `load_any`.

    Raises:
        ModelError: The model cannot be loaded, or is not compiled.
    """
    model = load_any(source, threads)
    if not getattr(model, "compiled", False):
        where = "the model file" if isinstance(source, bytes) else source
        raise ModelError(f"the model in {where} is not compiled; call `model.compile(...)` before saving it")
    return model


def load_any(source: bytes | str | Path, threads: int | None = None) -> KerasModel:
    """Load a model, in Keras' safe mode, with the LoRA adapters that its file asks for.

    Args:
        source: Path or bytes of a .keras file.
        threads: Number of intra-op threads; None for the current number, or 2 if TensorFlow has not started.

    Returns:
        A keras.Model.

    Raises:
        ModelError: The file cannot be read or is not a .keras file, or the model has a Lambda layer, or needs code that
            is not part of Keras.
    """
    where, data = _read(source)
    contents = check_archive(data, where)
    adapters = read_entry(contents, where)
    set_threads(threads)
    with tempfile.NamedTemporaryFile(suffix=SUFFIX) as file, warnings.catch_warnings():
        # An optimizer that was saved before its first step has no state to load.
        warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
        file.write(write_archive(contents))
        file.flush()
        try:
            model = keras().saving.load_model(file.name, safe_mode=True)
        except Exception as error:  # a foreign file makes Keras raise anything; its owner gets one line
            raise ModelError(
                f"{where} cannot be loaded by Keras {keras().version()}: {_first_line(error)}; "
                f"use Keras' own layers and losses, and {ADVICE}"
            ) from error
    enable(model, adapters)
    return model


def save_keras(model: KerasModel) -> bytes:
    """Return a model as .keras bytes: the same architecture, compile arguments and weights are always the same bytes.

    Raises:
        ModelError: The model is not compiled.
    """
    if not getattr(model, "compiled", False):
        raise ModelError(
            f"model {model.name!r} is not compiled, so it has no loss and no optimizer; call `model.compile(...)` first"
        )
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{SUFFIX}"
        keras().saving.save_model(model, path)
        return canonical_archive(path.read_bytes(), entry_of(model))


def describe(data: bytes, name: str, where: str = "") -> tuple[ModelDescription, bytes]:
    """Load a .keras file, try it on two records, and return its description and its initial weights as safetensors.

    Args:
        data: Bytes of the file.
        name: Name of the model.
        where: Name of the file, for error messages.

    Raises:
        ModelError: The model cannot be trained here. The message says why.
    """
    model = load_keras(data)
    check_outputs(model)
    weights = to_bytes(get_weights(model))
    input_shape, inputs = describe_inputs(model)
    description = ModelDescription(
        name=name,
        input_shape=input_shape,
        inputs=inputs,
        output_shape=record_shape(model, getattr(model, "outputs", None), "output"),
        num_classes=num_classes(model),
        loss=loss_name(model),
        metrics=[],
        variables=[
            VariableDescription(name=path, shape=list(v.shape), dtype=v.dtype, trainable=v.trainable)
            for path, v in travelling(model).items()
        ],
        keras_digest=sha256_hex(data),
        weights_digest=sha256_hex(weights),
        outputs=output_names(model),
    )
    if not model.trainable_variables:
        raise ModelError(f"model {name!r} has nothing to train: all its layers are frozen or without weights")
    return description.model_copy(update={"metrics": _try(model, description)}), weights


def _read(source: bytes | str | Path) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        return "the model file", source
    try:
        return str(source), Path(source).read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read model file {str(source)!r}: {error.strerror}") from error


def _try(model: KerasModel, description: ModelDescription) -> list[str]:
    """Measure the model on two records of zeros, and return the names of its metrics."""
    sparse = description.num_classes is not None
    labels = np.zeros((2, *(description.output_shape[:-1] if sparse else description.output_shape)))
    try:
        measured = evaluate_model(model, zero_records(description.takes, 2), labels)
    except ModelError:
        raise
    except Exception as error:  # whatever the owner's layers, loss and metrics raise on plain records
        raise ModelError(
            f"model {description.name!r} with loss {description.loss} fails on records of shape "
            f"{description.shape_text}: {_first_line(error)}"
        ) from error
    return sorted(measured.values.keys() - {"loss"})


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
