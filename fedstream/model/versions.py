"""Published versions of a model, read from the store and checked. Must not import TensorFlow."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from fedstream.errors import CorruptObject, ModelError, ObjectNotFound, UsageError
from fedstream.run import MODEL_NAME, check_name
from fedstream.store.canonical import sha256_hex
from fedstream.store.documents import LatestVersion
from fedstream.store.layout import ModelKeys
from fedstream.store.objects import ObjectStore
from fedstream.store.reading import DOCUMENT_BYTES, load_document

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Version:
    """A published version.

    Attributes:
        model: model name.
        number: 1, 2, ...
        manifest: its lineage, metrics, and the SHA-256 of each of its files.
    """

    model: str
    number: int
    manifest: dict[str, Any]


def parse_version(text: str) -> tuple[str, int | None]:
    """Split NAME or NAME@N into name and number.

    Raises:
        UsageError: it is neither.
    """
    name, at, number = text.partition("@")
    if at and not re.fullmatch("[1-9][0-9]{0,8}", number):
        raise UsageError(f"{text!r}: expected NAME or NAME@N with N = 1, 2, ...")
    return check_name("model", name, MODEL_NAME), int(number) if at else None


def list_versions(store: ObjectStore, model: str) -> list[int]:
    """Return the numbers of a model's published versions, oldest first."""
    keys = ModelKeys(model)
    found = (keys.version_of(info.key) for info in store.list(keys.versions))
    return sorted(version[0] for version in found if version and version[1] == MANIFEST)


def find_version(store: ObjectStore, model: str, number: int | None = None) -> Version:
    """Return one published version.

    Args:
        store: where models are.
        model: model name.
        number: 1, 2, ...; None for the newest.

    Raises:
        ModelError: it does not exist; names those that do.
        CorruptObject: its manifest cannot be read, or names no files.
    """
    numbers = list_versions(store, model)
    wanted = numbers[-1] if number is None and numbers else number
    if wanted not in numbers:
        known = f"published are {', '.join(map(str, numbers))}" if numbers else "none is published yet; finish a run of this model first"
        raise ModelError(f"model {model!r} has no version{'' if number is None else f' {number}'}; {known}")
    return _read(store, model, wanted)


def find_published(store: ObjectStore, model: str, run: str, head: str) -> Version | None:
    """Return the version that was published from a run's last commit, if there is one.

    Args:
        store: where models are.
        model: model name.
        run: name of the run.
        head: SHA-256 of the commit.

    Raises:
        CorruptObject: a manifest cannot be read, or names no files.
    """
    versions = (_read(store, model, number) for number in list_versions(store, model))
    return next((version for version in versions if (version.manifest.get("run"), version.manifest.get("head")) == (run, head)), None)


def _read(store: ObjectStore, model: str, number: int) -> Version:
    key = ModelKeys(model).version(number, MANIFEST)
    return Version(model, number, _manifest(store.get(key, DOCUMENT_BYTES), key))


def _manifest(data: bytes, key: str) -> dict[str, Any]:
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptObject(f"{key} is not JSON ({error}); it was changed after it was written") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise CorruptObject(f"{key} is no manifest: it names no files")
    return manifest


def find_latest(store: ObjectStore, model: str) -> Version:
    """Return the version that latest.json names, after checking its manifest's digest.

    Raises:
        ModelError: none is published yet.
        CorruptObject: latest.json or the manifest is damaged.
    """
    keys = ModelKeys(model)
    try:
        latest = load_document(LatestVersion, store, keys.latest)
    except ObjectNotFound as error:
        raise ModelError(f"model {model!r} has no published version yet; finish a run of this model first") from error
    key = keys.version(latest.version, MANIFEST)
    return Version(model, latest.version, _manifest(store.get_verified(key, latest.manifest), key))


def read_version_file(store: ObjectStore, version: Version, name: str = "model.keras") -> bytes:
    """Return a file of a version, after checking it against the manifest.

    Raises:
        UsageError: no file of a version can have this name.
        ModelError: the version has no such file.
        CorruptObject: the file's digest is not the one in the manifest.
    """
    files = version.manifest["files"]
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or name != str(PurePosixPath(name)) or not name.isprintable():
        raise UsageError(f"{name[:100]!r} is no file of a version; `fedstream model show --json` lists them")
    if name not in files:
        raise ModelError(f"version {version.number} of model {version.model!r} has no file {name!r}; it has {', '.join(sorted(files))}")
    key = ModelKeys(version.model).version(version.number, name)
    data = store.get(key)
    if sha256_hex(data) != files[name]:
        raise CorruptObject(f"{key} has SHA-256 {sha256_hex(data)}, its manifest says {files[name]}; it was changed after it was published")
    return data
