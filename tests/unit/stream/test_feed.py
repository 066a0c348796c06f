"""Which offsets a client gets in a round."""

import pytest

from fedstream.errors import RecordError
from fedstream.record.offsets import parse_ranges
from fedstream.record.run import MatchedClient
from fedstream.record.spec import RunSpec
from fedstream.record.stream import Stream
from fedstream.stream.feed import Announced, Latest, New, feed_of

CLIENT = MatchedClient(
    client="a", bootstrap_servers="", ranges="a:0:0:9,a:1:5:7", input_config={}, held_out_rate=0.1, records=11
)


def never():
    raise AssertionError("announced ranges do not depend on the ledger")


def test_a_run_gives_all_that_is_announced_in_every_round():
    feed = feed_of(RunSpec(run="r", model="m"))
    assert isinstance(feed, Announced)
    assert feed.ranges(CLIENT, 1, never, never) == feed.ranges(CLIENT, 7, never, never) == parse_ranges(CLIENT.ranges)


def test_a_slice_of_other_offsets_is_told_what_was_expected():
    assert Announced().why_not(parse_ranges("a:0:0:9,a:1:5:7"), CLIENT, 1, never) == ""
    assert (
        Announced().why_not(parse_ranges("a:0:0:9"), CLIENT, 1, never)
        == "ranges is 'a:0:0:9', expected 'a:0:0:9,a:1:5:7'"
    )
    assert Announced().why_not([], CLIENT, 1, never).startswith("ranges is '', expected")


ONLINE = CLIENT.model_copy(update={"ranges": "a", "records": 0, "stream": Stream(topics=["a"], online=True)})


def used(*texts):
    return lambda: [parse_ranges(text) for text in texts]


def test_a_live_run_gives_what_is_new_and_measures_on_what_it_gave_last():
    spec = RunSpec(run="r", model="m", feed={"kind": "new", "at_least": 5, "at_most": 20})
    assert feed_of(spec) == New(5, 20)
    assert isinstance(feed_of(spec, "closing"), Latest)


def test_what_is_new_is_waited_for_until_it_is_enough():
    feed = New(5, 20)
    assert feed.ranges(ONLINE, 2, used("a:0:0:9"), lambda: parse_ranges("a:0:0:13")) == []
    assert feed.ranges(ONLINE, 2, used("a:0:0:9"), lambda: parse_ranges("a:0:0:14")) == parse_ranges("a:0:9:14")
    assert feed.why_not(parse_ranges("a:0:9:14"), ONLINE, 2, used("a:0:0:9")) == ""
    assert "repeats records" in feed.why_not(parse_ranges("a:0:9:14"), ONLINE, 3, used("a:0:0:9", "a:0:9:14"))


def test_a_model_is_measured_on_the_records_of_the_last_update_that_counts():
    assert Latest().ranges(ONLINE, 3, used("a:0:0:9", "a:0:9:14"), never) == parse_ranges("a:0:9:14")
    assert Latest().why_not(parse_ranges("a:0:0:9"), ONLINE, 3, used("a:0:0:9", "a:0:9:14")) != ""
    with pytest.raises(RecordError, match="client 'a' has no update that counts"):
        Latest().ranges(ONLINE, 1, used(), never)
    assert "no update that counts" in Latest().why_not([], ONLINE, 1, used())
