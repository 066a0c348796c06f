"""The .keras file as a zip archive: checks before Keras reads it, and one spelling of its bytes. Must not import TensorFlow."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from fedstream.errors import ModelError

CONFIG, METADATA = "config.json", "metadata.json"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip entry can have."""
ADVICE = "save a compiled model with `model.save('NAME.keras')`"


def check_archive(data: bytes, where: str) -> None:
    """Check what can be known about a .keras file without Keras.

    Args:
        data: the file's bytes.
        where: its name, for the message.

    Raises:
        ModelError: it is no .keras file, its model is not compiled, or it has a Lambda layer, which would run code of whoever wrote the file.
    """
    config = _config(data, where)
    for part in _objects(config):
        if part.get("class_name") == "Lambda" and "config" in part:
            name = part["config"].get("name", "?") if isinstance(part["config"], dict) else "?"
            raise ModelError(
                f"{where} has a Lambda layer ({name!r}), whose code would run at every client;"
                " use Keras' own layers, such as Rescaling, or `keras.ops` in a functional model"
            )
    if not isinstance(config.get("compile_config"), dict):
        raise ModelError(f"the model in {where} is not compiled, so it has no loss and no optimizer; call `model.compile(...)` before saving it")


def canonical_archive(data: bytes) -> bytes:
    """Rewrite a .keras file so that the same model is always the same bytes.

    Entries are sorted, stored uncompressed and without times; the date of saving is dropped; ids of shared objects, which are memory addresses,
    are counted from 0.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as archive:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == METADATA:
                content = _compact({key: value for key, value in json.loads(content).items() if key != "date_saved"})
            elif name == CONFIG:
                content = _compact(_renumber(json.loads(content)))
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)
    return target.getvalue()


def _config(data: bytes, where: str) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            config = json.loads(archive.read(CONFIG))
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{where} is not a .keras file ({error}); {ADVICE}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{where} is not a .keras file ({CONFIG} holds no object); {ADVICE}")
    return config


def _renumber(config: Any) -> Any:
    numbers: dict[int, int] = {}
    for part in _objects(config):
        if "shared_object_id" in part:
            if part.get("class_name") == "DTypePolicy":  # a value: a loaded model does not share it where the built one did
                del part["shared_object_id"]
                continue
            part["shared_object_id"] = numbers.setdefault(part["shared_object_id"], len(numbers))
    return config


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
