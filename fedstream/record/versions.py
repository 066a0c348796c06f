"""The documents of a model in the store: what was added, and what was published.

Each document except the pointers is written once, as canonical JSON.
"""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from fedstream.record.document import Count, Digest, Document

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"

LONGEST_FILE = 500
"""Maximum characters in the name of a version's file: object keys have at most 1,024 bytes, and longer keys fail."""


class VersionManifest(Document):
    """versions/<n>/manifest.json: a version exists if and only if its manifest exists.

    Attributes:
        model: name of the model.
        version: number of the version.
        run: run that made the model.
        round: round whose global model this is.
        commit: SHA-256 of that round's commit.
        head: SHA-256 of the run's last commit.
        weights_digest: digest of the weights.
        metrics: metrics of the model in the run.
        files: name -> SHA-256 of each file of the version.
        features: names of the columns, in the order in which the model takes them; empty if they have no names.
        classes: names of the classes 0, 1, ...; empty if they have no names.
    """

    model: str
    version: Count
    run: str
    round: Count
    commit: Digest
    head: Digest
    weights_digest: Digest
    metrics: dict[str, float]
    files: dict[str, Digest]
    features: list[str] = []
    classes: list[str] = []
    code_version: str

    @field_validator("files")
    @classmethod
    def _files_stay_inside(cls, files: dict[str, str]) -> dict[str, str]:
        if outside := [
            name for name in files if len(name) > LONGEST_FILE or not re.fullmatch(f"{_PART}(/{_PART})*", name)
        ]:
            raise ValueError(f"{outside[0][:100]!r} is no name of a version's file")
        return files


class VersionPointer(Document):
    """aliases/<alias>.json: the number of the version that an alias stands for, and the SHA-256 of its manifest.

    Of all documents, only aliases and latest.json can change.
    """

    version: int = Field(ge=1, lt=10**9)
    manifest: Digest


class LatestVersion(VersionPointer):
    """latest.json: the newest version."""


class RemovedVersion(Document):
    """versions/<n>/removed.json: all that remains of a removed version, so that its number is never reused.

    Attributes:
        manifest: SHA-256 of the manifest that the version had.
    """

    manifest: Digest


class Addition(Document):
    """added/<n>.json: the n-th model that was added under a name.

    Attributes:
        digest: SHA-256 of the model's .keras file.
    """

    digest: Digest
