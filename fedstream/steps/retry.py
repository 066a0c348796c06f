"""Waiting for brokers that are away: one that restarts must not cost a client its round."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from fedstream.errors import BrokerAway
from fedstream.store.state import log

T = TypeVar("T")

AGAIN_S = 1.0
"""Seconds between two tries: the client library itself waits for ten."""


def patiently(deadline: float, call: Callable[[float], T]) -> T:
    """Call with the seconds that are left, again and again while no broker answers.

    Args:
        deadline: `time.monotonic()` after which the broker's absence is an error.
        call: what to do.

    Raises:
        BrokerAway: no broker has answered by the deadline.
    """
    while True:
        try:
            return call(max(1.0, deadline - time.monotonic()))
        except BrokerAway as error:
            if time.monotonic() + AGAIN_S >= deadline:
                raise
            log.warning("waiting for the broker: %s", error)
            time.sleep(AGAIN_S)
