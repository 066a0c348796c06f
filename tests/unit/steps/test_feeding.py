"""What the ledger tells a feed of earlier rounds."""

import pytest
from support.recorded import RUN, RecordedStore

from fedstream.record.offsets import format_ranges
from fedstream.steps.feeding import used_before, why_unexpected
from fedstream.store.state import RunState


@pytest.fixture
def state():
    """A run in which c refuses in round 2, round 2 is rolled back by round 3, round 4 trains and round 5 measures."""
    return RunState(RecordedStore("federated"), RUN)


def used(state, round, client):
    return format_ranges(r for ranges in used_before(state, round, client) for r in ranges)


def test_what_was_accepted_in_the_rounds_before_is_used(state):
    assert used(state, 1, "a") == ""
    assert used(state, 2, "a") == "recorded.a:0:0:32"
    assert used(state, 3, "a") == "recorded.a:0:0:32,recorded.a:0:0:32"
    assert used(state, 3, "c") == "recorded.c:0:0:48"


def test_what_a_rollback_took_back_is_not_used_any_more(state):
    assert used(state, 4, "a") == "recorded.a:0:0:32"


def test_a_round_that_measures_uses_nothing(state):
    assert used(state, 6, "a") == used(state, 5, "a")


def test_a_slice_is_held_against_plan_and_feed(state):
    document = state.slice(1, "a")
    assert why_unexpected(state, 1, document, "a") == ""
    assert why_unexpected(state, 1, document, "b") == "ranges is 'recorded.a:0:0:32', expected 'recorded.b:0:0:40'"
    assert (
        why_unexpected(state, 1, document.model_copy(update={"input_format": "JSON"}), "a")
        == "input_format is 'JSON', expected 'RAW'"
    )
    assert (
        why_unexpected(state, 1, document.model_copy(update={"records": 31}), "a")
        == "records is 31, but its ranges hold 32"
    )


def test_a_slice_that_skips_more_than_the_run_allows_is_not_fed(state):
    document = state.slice(1, "a")
    part = document.ranges[0]
    first = part.model_copy(update={"end": part.start + 1})
    rest = part.model_copy(update={"start": part.start + 1})
    skipping = document.model_copy(update={"ranges": [rest], "skipped": [first], "records": document.records - 1})
    assert why_unexpected(state, 1, skipping, "a") == "it skips 1 records, but max_skipped allows 0"
    gap = skipping.model_copy(update={"skipped": [], "gaps": [first]})
    assert why_unexpected(state, 1, gap, "a") == ""
    overlapping = gap.model_copy(update={"ranges": [part], "records": document.records})
    assert why_unexpected(state, 1, overlapping, "a") == "its ranges, gaps and skipped records overlap"
