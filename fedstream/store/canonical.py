"""One spelling for each JSON value, so that its bytes can be hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Return sorted keys, no spaces, UTF-8.

    Raises:
        ValueError: the value has NaN or infinity, which JSON cannot spell.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of bytes, in 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
