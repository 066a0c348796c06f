"""Wait for unavailable brokers, so that a client does not miss a round because its broker restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from fedstream.deadline import Deadline
from fedstream.errors import BrokerAway
from fedstream.store.state import log

T = TypeVar("T")

AGAIN_S = 1.0
"""Seconds between two attempts; the client library itself waits for ten."""


def patiently(deadline: Deadline, call: Callable[[float], T]) -> T:
    """Call a function with the seconds that remain, and repeat the call while no broker answers.

    Args:
        deadline: When an unavailable broker becomes an error.
        call: The function to call.

    Raises:
        BrokerAway: No broker answered before the deadline.
    """
    while True:
        try:
            return call(max(1.0, deadline.left_s))
        except BrokerAway as error:
            if deadline.left_s <= AGAIN_S:
                raise
            log.warning("waiting for the broker: %s", error)
            time.sleep(AGAIN_S)
