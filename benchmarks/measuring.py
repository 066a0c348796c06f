"""Seconds, processor seconds and memory of a piece of work. Needs nothing but Python, so that peers can use it too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 0.01


@dataclass(frozen=True)
class Measured:
    """What a piece of work took.

    Attributes:
        seconds: wall-clock time.
        cpu_seconds: of all threads.
        memory_kib: by how much the anonymous memory grew at most (RssAnon, which excludes mapped files).
    """

    seconds: float
    cpu_seconds: float
    memory_kib: int


def anonymous_kib() -> int:
    """Return this process' anonymous memory in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def measure(work: Callable[[], object]) -> Measured:
    """Return what a piece of work took. Its result is dropped before the function returns."""
    done, before, highest = threading.Event(), anonymous_kib(), 0

    def watch() -> None:
        nonlocal highest
        while not done.wait(SAMPLE_S):
            highest = max(highest, anonymous_kib() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        began, busy = time.perf_counter(), time.process_time()
        result = work()
        seconds, cpu = time.perf_counter() - began, time.process_time() - busy
        highest = max(highest, anonymous_kib() - before)
        del result
    finally:
        done.set()
        watcher.join()
    return Measured(seconds, cpu, highest)
