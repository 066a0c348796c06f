"""Aliases such as `champion`, which point to a version of a model and can be moved. Must not import TensorFlow."""

from __future__ import annotations

import re

from fedstream.catalog.versions import ALIAS, MANIFEST, Version, find_version, read_pointer
from fedstream.errors import StoreError, UsageError
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.layout import ModelKeys
from fedstream.record.versions import VersionPointer
from fedstream.store.store import Store

MAX_TRIES = 20
"""Number of attempts to move an alias that other processes move at the same time."""


def promote(store: Store, version: Version, alias: str) -> int | None:
    """Point an alias at a version.

    Args:
        store: Store of the models.
        version: Version as returned by `find_version`.
        alias: Name that begins with a letter.

    Returns:
        Number of the version that the alias pointed to before; None if there was none.

    Raises:
        UsageError: The alias is invalid.
        StoreError: Other processes move the alias at the same time.
    """
    if not re.fullmatch(ALIAS, alias):
        raise UsageError(
            f"{alias!r} is not a valid alias; use at most 63 letters, digits, '.', '_' and '-', and begin with a letter"
        )
    keys = ModelKeys(version.model)
    digest = sha256_hex(store.get(keys.version(version.number, MANIFEST)))
    data = canonical_json(VersionPointer(version=version.number, manifest=digest).model_dump(mode="json"))
    for _ in range(MAX_TRIES):
        before, etag = read_pointer(store, keys.alias(alias))
        if store.put_if_match(keys.alias(alias), data, etag):
            return before.version if before else None
    raise StoreError(
        f"{keys.alias(alias)} is changed by too many processes at the same time; promote the version again"
    )


def demote(store: Store, model: str, alias: str) -> int:
    """Remove an alias, and return the number of the version that it pointed to.

    Raises:
        ModelError: The model has no such alias.
    """
    version = find_version(store, model, alias)
    store.remove(ModelKeys(model).alias(alias))
    return version.number
