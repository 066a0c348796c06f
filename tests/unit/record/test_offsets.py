import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.errors import AnnouncementError
from fedstream.record.offsets import OffsetRange, format_ranges, invalid_topic_name, parse_ranges, total_records, unite

topics = st.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True).filter(lambda name: name not in (".", ".."))


@st.composite
def range_lists(draw: st.DrawFn) -> list[OffsetRange]:
    """Ranges without overlap, in any order."""
    found = []
    for topic, partition in draw(st.sets(st.tuples(topics, st.integers(0, 50)), min_size=1, max_size=4)):
        at = draw(st.integers(0, 10**12))
        for gap, length in draw(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 10**6)), min_size=1, max_size=4)):
            found.append(OffsetRange(topic, partition, at + gap, at + gap + length))
            at = found[-1].end
    return draw(st.permutations(found))


def test_the_fourth_number_is_the_end() -> None:
    assert parse_ranges("mnist:0:100:160") == [OffsetRange("mnist", 0, 100, 160)]
    assert total_records(parse_ranges("mnist:0:100:160,mnist:1:0:40")) == 100


@given(range_lists())
def test_ranges_survive_text_and_come_back_in_canonical_order(ranges: list[OffsetRange]) -> None:
    assert parse_ranges(format_ranges(ranges)) == sorted(ranges)


@given(range_lists())
def test_a_range_announced_twice_is_refused(ranges: list[OffsetRange]) -> None:
    with pytest.raises(AnnouncementError, match="overlap"):
        parse_ranges(format_ranges([*ranges, ranges[0]]))


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused_with_the_name_of_the_field(text: str) -> None:
    try:
        ranges = parse_ranges(text)
    except AnnouncementError as error:
        message = str(error)
    else:
        message = f"topic: {ranges}"
        assert all(r.records > 0 for r in ranges)
    assert message.startswith("topic: ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a range"),
        ("mnist", "not a range"),
        ("mnist:0:5", "not a range"),
        ("mnist:0:5:6:7", "not a range"),
        ("mnist:0:-1:6", "not a range"),
        ("mnist:0:1.5:6", "not a range"),
        ("mnist:٣:1:6", "not a range"),
        ("mnist:0:1:6,", "not a range"),
        ("m n:0:1:6", "not a range"),
        (":0:1:6", "not a range"),
        ("mnist:0:5:5", "is empty"),
        ("mnist:0:6:5", "is empty"),
        ("mnist:0:0:10,mnist:0:9:20", "overlap"),
    ],
)
def test_malformed_ranges_are_refused(text: str, reason: str) -> None:
    with pytest.raises(AnnouncementError, match=reason):
        parse_ranges(text)


def test_neighbours_and_equal_offsets_of_other_partitions_do_not_overlap() -> None:
    assert len(parse_ranges("a:0:0:5,a:0:5:9,a:1:0:5,b:0:0:5")) == 4


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a:b", "ä", "x" * 250])
def test_names_that_kafka_refuses_are_no_topics(name: str) -> None:
    assert invalid_topic_name(name)


places = st.sets(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 30)))


@given(places, st.randoms())
def test_offsets_join_to_the_fewest_ranges_that_hold_exactly_them(
    places: set[tuple[str, int, int]], random: object
) -> None:
    ones = [OffsetRange(topic, partition, offset, offset + 1) for topic, partition, offset in places]
    random.shuffle(ones)  # type: ignore[attr-defined]
    joined = unite([*unite(ones[: len(ones) // 2]), *ones[len(ones) // 2 :]])
    assert {(r.topic, r.partition, offset) for r in joined for offset in range(r.start, r.end)} == places
    assert sum(r.records for r in joined) == len(places)
    assert joined == sorted(joined)
    assert not any((a.topic, a.partition, a.end) == (b.topic, b.partition, b.start) for a in joined for b in joined)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 30), st.integers(1, 9)), max_size=8))
def test_ranges_that_overlap_are_united_to_each_offset_once(parts: list[tuple[str, int, int, int]]) -> None:
    ranges = [OffsetRange(topic, partition, start, start + length) for topic, partition, start, length in parts]
    united = unite(ranges)
    offsets = [(r.topic, r.partition, offset) for r in united for offset in range(r.start, r.end)]
    assert offsets == sorted({(r.topic, r.partition, offset) for r in ranges for offset in range(r.start, r.end)})
    assert unite(united) == united
