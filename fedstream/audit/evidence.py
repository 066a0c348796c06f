"""Objects read for an audit, and what is wrong with them. Knows no rounds and no models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from fedstream.errors import CorruptObject, ObjectNotFound
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.reading import DOCUMENT_BYTES
from fedstream.record.weights import Weights, from_bytes
from fedstream.store.store import Store

Document = TypeVar("Document", bound=BaseModel)

LONGEST = 100
"""Characters of a value that a problem shows."""


class Problem(BaseModel):
    """An object that does not agree with the ledger.

    Attributes:
        key: the object.
        what: what is wrong with it.
    """

    key: str
    what: str


@dataclass(frozen=True)
class Link:
    """An object of the chain: the spec, or a commit.

    Attributes:
        key: the object.
        digest: SHA-256 of its bytes.
        parent: what it says that of the one before is; empty for the spec.
    """

    key: str
    digest: str | None
    parent: str = ""


class Evidence:
    """Reads objects, each once for its digest, and collects problems.

    Args:
        store: the bucket.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.problems: list[Problem] = []
        self._digests: dict[str, str | None] = {}

    @property
    def checked(self) -> int:
        """Number of objects whose bytes were hashed."""
        return len(self._digests)

    def digest(self, key: str) -> str | None:
        """Return an object's SHA-256; None, and a problem, if it is not there."""
        if key not in self._digests:
            try:
                self._digests[key] = self.store.digest(key)
            except ObjectNotFound:
                self._missing(key)
        return self._digests[key]

    def document(self, kind: type[Document], key: str) -> Document | None:
        """Read a document, which must be in its canonical form; one of an earlier version may lack fields that have a default now."""
        try:
            data = self.store.get(key, DOCUMENT_BYTES)
        except ObjectNotFound:
            self._missing(key)
            return None
        except CorruptObject as error:
            self.problem(key, str(error))
            return None
        self._digests[key] = sha256_hex(data)
        try:
            document = kind.model_validate_json(data)
        except ValidationError as error:
            self.problem(key, f"is no {kind.__name__}: {_explain(error)}")
            return None
        try:
            canonical = canonical_json(json.loads(data))
        except (ValueError, RecursionError):
            canonical = b""
        if canonical != data:
            self.problem(key, "is not in canonical form: its bytes were changed")
        return document

    def weights(self, key: str) -> Weights:
        """Return weights whose digest has been checked before."""
        return from_bytes(self.store.get(key), key)

    def has_digest(self, key: str, digest: str | None) -> bool:
        """Check an object's digest, and tell whether it is as expected."""
        found = self.digest(key)
        if found is not None:
            self.same(key, "digest", found, digest)
        return found == digest

    def same(self, key: str, name: str, found: object, expected: object) -> None:
        """Make it a problem of an object if what it says is not what is expected."""
        if found != expected:
            self.problem(key, f"{name} is {shortened(found)}, expected {shortened(expected)}")

    def problem(self, key: str, what: str) -> None:
        problem = Problem(key=key, what=what)
        if problem not in self.problems:
            self.problems.append(problem)

    def accused(self, *keys: str) -> bool:
        """Tell whether there is a problem with one of some objects."""
        return any(problem.key in keys for problem in self.problems)

    def _missing(self, key: str) -> None:
        self.problem(key, "is missing")
        self._digests[key] = None


def _explain(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"]))
    what = problem["msg"].removeprefix("Value error, ")
    return f"{shortened(where)}: {what}" if where else what


def shortened(value: object) -> str:
    """Write a value in at most LONGEST characters."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
