"""Read and check the published versions of a model. Must not import TensorFlow."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from fedstream.errors import CorruptObject, ModelError, ObjectNotFound, UsageError
from fedstream.record.canonical import sha256_hex
from fedstream.record.layout import ModelKeys
from fedstream.record.names import MODEL_NAME, check_name
from fedstream.record.reading import read_document
from fedstream.record.versions import VersionManifest, VersionPointer
from fedstream.store.loading import load_document
from fedstream.store.store import Store

MANIFEST = "manifest.json"

ALIAS = r"[A-Za-z][A-Za-z0-9._-]{0,62}"
"""An alias begins with a letter, so that it cannot be a number."""

Which = int | str | None
"""Which version of a model: a number, an alias, or None for the newest."""


@dataclass(frozen=True)
class Version:
    """A published version.

    Attributes:
        model: Name of the model.
        number: Number of the version: 1, 2, ...
        manifest: Lineage, metrics, and the SHA-256 of each file.
    """

    model: str
    number: int
    manifest: VersionManifest


def parse_version(text: str) -> tuple[str, Which]:
    """Split NAME, NAME@N or NAME@ALIAS into the name and the number or alias.

    Raises:
        UsageError: The text has none of these forms.
    """
    name, at, which = text.partition("@")
    check_name("model", name, MODEL_NAME)
    if re.fullmatch("[1-9][0-9]{0,8}", which):
        return name, int(which)
    if at and not re.fullmatch(ALIAS, which):
        raise UsageError(
            f"{text!r} is not a version; pass NAME, NAME@N with N = 1, 2, ..., or NAME@ALIAS, such as {name}@champion"
        )
    return name, which if at else None


def list_versions(store: Store, model: str) -> list[int]:
    """Return the numbers of a model's published versions, oldest first."""
    keys = ModelKeys(model)
    found = (keys.version_of(info.key) for info in store.list(keys.versions))
    return sorted(version[0] for version in found if version and version[1] == MANIFEST)


def find_version(store: Store, model: str, number: Which = None) -> Version:
    """Return a published version.

    Args:
        store: Store of the models.
        model: Name of the model.
        number: Number (1, 2, ...) or alias of the version; None for the newest.

    Raises:
        ModelError: The version does not exist; the message lists the existing ones.
        CorruptObject: The manifest cannot be read, lists no files, or is not the one that the alias was pointed at.
    """
    if isinstance(number, str):
        return _find_alias(store, model, number)
    numbers = list_versions(store, model)
    wanted = numbers[-1] if number is None and numbers else number
    if wanted not in numbers:
        known = (
            f"published versions: {', '.join(map(str, numbers))}"
            if numbers
            else "none is published yet; finish a run of this model first"
        )
        raise ModelError(f"model {model!r} has no version{'' if number is None else f' {number}'}; {known}")
    return _read(store, model, wanted)


def find_published(
    store: Store, model: str, run: str, digest: str, of: Literal["head", "commit"] = "head"
) -> Version | None:
    """Return the version that was published from a commit of a run; None if there is none.

    Unreadable manifests are ignored, so that a planted one cannot prevent others from publishing.

    Args:
        store: Store of the models.
        model: Name of the model.
        run: Name of the run.
        digest: SHA-256 of the commit.
        of: Whether it is the run's last commit at that time, or the commit of the published model.
    """
    for number in list_versions(store, model):
        with suppress(CorruptObject):
            version = _read(store, model, number)
            if (version.manifest.run, getattr(version.manifest, of)) == (run, digest):
                return version
    return None


def _read(store: Store, model: str, number: int) -> Version:
    key = ModelKeys(model).version(number, MANIFEST)
    return Version(model, number, load_document(VersionManifest, store, key))


def find_latest(store: Store, model: str) -> Version:
    """Return the version that latest.json points to, after checking the digest of its manifest.

    Raises:
        ModelError: No version is published yet.
        CorruptObject: latest.json or the manifest is damaged.
    """
    try:
        return _pointed_at(store, model, ModelKeys(model).latest)
    except ObjectNotFound as error:
        raise ModelError(f"model {model!r} has no published version yet; finish a run of this model first") from error


