"""A live run that is killed between the slice and the commit learns no record twice, and leaves none out."""

import signal

import pytest
from support.live import announce, grow

from fedstream.audit import verify_run
from fedstream.stream.broker import KafkaBroker


@pytest.fixture
def broker(platform):
    broker = KafkaBroker(platform.kafka)
    yield broker
    broker.close()


@pytest.fixture
def live(topic, base_spec):
    feed = {"kind": "new", "at_least": 20, "at_most": 50, "timeout_s": 1}
    return {**base_spec, "clients": [topic], "feed": feed, "rounds": 4}


def ranges(commits):
    return [
        (r.start, r.end)
        for commit in commits
        if commit.kind == "training"
        for entry in commit.clients
        if entry.accepted
        for r in entry.ranges
    ]


def test_mistake_15_offsets_count_only_with_the_commit_that_used_them(place, zygote, live, topic, broker):
    announce(broker, topic)
    grow(broker, topic, 70)
    for point, what in (
        ("after", f"0001/slices/{topic}"),
        ("before", f"0001/updates/{topic}[.]json"),
        ("before", "0001/commit"),
        ("after", "0001/commit"),
        ("after", f"0002/slices/{topic}"),
    ):
        killed = zygote.run(place.env, live, point, what)
        assert killed == {"signal": signal.SIGKILL}, f"{point} {what}: {killed}: {zygote.tail()}"
        grow(broker, topic, 10)
    ended = zygote.run(place.env, live)
    assert ended == {"signal": 0, "version": 0}, zygote.tail()
    assert ranges(place.commits) == [(0, 50), (50, 100), (100, 120)]
    assert verify_run(place.store, "r").problems == []
