"""One representation for each JSON value, so that its bytes can be hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Return a value as JSON with sorted keys and no spaces, encoded in UTF-8.

    Raises:
        ValueError: the value contains NaN or infinity, which JSON cannot represent.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def parse_json(data: bytes | str, depth: int) -> Any:
    """Parse JSON that another program wrote.

    Args:
        data: the text, or its UTF-8 encoding.
        depth: maximum nesting of lists and objects, since code that walks through the value recurses.

    Raises:
        ValueError: the data is not JSON, or is nested too deeply.
    """
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {depth} levels") from error
    level = [value]
    for _ in range(depth + 1):
        level = [
            item
            for part in level
            if isinstance(part, dict | list)
            for item in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            return value
    raise ValueError(f"it is nested deeper than {depth} levels")


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
