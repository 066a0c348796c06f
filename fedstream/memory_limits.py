"""How many of a client's records a step holds in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from fedstream.errors import SettingsError

SLICE_GIB = 4
"""Default of FEDSTREAM_SLICE_GIB: GiB of records that a step holds in memory.

Decoded records can take the same amount again, in addition to TensorFlow and the model. A client's slice that is larger
is streamed; an evaluation topic that is larger is refused.
"""


def slice_bytes(env: Mapping[str, str] | None = None) -> int:
    """Return the limit, in bytes, on a client's records that a step holds in memory: FEDSTREAM_SLICE_GIB.

    Raises:
        SettingsError: The variable is not a whole number of GiB from 1 to 4096.
    """
    value = (os.environ if env is None else env).get("FEDSTREAM_SLICE_GIB") or str(SLICE_GIB)
    if not re.fullmatch("[0-9]{1,4}", value) or not 1 <= int(value) <= 4096:
        raise SettingsError(f"FEDSTREAM_SLICE_GIB is {value!r}; set it to a whole number of GiB from 1 to 4096")
    return int(value) * 1024**3


CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container's memory limit is, in versions 2 and 1 of cgroups."""

HELD_FRACTION = 8
"""A slice larger than this part of the memory is streamed. In memory, training takes up to four times its size."""


def memory_bytes(limits: Sequence[str] = CGROUP_LIMITS) -> int:
    """Return how much memory this process can use, in bytes: that of the machine, or the limit of its container.

    Args:
        limits: Files that can contain a limit.
    """
    return _memory_bytes(tuple(limits))


@cache
def _memory_bytes(limits: tuple[str, ...]) -> int:
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in limits:
        with suppress(OSError, ValueError):  # `max` stands for no limit
            found.append(int(Path(file).read_text(encoding="ascii")))
    return min(found)


def held_bytes(stream_above_mib: int = 0, env: Mapping[str, str] | None = None) -> int:
    """Return the size in bytes from which on a client's records are streamed instead of held in memory.

    Args:
        stream_above_mib: The run's own limit in MiB; 0 for an eighth of the memory.
        env: Environment variables that can lower the limit: FEDSTREAM_SLICE_GIB.

    Raises:
        SettingsError: FEDSTREAM_SLICE_GIB is invalid.
    """
    return min(slice_bytes(env), stream_above_mib * 1024**2 or memory_bytes() // HELD_FRACTION)