def list_aliases(store: Store, model: str) -> dict[str, int]:
    """Return alias -> number of the version that it points to; 0 if the alias is damaged."""
    prefix = ModelKeys(model).aliases
    names = [info.key.removeprefix(prefix).removesuffix(".json") for info in store.list(prefix)]
    found = {name: read_pointer(store, ModelKeys(model).alias(name))[0] for name in names if re.fullmatch(ALIAS, name)}
    return {name: pointer.version if pointer else 0 for name, pointer in found.items()}


def read_pointer(store: Store, key: str) -> tuple[VersionPointer | None, str | None]:
    """Return the content of latest.json or an alias, and the ETag with which to replace it.

    Returns:
        (pointer, ETag). The pointer is None if the object is absent or damaged, the ETag is None if it is absent.
    """
    try:
        data, etag = store.get_with_etag(key)
    except ObjectNotFound:
        return None, None
    try:
        return read_document(VersionPointer, data, key), etag
    except CorruptObject:
        return None, etag


def names_a_version(store: Store, keys: ModelKeys, pointer: VersionPointer) -> bool:
    """Return whether the manifest exists with this digest; anyone who can write to the bucket can point elsewhere."""
    try:
        store.get_verified(keys.version(pointer.version, MANIFEST), pointer.manifest)
    except (CorruptObject, ObjectNotFound):
        return False
    return True


def _find_alias(store: Store, model: str, alias: str) -> Version:
    try:
        return _pointed_at(store, model, ModelKeys(model).alias(alias))
    except ObjectNotFound as error:
        said = ", ".join(f"{name} is version {number}" for name, number in list_aliases(store, model).items())
        raise ModelError(
            f"model {model!r} has no version {alias!r}; {said or 'it has no alias'}; "
            f"add one with `fedstream model promote {model}@N {alias}`"
        ) from error


def _pointed_at(store: Store, model: str, key: str) -> Version:
    """Return the version that latest.json or an alias points to.

    Raises:
        ObjectNotFound: The object does not exist.
        CorruptObject: The object is damaged, or the manifest is not the one that it was pointed at.
    """
    pointer, etag = read_pointer(store, key)
    if pointer is None and etag is None:
        raise ObjectNotFound(f"there is no object {key!r}")
    if pointer is None:
        raise CorruptObject(f"{key} does not identify a version; it was changed after it was written")
    try:
        store.get_verified(ModelKeys(model).version(pointer.version, MANIFEST), pointer.manifest)
    except ObjectNotFound as error:
        raise CorruptObject(
            f"{key} points to version {pointer.version}, which is not in the bucket; it was removed, "
            f"or {key} was changed"
        ) from error
    return _read(store, model, pointer.version)


def read_version_file(store: Store, version: Version, name: str = "model.keras") -> bytes:
    """Return a file of a version, after checking it against the manifest.

    Raises:
        UsageError: The name cannot be that of a version's file.
        ModelError: The version has no such file.
        CorruptObject: The file's digest is not the one in the manifest.
    """
    files = version.manifest.files
    if (
        PurePosixPath(name).is_absolute()
        or ".." in PurePosixPath(name).parts
        or name != str(PurePosixPath(name))
        or not name.isprintable()
    ):
        raise UsageError(f"{name[:100]!r} is not a file of a version; `fedstream model show --json` lists the files")
    if name not in files:
        raise ModelError(
            f"version {version.number} of model {version.model!r} has no file {name!r}; "
            f"it has {', '.join(sorted(files))}"
        )
    key = ModelKeys(version.model).version(version.number, name)
    data = store.get(key)
    if sha256_hex(data) != files[name]:
        raise CorruptObject(
            f"{key} has SHA-256 {sha256_hex(data)}, but its manifest has {files[name]}; "
            "it was changed after it was published"
        )
    return data
