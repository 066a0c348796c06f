"""The table of attackers names tests that are there, for every point, and misses none of its own suite."""

import re

import pytest
from support.markdown import ROOT

SUITE = ROOT / "tests" / "attack"
TABLE = (SUITE / "README.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(test_\w+)`", TABLE)
CONTROLS = {
    "test_the_run_is_well_before_it_is_attacked",
    "test_a_forger_who_changes_nothing_is_not_accused",
    "test_what_can_be_measured",
    "test_measured_again_on_another_processor_is_the_same_within_a_thousandth",
    "test_every_record_and_every_measurement_can_be_repeated",
    "test_the_evaluation_topic_of_the_recorded_run_is_its_own",
    "test_a_changed_update_is_one_finding",
}
"""Tests of the suite that nobody attacks in."""


@pytest.mark.parametrize(("path", "test"), NAMED, ids=lambda part: part)
def test_a_test_that_is_named_exists(path, test):
    assert re.search(rf"^def {test}\(", (ROOT / "tests" / path).read_text(), re.M)


def test_every_row_names_a_test_and_every_point_has_rows():
    points = re.split(r"^## ", TABLE, flags=re.M)[1:]
    assert [point.split(".")[0] for point in points] == [f"A{number}" for number in range(1, 12)]
    for point in points:
        rows = [line for line in point.splitlines() if line.startswith("| ") and not line.startswith("| who ")]
        assert rows
        assert not [row for row in rows if "::test_" not in row]


def test_every_attack_of_the_suite_is_in_the_table():
    attacks = {
        test for path in SUITE.glob("test_*.py") for test in re.findall(r"^def (test_\w+)\(", path.read_text(), re.M)
    }
    assert attacks - CONTROLS == {test for path, test in NAMED if path.startswith("attack/")}
