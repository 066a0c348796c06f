"""Which records of a stream come next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.errors import AnnouncementError
from fedstream.record.offsets import OffsetRange, format_ranges, parse_ranges, total_records
from fedstream.record.stream import Beginning, Stream, next_records, shares, why_not_next

STREAM = Stream(topics=["t"], beginnings=[Beginning(topic="t", partition=0, offset=5)])
ONLINE = STREAM.model_copy(update={"online": True})


def following(stream, used, offered, at_most=1_000):
    return format_ranges(next_records(stream, parse_ranges(used) if used else [], parse_ranges(offered), at_most))


def why_not(stream, used, given, at_least=1, at_most=1_000):
    return why_not_next(stream, parse_ranges(used) if used else [], parse_ranges(given), at_least, at_most)


def one_by_one(there, at_most):
    """Take a record of each partition in turn."""
    taken = [0] * len(there)
    while sum(taken) < min(at_most, sum(there)):
        for index in range(len(there)):
            if taken[index] < there[index] and sum(taken) < at_most:
                taken[index] += 1
    return taken


@given(st.lists(st.integers(0, 30), max_size=6), st.integers(1, 100))
def test_partitions_give_the_same_number_as_far_as_they_have_it(there, at_most):
    assert shares(there, at_most) == one_by_one(there, at_most)


def test_a_slice_begins_where_the_last_one_ended():
    assert following(STREAM, "", "t:0:5:9") == "t:0:5:9"
    assert following(STREAM, "t:0:5:9", "t:0:5:20", at_most=4) == "t:0:9:13"
    assert following(STREAM, "t:0:5:9,t:0:9:13", "t:0:5:13") == ""


def test_an_online_stream_begins_where_it_did_when_the_run_was_planned():
    assert following(ONLINE, "", "t:0:0:9") == "t:0:5:9"
    assert following(ONLINE, "", "t:1:0:3") == "t:1:0:3", "a partition that was added later"


def test_a_partition_that_was_not_announced_first_begins_with_its_announcement():
    assert following(STREAM, "", "t:0:5:7,t:1:50:60") == "t:0:5:7,t:1:50:60"
    assert why_not(STREAM, "", "t:1:50:60") == ""
    assert "next one of t:1 is 60" in why_not(STREAM, "t:1:50:60", "t:1:61:70")


def test_partitions_share_what_a_round_can_take():
    assert following(ONLINE, "", "t:0:5:100,t:1:0:3,t:2:0:50", at_most=20) == "t:0:5:14,t:1:0:3,t:2:0:8"


def test_records_that_are_left_out_are_named():
    with pytest.raises(AnnouncementError, match="records t:0:9 to 11 are not announced, but later ones are"):
        following(STREAM, "t:0:5:9", "t:0:5:9,t:0:12:20")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("t:0:11:20", r"its range t:0:11:20 skips records: the next one of t:0 is 9"),
        ("t:0:5:20", r"its range t:0:5:20 repeats records: the next one of t:0 is 9"),
        ("t:0:9:11", r"it has 2 records, but a round takes 3 to 20 new ones"),
        ("t:0:9:40", r"it has 31 records, but a round takes 3 to 20 new ones"),
        ("u:0:0:5", r"its range u:0:0:5 is not of the client's stream, t"),
        ("t:0:9:12,t:0:13:15", r"its range t:0:13:15 skips records: the next one of t:0 is 12"),
        ("t:0:9:12", ""),
    ],
)
def test_other_offsets_are_told_what_is_wrong(given, said):
    assert why_not(STREAM, "t:0:5:9", given, 3, 20) == said


def test_an_empty_range_is_no_slice():
    assert why_not_next(STREAM, [], [OffsetRange("t", 0, 5, 5)], 1, 9) == "its range t:0:5:5 is empty"


@st.composite
def grown(draw):
    """Return the numbers of records of two partitions after each of several rounds, and the most that a round takes."""
    steps = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8))
    return steps, draw(st.integers(1, 12))


@given(grown())
def test_every_record_is_given_once_and_judged_the_same(growth):
    steps, at_most = growth
    stream, used, ends = Stream(topics=["t"], online=True), [], [0, 0]
    for more in steps:
        ends = [end + new for end, new in zip(ends, more, strict=True)]
        given = next_records(stream, used, [OffsetRange("t", p, 0, end) for p, end in enumerate(ends) if end], at_most)
        if given:
            assert why_not_next(stream, used, given, 1, at_most) == ""
            assert why_not_next(stream, [*used, *given], given, 1, at_most) != "", "it would be learned twice"
        used += given
    offsets = [(r.partition, offset) for r in used for offset in range(r.start, r.end)]
    assert len(offsets) == len(set(offsets)) == total_records(used)
    assert all(offset < ends[partition] for partition, offset in offsets)
