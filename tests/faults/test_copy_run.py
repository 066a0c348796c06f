"""A copy of a run goes on, and is verified, as the run itself; the run is not touched."""

import uuid

import pytest

from fedstream.audit import copy_run, verify_run
from fedstream.errors import RunError
from fedstream.store.ledger import Ledger
from fedstream.store.state import RunState


@pytest.fixture
def prefix():
    return f"copy-{uuid.uuid4().hex[:6]}"


def test_a_whole_copy_is_verified(undisturbed, prefix):
    copy = copy_run(undisturbed.store, "r", prefix)
    assert copy.settings.prefix == f"{undisturbed.store.settings.prefix}{prefix}/"
    report = verify_run(copy, "r")
    assert report.ok, report.problems
    assert report.rounds == verify_run(undisturbed.store, "r").rounds
    assert copy_run(undisturbed.store, "r", prefix).settings == copy.settings


def test_a_copy_of_the_first_rounds_goes_on_from_there(undisturbed, prefix):
    before = undisturbed.store.list("")
    copy = copy_run(undisturbed.store, "r", prefix, before=2)
    assert RunState(copy, "r").next_round(2) == (2, "training")
    assert Ledger(copy, "r").digest(1) == Ledger(undisturbed.store, "r").digest(1)
    assert [info for info in undisturbed.store.list("") if not info.key.startswith(prefix)] == before


def test_a_run_whose_plan_did_not_end_has_no_next_round(undisturbed, prefix):
    copy = copy_run(undisturbed.store, "r", prefix, before=0)
    with pytest.raises(
        RunError, match="run 'r' has no initial model yet, because plan_training did not finish; submit the run again"
    ):
        RunState(copy, "r").next_round(2)


def test_a_run_that_was_never_planned_has_no_next_round(undisturbed):
    with pytest.raises(RunError, match="there is no run 'other' in this bucket"):
        RunState(undisturbed.store, "other").next_round(2)


def test_a_run_that_is_not_there(undisturbed, prefix):
    with pytest.raises(RunError, match="there is no run 'other' in this bucket"):
        copy_run(undisturbed.store, "other", prefix)
