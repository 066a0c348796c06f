"""Which offsets a client gets in a round."""

from fedstream.record.offsets import parse_ranges
from fedstream.record.run import MatchedClient
from fedstream.record.spec import RunSpec
from fedstream.stream.feed import Announced, feed_of

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
