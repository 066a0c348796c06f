"""Read objects for an audit, and collect what is wrong with them. Knows nothing of rounds and models."""

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
"""Maximum number of characters of a value in a problem."""


class Problem(BaseModel):
    """An object that does not match the ledger.

    Attributes:
        key: Key of the object.
        what: What is wrong with it.
    """

    key: str
    what: str


@dataclass(frozen=True)
class Link:
    """An object of the chain: the spec or a commit.

    Attributes:
        key: Key of the object.
        digest: SHA-256 of its bytes; None if it does not exist.
        parent: SHA-256 of the previous object according to this one; empty for the spec.
    """

    key: str
    digest: str | None
    parent: str = ""


class Evidence:
    """Read objects, hash each of them once, and collect problems.

    Args:
        store: The bucket.
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
        """Return an object's SHA-256; if it does not exist, report a problem and return None."""
        if key not in self._digests:
            try:
                self._digests[key] = self.store.digest(key)
            except ObjectNotFound:
                self._missing(key)
        return self._digests[key]

    def document(self, kind: type[Document], key: str) -> Document | None:
        """Read a document in canonical form; a document of an earlier version can lack fields that have a default."""
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
            self.problem(key, f"is not a valid {kind.__name__}: {_explain(error)}")
            return None
        try:
            canonical = canonical_json(json.loads(data))
        except (ValueError, RecursionError):
            canonical = b""
        if canonical != data:
            self.problem(key, "is not in canonical form: its bytes were changed")
        return document

    def weights(self, key: str) -> Weights:
        """Return weights whose digest has already been checked."""
        return from_bytes(self.store.get(key), key)

    def has_digest(self, key: str, digest: str | None) -> bool:
        """Check an object's digest, and return whether it is as expected."""
        found = self.digest(key)
        if found is not None:
            self.same(key, "digest", found, digest)
        return found == digest

    def same(self, key: str, name: str, found: object, expected: object) -> None:
        """Report a problem if a value in an object is not the expected one."""
        if found != expected:
            self.problem(key, f"{name} is {shortened(found)}, expected {shortened(expected)}")

    def problem(self, key: str, what: str) -> None:
        problem = Problem(key=key, what=what)
        if problem not in self.problems:
            self.problems.append(problem)

    def accused(self, *keys: str) -> bool:
        """Return whether there is a problem with any of these objects."""
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
    """Format a value in at most LONGEST characters."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
