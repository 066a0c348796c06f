"""The .keras file as a zip archive: checks before Keras reads it, and a canonical form of its bytes.

A few MB can decompress to several GB, so the size is limited, and Keras gets the files as they were read here. This
module must not import TensorFlow.
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
"""Maximum decompressed size of a model file in bytes, which is a billion float32 weights."""
INFLATION = 100
"""Maximum compression ratio: weights hardly shrink, and text of the length of a configuration shrinks tenfold."""
SMALL_BYTES = 64 * 1024**2
"""Decompressed size in bytes below which any ratio is accepted, such as that of a model whose weights are all zero."""
ENTRIES = 1_000
"""Maximum number of files in the archive; Keras writes three, and one for each vocabulary."""
CONFIG_BYTES, CONFIG_DEPTH = 16 * 1024**2, 200
"""Maximum size of a configuration in bytes (a thousand layers need 1 MiB), and its maximum nesting depth.

A model within a model takes four levels.
"""
STEP_BYTES = 1024**2
"""Number of bytes decompressed at a time, because the sizes in the archive's directory can be wrong."""
DAMAGE = (zlib.error, struct.error, EOFError, OSError, ValueError, LookupError, ArithmeticError, RuntimeError)
"""Exceptions besides BadZipFile that Python's zipfile raises for a damaged file."""
ADVICE = "save a compiled model with `model.save('NAME.keras')`"


def check_archive(data: bytes, where: str) -> dict[str, bytes]:
    """Check a .keras file as far as possible without Keras, and return the files in it.

    Args:
        data: Bytes of the file.
        where: Name of the file, for error messages.

    Raises:
        ModelError: The data is not a .keras file or is too large, the model is not compiled, or it has a Lambda layer,
            which would run code of the file's author.
    """
    contents = read_archive(data, where)
    config = _config(contents, where)
    for part in walk(config):
        if part.get("class_name") == "Lambda" and "config" in part:
            name = part["config"].get("name", "?") if isinstance(part["config"], dict) else "?"
            raise ModelError(
                f"{where} has a Lambda layer ({name!r}), whose code would run at every client;"
                " use Keras' own layers, such as Rescaling, or `keras.ops` in a functional model"
            )
    if not isinstance(config.get("compile_config"), dict):
        raise ModelError(
            f"the model in {where} is not compiled, so it has no loss and no optimizer; "
            "call `model.compile(...)` before saving it"
        )
    return contents


def read_archive(data: bytes, where: str) -> dict[str, bytes]:
    """Return name -> content of the files in a .keras file, without decompressing more than the limit.

    Raises:
        ModelError: The data is not a .keras file, or exceeds the limit.
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
        ModelError: The files exceed the size limit of a model.
        ValueError: Keras does not use such a file name or compression method.
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
            f"{where} has {size:,} bytes and inflates to {total:,}, where a model of its size holds {limit:,} "
            f"at most; {ADVICE}"
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


def canonical_archive(data: bytes, more: Mapping[str, bytes] | None = None) -> bytes:
    """Rewrite a .keras file, with more entries, so that the same model is always the same bytes.

    Entries are sorted, and stored uncompressed and without times. The date of saving is dropped. The ids of shared
    objects, which are memory addresses, are renumbered from 0.
    """
    contents = read_archive(data, "the model")
    contents[CONFIG] = _compact(_renumber(json.loads(contents[CONFIG])))
    metadata = json.loads(contents[METADATA])
    contents[METADATA] = _compact({key: value for key, value in metadata.items() if key != "date_saved"})
    return write_archive(contents | dict(more or {}))


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
    for part in walk(config):
        if "shared_object_id" in part:
            if (
                part.get("class_name") == "DTypePolicy"
            ):  # a value: a loaded model does not share it where the built one did
                del part["shared_object_id"]
                continue
            part["shared_object_id"] = numbers.setdefault(part["shared_object_id"], len(numbers))
    return config


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects of a configuration."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from walk(item)


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
