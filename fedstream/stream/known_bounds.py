"""What topics keep, asked for all topics of a run at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fedstream.errors import StreamError
from fedstream.stream.bounds import Bounds

FRESH_S = 1.0
"""Age up to which bounds count as current, in seconds. Retention removes records by the hour."""

TOPICS = 2_000
"""Maximum number of topics in one request."""


class KnownBounds:
    """The bounds of topics that are asked for in turn, again and again: those of a run's clients.

    A broker answers a request for many topics about as fast as one for a single topic, so the first question of a round
    is asked for all topics known from earlier ones.

    Args:
        fetch: Returns the bounds of topics.
        clock: Seconds that never decrease.
    """

    def __init__(
        self, fetch: Callable[[Sequence[str]], dict[str, Bounds]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch, self._clock = fetch, clock
        self._known: dict[str, Bounds] = {}
        self._at = -FRESH_S

    def of(self, topic: str) -> Bounds:
        """Return the bounds of a topic, at most FRESH_S old.

        Raises:
            StreamError: The topic does not exist, or the broker does not answer.
        """
        if topic in self._known and self._clock() - self._at <= FRESH_S:
            return self._known[topic]
        topics = sorted({*self._known, topic}) if len(self._known) < TOPICS else [topic]
        try:
            self._known = self._fetch(topics)
        except StreamError:  # perhaps because of another topic
            self._known = {}
            self._known = self._fetch([topic])
        self._at = self._clock()
        return self._known[topic]
