"""The documents of a model in the store: what was added, and what was published. Each but the pointers is written once, as canonical JSON."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from fedstream.record.document import Count, Digest, Document

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"

LONGEST_FILE = 500
"""Characters of the name of a version's file: an object's key has 1,024 bytes at most, and the store fails at a longer one."""


class VersionManifest(Document):
    """versions/<n>/manifest.json: its existence is the version's existence.

    Attributes:
        model: name of the model.
        version: its number.
        run: where it comes from.
        round: whose global model it is.
        commit: SHA-256 of that round's commit.
        head: SHA-256 of the run's last commit.
        weights_digest: of the weights.
        metrics: what the model scored in the run.
        files: name -> SHA-256 of each file of the version.
        features: names of the columns, in the order in which the model takes them; empty where they have none.
        classes: names of the classes 0, 1, ...; likewise.
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
    """aliases/<alias>.json: number of the version a name stands for, and SHA-256 of its manifest. It moves, as latest.json does, and nothing else."""

    version: int = Field(ge=1, lt=10**9)
    manifest: Digest


class LatestVersion(VersionPointer):
    """latest.json: the newest version."""


class RemovedVersion(Document):
    """versions/<n>/removed.json: all that is left of a version that was removed, so that its number is never given again.

    Attributes:
        manifest: SHA-256 of the manifest it had.
    """

    manifest: Digest


class Addition(Document):
    """added/<n>.json: the n-th model that was added under a name.

    Attributes:
        digest: SHA-256 of its .keras file.
    """

    digest: Digest
