"""Which of a client's announcements count: the newest, what it adds to, or all; never what is withdrawn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.stream import offers
from fedstream.stream.announcement import DataAnnouncement
from fedstream.stream.offers import gather

CONFIG = {"data_type": "float32", "data_reshape": "2", "label_type": "uint8", "label_reshape": "1"}


def said(topic: str, **fields: object) -> DataAnnouncement:
    return DataAnnouncement.model_validate(
        {"topic": topic, "input_format": "RAW", "input_config": CONFIG, "client": "a", **fields}
    )


def states(*announcements: DataAnnouncement, **options: object) -> list[str]:
    return [fate.state for fate in gather(announcements, **options).fates]


def ranges(*announcements: DataAnnouncement, **options: object) -> str:
    return ",".join(map(str, gather(announcements, **options).ranges))


def test_nothing_is_offered_where_nothing_was_announced() -> None:
    assert gather([]).newest is None


def test_the_newest_supersedes_and_with_all_every_one_counts() -> None:
    first, second = said("t:0:0:5"), said("u:0:0:5", validation_rate=0.3)
    assert states(first, second) == ["superseded", "counts"]
    assert ranges(first, second) == "u:0:0:5"
    assert states(first, second, slices="all") == ["counts", "counts"]
    assert ranges(first, second, slices="all") == "t:0:0:5,u:0:0:5"
    assert gather([first, second], "all").newest is second


def test_one_that_appends_adds_to_those_before_up_to_one_that_does_not() -> None:
    announcements = said("t:0:0:5"), said("t:0:5:9"), said("t:0:9:12", append=True), said("t:0:20:22", append=True)
    assert states(*announcements) == ["superseded", "counts", "counts", "counts"]
    assert ranges(*announcements) == "t:0:5:12,t:0:20:22"
    assert ranges(*announcements, said("v:0:0:1")) == "v:0:0:1"


def test_the_same_offsets_announced_twice_count_once() -> None:
    first, second = said("t:0:0:8"), said("t:0:5:12")
    assert ranges(first, second, slices="all") == "t:0:0:12"
    fate = gather([first, first], "all").fates[0]
    assert (fate.state, fate.reason) == ("superseded", "a newer announcement of this client says the same")


def test_a_withdrawal_takes_back_what_came_before_of_its_topic_and_nothing_after() -> None:
    gone = said("t", withdrawn=True)
    announcements = said("t:0:0:5"), said("u:0:0:5"), gone, said("t:0:5:9")
    assert states(*announcements, slices="all") == ["withdrawn", "counts", "withdrawal", "counts"]
    assert states(said("t:0:0:5"), gone) == ["withdrawn", "withdrawal"]
    assert gather([said("t:0:0:5"), gone]).newest is None


def test_an_older_one_counts_again_when_the_newer_one_is_withdrawn() -> None:
    assert states(said("t:0:0:5"), said("u:0:0:5"), said("u", withdrawn=True)) == ["counts", "withdrawn", "withdrawal"]


def test_no_other_client_withdraws_it() -> None:
    assert states(said("t:0:0:5"), said("t", client="b", withdrawn=True)) == ["counts", "withdrawal"]


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("input_config", CONFIG | {"data_type": "float64"}, "shape or type"),
        ("features", ["y", "x"], "order of columns"),
        ("classes", ["no", "yes"], "list of classes"),
    ],
)
def test_what_is_unlike_the_newer_one_is_left_out_with_the_difference(field: str, value: object, what: str) -> None:
    newer = said("t:0:5:9", append=True, features=["x", "y"], classes=["yes", "no"])
    older = said("t:0:0:5", features=["x", "y"], classes=["yes", "no"]).model_copy(update={field: value})
    found = gather([older, newer])
    assert [fate.state for fate in found.fates] == ["left out", "counts"]
    assert f"its {what} is not that of this client's newer announcement" in found.fates[0].reason
    assert ranges(older, newer) == "t:0:5:9"


def test_an_offer_has_no_more_ranges_than_a_run_can_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "MOST_RANGES", 3)
    found = gather([said("t:0:0:1"), said("t:0:2:3,t:0:4:5"), said("t:0:6:7")], "all")
    assert [fate.state for fate in found.fates] == ["left out", "counts", "counts"]
    assert "(3)" in found.fates[0].reason


messages = st.builds(
    lambda start, length, append, withdrawn: (
        said("t", withdrawn=True) if withdrawn else said(f"t:0:{start}:{start + length}", append=append)
    ),
    st.integers(0, 30),
    st.integers(1, 9),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(messages, max_size=8), st.sampled_from(["newest", "all"]))
def test_an_offer_holds_just_the_records_of_those_that_count(
    announcements: list[DataAnnouncement], slices: str
) -> None:
    found = gather(announcements, slices)  # type: ignore[arg-type]
    counted = [own for own, fate in zip(announcements, found.fates, strict=True) if fate.state == "counts"]
    offsets = {(r.partition, offset) for own in counted for r in own.ranges for offset in range(r.start, r.end)}
    assert {(r.partition, offset) for r in found.ranges for offset in range(r.start, r.end)} == offsets
    assert sum(r.records for r in found.ranges) == len(offsets)
    assert (found.newest is None) == (not counted)
    assert all(bool(fate.reason) == (fate.state != "counts") for fate in found.fates)
