"""The .keras file as a zip archive: checks before Keras reads it, and one spelling of its bytes. Must not import TensorFlow.

A few MB may inflate to some GB, so what is read is bounded, and Keras gets the files as they were read here.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from fedstream.errors import ModelError
from fedstream.record.canonical import parse_json

CONFIG, METADATA = "config.json", "metadata.json"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip entry can have."""
MODEL_BYTES = 4 * 1024**3
"""Bytes of a model file's content: a billion float32 weights, more than a round trip through an object store is meant for."""
INFLATION = 100
"""Times a file's content may exceed the file: weights hardly shrink, and a text as long as a configuration shrinks tenfold."""
SMALL_BYTES = 64 * 1024**2
"""Bytes of content that no ratio is asked of: those of an untrained model whose weights are all zero."""
ENTRIES = 1_000
"""Files in the archive: Keras writes three, and one for each vocabulary."""
CONFIG_BYTES, CONFIG_DEPTH = 16 * 1024**2, 200
"""Bytes of a configuration (a thousand layers need one MiB), and levels of nesting (a model within a model takes four)."""
STEP_BYTES = 1024**2
"""Bytes inflated at a time: the sizes in the archive's directory may lie."""
DAMAGE = (zlib.error, struct.error, EOFError, OSError, ValueError, LookupError, ArithmeticError, RuntimeError)
"""What Python's zipfile raises of a damaged file besides its own BadZipFile."""
ADVICE = "save a compiled model with `model.save('NAME.keras')`"


def check_archive(data: bytes, where: str) -> dict[str, bytes]:
    """Check what can be known about a .keras file without Keras, and return the files in it.

    Args:
        data: the file's bytes.
        where: its name, for the message.

    Raises:
        ModelError: it is no .keras file, or is larger than a model may be; its model is not compiled, or it has a Lambda layer, which would run code
            of whoever wrote the file.
    """
    contents = read_archive(data, where)
    config = _config(contents, where)
    for part in _objects(config):
        if part.get("class_name") == "Lambda" and "config" in part:
            name = part["config"].get("name", "?") if isinstance(part["config"], dict) else "?"
            raise ModelError(
                f"{where} has a Lambda layer ({name!r}), whose code would run at every client;"
                " use Keras' own layers, such as Rescaling, or `keras.ops` in a functional model"
            )
    if not isinstance(config.get("compile_config"), dict):
        raise ModelError(
            f"the model in {where} is not compiled, so it has no loss and no optimizer; call `model.compile(...)` before saving it"
        )
    return contents


def read_archive(data: bytes, where: str) -> dict[str, bytes]:
    """Return name -> content of the files in a .keras file, inflating no more than a model may hold.

    Raises:
        ModelError: it is no .keras file, or holds more.
    """
    if data.count(b"PK\1\2") > ENTRIES:  # the mark of an entry in the directory, which is not read before
        raise ModelError(f"{where} is not a .keras file (it holds more than {ENTRIES} files); {ADVICE}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_directory(archive.infolist(), len(data), where)
            return {entry.filename: _inflate(archive, entry) for entry in archive.infolist()}
    except (*DAMAGE, zipfile.BadZipFile) as error:
        raise ModelError(f"{where} is not a .keras file ({str(error) or type(error).__name__}); {ADVICE}") from error


def _check_directory(entries: list[zipfile.ZipInfo], size: int, where: str) -> None:
    """Check what the archive says about its files.

    Raises:
        ModelError: they hold more than a model may.
        ValueError: a name, or the way a file is packed, is none that Keras uses.
    """
    names = [entry.filename for entry in entries]
    if odd := [
        name
        for name in names
        if name.startswith("/") or "\\" in name or ".." in name.split("/") or names.count(name) > 1
    ]:
        raise ValueError(f"it holds a file {odd[0][:100]!r}, which leads out of the archive or is there twice")
    if packed := [
        entry.filename for entry in entries if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    ]:
        raise ValueError(f"its file {packed[0][:100]!r} is neither stored nor deflated")
    total = sum(entry.file_size for entry in entries)
    if total > (limit := min(MODEL_BYTES, max(SMALL_BYTES, INFLATION * size))):
        raise ModelError(
            f"{where} has {size:,} bytes and inflates to {total:,}, where a model of its size holds {limit:,} at most; {ADVICE}"
        )


def _inflate(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return one file's content, of which no more than the directory says is inflated."""
    with archive.open(entry) as file:
        parts = []
        while part := file.read(STEP_BYTES):
            parts.append(part)
    return b"".join(parts)


def write_archive(contents: Mapping[str, bytes]) -> bytes:
    """Return the archive of these files: sorted, stored uncompressed and without times."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(contents):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), contents[name])
    return target.getvalue()


def canonical_archive(data: bytes) -> bytes:
    """Rewrite a .keras file so that the same model is always the same bytes.

    Entries are sorted, stored uncompressed and without times; the date of saving is dropped; ids of shared objects, which are memory addresses,
    are counted from 0.
    """
    contents = read_archive(data, "the model")
    contents[CONFIG] = _compact(_renumber(json.loads(contents[CONFIG])))
    metadata = json.loads(contents[METADATA])
    contents[METADATA] = _compact({key: value for key, value in metadata.items() if key != "date_saved"})
    return write_archive(contents)


def _config(contents: Mapping[str, bytes], where: str) -> dict[str, Any]:
    try:
        if len(contents[CONFIG]) > CONFIG_BYTES:
            raise ValueError(f"{CONFIG} has more than {CONFIG_BYTES:,} bytes")
        config = parse_json(contents[CONFIG], CONFIG_DEPTH)
    except KeyError as error:
        raise ModelError(f"{where} is not a .keras file (it holds no {CONFIG}); {ADVICE}") from error
    except ValueError as error:
        raise ModelError(f"{where} is not a .keras file ({CONFIG}: {error}); {ADVICE}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{where} is not a .keras file ({CONFIG} holds no object); {ADVICE}")
    return config


def _renumber(config: Any) -> Any:
    numbers: dict[int, int] = {}
    for part in _objects(config):
        if "shared_object_id" in part:
            if (
                part.get("class_name") == "DTypePolicy"
            ):  # a value: a loaded model does not share it where the built one did
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
