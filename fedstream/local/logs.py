"""The log of the steps that run in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedstream.errors import UsageError


def check_log(path: Path) -> None:
    """Check that a log can be written, and create it.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise UsageError(
            f"cannot write the log {str(path)!r}: {error.strerror}; name another file with --log"
        ) from error


@contextmanager
def logged_to(path: Path | None) -> Iterator[None]:
    """Send the steps' log lines only to a file for as long as the context lasts; None to drop them."""
    logger = logging.getLogger("fedstream")
    before = logger.level, logger.propagate
    handler = logging.FileHandler(path, encoding="utf-8") if path else logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if path else logging.CRITICAL)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(before[0])
        logger.propagate = before[1]
