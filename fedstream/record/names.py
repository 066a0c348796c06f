"""Rules for the names of runs, models, clients, columns and classes. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from fedstream.errors import UsageError

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""Names of runs, models and clients: they become object keys, loop ids and file names."""

MODEL_NAME = f"(builtin:)?{NAME}"
"""Names of models, including the built-in models."""

TOPIC = r"[A-Za-z0-9._-]{1,249}"
"""Kafka's rule for topic names."""

NAME_RULE = "use letters, digits, '.', '_' and '-', at most 63"

MOST_NAMES = 1_000
"""Maximum number of named columns or classes; the run's record contains the names of all owners."""

LONGEST_NAME = 100
"""Maximum length of such a name, in characters."""


def invalid_names(names: Sequence[str]) -> str:
    """Return why columns or classes cannot have these names, or an empty string."""
    if len(names) > MOST_NAMES:
        return f"{len(names)} names are too many; at most {MOST_NAMES} are allowed"
    for name in names:
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            return f"{name[:LONGEST_NAME]!r} is not a valid name; use 1 to {LONGEST_NAME} printable characters"
    if len(set(names)) < len(names):
        return f"the name {Counter(names).most_common(1)[0][0]!r} is there twice"
    return ""


def check_name(what: str, name: str, pattern: str = NAME) -> str:
    """Return a name that a user typed, if it is valid, since it becomes part of object keys and file names.

    Raises:
        UsageError: the name is not valid.
    """
    if not re.fullmatch(pattern, name):
        raise UsageError(f"{what} {name[:100]!r} is not a valid name; {NAME_RULE}, beginning with a letter or digit")
    return name
