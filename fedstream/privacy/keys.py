"""The key of a round's noise: derived from a secret and from what the noise is added to.

Two results never share their noise: whoever saw both could subtract them, and the noise would be gone. So the key
depends on the digests of what goes in. The same input gives the same noise, so a step that is repeated gives the same
bytes, and repeating it tells nothing new.
"""

from __future__ import annotations

import hashlib
import hmac

PURPOSE = b"fedstream noise 1"


def noise_key(secret: bytes, run: str, round: int, client: str, *inputs: str) -> bytes:
    """Return the key of the noise of one round, 32 bytes.

    Args:
        secret: at least 32 random bytes.
        run: name of the run.
        round: number of the round.
        client: the client that adds the noise; empty for the server.
        inputs: digests of all that the noise is added to.
    """
    # No name or digest contains a zero byte, so different arguments never make the same message.
    message = b"\0".join([PURPOSE, *(part.encode() for part in (run, str(round), client, *inputs))])
    return hmac.digest(secret, message, hashlib.sha256)


def commitment(key: bytes) -> str:
    """Return what goes on record of a key: its SHA-256, with which its holder can prove later which one was used."""
    return hashlib.sha256(key).hexdigest()
