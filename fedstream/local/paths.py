"""The folders of the embedded platform's data and downloads. Creates nothing."""

from __future__ import annotations

import os
from pathlib import Path


def default_state_dir() -> Path:
    """Return the folder of data, logs and process records.

    It is $FEDSTREAM_HOME, or else `fedstream` in the user's state folder.
    """
    home = os.environ.get("FEDSTREAM_HOME")
    if home:
        return Path(home).expanduser().absolute()
    return _user_folder("XDG_STATE_HOME", ".local/state")


def cache_dir() -> Path:
    """Return the folder of repeatable downloads: `fedstream` in the user's cache folder."""
    return _user_folder("XDG_CACHE_HOME", ".cache")


def _user_folder(variable: str, below_home: str) -> Path:
    base = os.environ.get(variable, "")
    # The XDG specification requires relative values to be ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / below_home) / "fedstream"
