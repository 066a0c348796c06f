"""One request answers for all topics of a round."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fedstream.errors import TopicError
from fedstream.stream.bounds import Bounds
from fedstream.stream.known_bounds import FRESH_S, KnownBounds


class Cluster:
    """Topics, and the requests about them."""

    def __init__(self, *topics: str) -> None:
        self.topics: dict[str, Bounds] = {topic: {0: (0, 5)} for topic in topics}
        self.asked: list[list[str]] = []
        self.now = 0.0
        self.bounds = KnownBounds(self.fetch, lambda: self.now)

    def fetch(self, topics: Sequence[str]) -> dict[str, Bounds]:
        self.asked.append(list(topics))
        if missing := [topic for topic in topics if topic not in self.topics]:
            raise TopicError(f"there is no topic {missing[0]!r}")
        return {topic: dict(self.topics[topic]) for topic in topics}


def test_the_second_round_asks_once_for_all_topics() -> None:
    cluster = Cluster("a", "b", "c")
    for topic in "abc":
        cluster.bounds.of(topic)
    cluster.now, cluster.asked = FRESH_S + 0.1, []
    assert [cluster.bounds.of(topic) for topic in "abc"] == [{0: (0, 5)}] * 3
    assert cluster.asked == [["a", "b", "c"]]


def test_what_is_older_is_asked_for_again() -> None:
    cluster = Cluster("a")
    cluster.bounds.of("a")
    cluster.topics["a"] = {0: (3, 5)}
    cluster.now = FRESH_S
    assert cluster.bounds.of("a") == {0: (0, 5)}
    cluster.now = FRESH_S + 0.1
    assert cluster.bounds.of("a") == {0: (3, 5)}


def test_a_topic_that_is_gone_is_named_to_its_own_client_only() -> None:
    cluster = Cluster("a", "b")
    cluster.bounds.of("a")
    cluster.bounds.of("b")
    del cluster.topics["b"]
    cluster.now = FRESH_S + 0.1
    assert cluster.bounds.of("a") == {0: (0, 5)}
    with pytest.raises(TopicError, match="there is no topic 'b'"):
        cluster.bounds.of("b")
    assert cluster.bounds.of("a") == {0: (0, 5)}
