"""Names that stand for a version of a model, such as champion, and move from one to another. Must not import TensorFlow."""

from __future__ import annotations

import re

from fedstream.catalog.versions import ALIAS, MANIFEST, Version, find_version, read_pointer
from fedstream.errors import StoreError, UsageError
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.layout import ModelKeys
from fedstream.record.versions import VersionPointer
from fedstream.store.store import Store

MAX_TRIES = 20
"""Times an alias is moved while others move it."""


def promote(store: Store, version: Version, alias: str) -> int | None:
    """Let an alias stand for a version, and return the number of the one it stood for before.

    Args:
        store: where models are.
        version: of a model, as `find_version` returns it.
        alias: begins with a letter.

    Raises:
        UsageError: it cannot be an alias.
        StoreError: others move it faster than this.
    """
    if not re.fullmatch(ALIAS, alias):
        raise UsageError(f"{alias!r} cannot be an alias: use letters, digits, '.', '_' and '-', begin with a letter, at most 63")
    keys = ModelKeys(version.model)
    digest = sha256_hex(store.get(keys.version(version.number, MANIFEST)))
    data = canonical_json(VersionPointer(version=version.number, manifest=digest).model_dump(mode="json"))
    for _ in range(MAX_TRIES):
        before, etag = read_pointer(store, keys.alias(alias))
        if store.put_if_match(keys.alias(alias), data, etag):
            return before.version if before else None
    raise StoreError(f"{keys.alias(alias)} changes faster than it can be moved; promote again")


def demote(store: Store, model: str, alias: str) -> int:
    """Take an alias away, and return the number of the version that it stood for.

    Raises:
        ModelError: the model has no such alias.
    """
    version = find_version(store, model, alias)
    store.remove(ModelKeys(model).alias(alias))
    return version.number
