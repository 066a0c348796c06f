"""Where the secret of the noise comes from: the environment, or a file that only its owner can read."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from fedstream.errors import PlatformError, SettingsError

VARIABLE, FILE_VARIABLE = "FEDSTREAM_NOISE_SECRET", "FEDSTREAM_NOISE_SECRET_FILE"

FILE = "noise-secret"
"""Name of the file that `secret_file` makes."""

HOW = "it must have 64 hexadecimal digits, as `openssl rand -hex 32` prints them"


def noise_secret(env: Mapping[str, str] | None = None) -> bytes | None:
    """Return the secret in FEDSTREAM_NOISE_SECRET, or in the file that FEDSTREAM_NOISE_SECRET_FILE names.

    A secret that a person made up could be guessed from the commitments on record, so it must be 32 random bytes.

    Returns:
        32 bytes; None if neither variable is set.

    Raises:
        SettingsError: the file cannot be read, or the secret has another form. The message never contains the secret.
    """
    env = os.environ if env is None else env
    where, text, path = VARIABLE, env.get(VARIABLE, ""), env.get(FILE_VARIABLE, "")
    if not text and not path:
        return None
    if not text:
        where = f"{FILE_VARIABLE} {path}"
        try:
            with open(path, "rb") as file:
                text = file.read(100).decode(errors="replace")
        except OSError as error:
            raise SettingsError(f"{FILE_VARIABLE} is {path!r}, which cannot be read ({error.strerror})") from error
    if not re.fullmatch("[0-9a-fA-F]{64}", text.strip()):
        raise SettingsError(f"{where} does not contain a secret for noise; {HOW}")
    return bytes.fromhex(text.strip())


def required_secret(found: bytes | None, where: str) -> bytes:
    """Return the secret of a private run.

    Args:
        found: the secret, or None.
        where: what needs it, such as `the noise of run 'first'`.

    Raises:
        SettingsError: there is none.
    """
    if found is None:
        raise SettingsError(
            f"{where} needs a secret: set {VARIABLE}, or {FILE_VARIABLE} to a file with it; {HOW}. "
            "In Kubernetes, put it in a secret (docs/privacy.md)"
        )
    return found


def secret_file(folder: Path) -> Path:
    """Return the file with the secret of a folder, after making both if there is none. Only its owner can read it.

    Raises:
        PlatformError: the file cannot be written.
    """
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
    except OSError as error:
        raise PlatformError(f"cannot write the secret of the noise, {path}: {error.strerror}") from error
    return path


def _make(path: Path) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secrets.token_hex(32)}\n")
    try:
        with suppress(FileExistsError):  # another process was first, and its secret counts
            os.link(temporary, path)
    finally:
        temporary.unlink()
