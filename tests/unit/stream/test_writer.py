from hypothesis import given
from hypothesis import strategies as st

from fedstream.stream.offsets import OffsetRange
from fedstream.stream.writer import _joined

places = st.sets(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 30)))


@given(places, st.randoms())
def test_offsets_join_to_the_fewest_ranges_that_hold_exactly_them(places: set[tuple[str, int, int]], random: object) -> None:
    ones = [OffsetRange(topic, partition, offset, offset + 1) for topic, partition, offset in places]
    random.shuffle(ones)  # type: ignore[attr-defined]
    joined = _joined([*_joined(ones[: len(ones) // 2]), *ones[len(ones) // 2 :]])
    assert {(r.topic, r.partition, offset) for r in joined for offset in range(r.start, r.end)} == places
    assert sum(r.records for r in joined) == len(places)
    assert joined == sorted(joined)
    assert not any((a.topic, a.partition, a.end) == (b.topic, b.partition, b.start) for a in joined for b in joined)
