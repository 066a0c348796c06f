"""Deadline: a moment at which a wait or a computation ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A moment on a clock.

    Attributes:
        at: value of the clock at that moment, in seconds.
        clock: a clock that never goes backward.
    """

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """Return the deadline that many seconds from now."""
        return cls(clock() + seconds, clock)

    @property
    def left_s(self) -> float:
        """Seconds that remain; negative after the deadline."""
        return self.at - self.clock()

    @property
    def passed(self) -> bool:
        """Whether the deadline has been reached."""
        return self.left_s <= 0
