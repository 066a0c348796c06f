"""Bound how much of mapped files stays in the memory of this process.

The pages of a mapped file are read when they are used, and stay until the memory is short. A round that reads 20
updates of 400 MB would thus appear to need 8 GB, and a pod whose memory is full of such pages can be evicted.
"""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path

LARGEST_BYTES = 256 << 20
"""Bytes of mapped files above which their pages are given back. They stay in the page cache of the machine."""

EVERY_S = 0.02
"""Seconds between two looks. A core reads about 100 MB from the page cache in this time."""

STATM = Path("/proc/self/statm")
"""Linux: the sizes of this process in pages; the third one is what is resident of files."""


class Resident:
    """Gives back the pages of watched mappings in a thread of its own, which runs while there is one.

    The pages that are in use are read again from the page cache, so nothing changes for whoever reads them. Elsewhere
    than on Linux, the pages stay.
    """

    def __init__(self) -> None:
        self._mappings: list[mmap.mmap] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, mapping: mmap.mmap) -> None:
        """Watch a mapping of a file that is only read."""
        self._mappings.append(mapping)
        if self._thread is None and STATM.exists():
            self._thread = threading.Thread(target=self._run, name="fedstream-resident", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Stop the thread, and let the mappings go."""
        self._ended.set()
        if self._thread:
            self._thread.join()
        self._mappings.clear()

    def _run(self) -> None:
        while not self._ended.wait(EVERY_S):
            if _resident_bytes() > LARGEST_BYTES:
                for mapping in list(self._mappings):
                    mapping.madvise(mmap.MADV_DONTNEED)


def _resident_bytes() -> int:
    return int(STATM.read_text(encoding="ascii").split()[2]) * os.sysconf("SC_PAGE_SIZE")
