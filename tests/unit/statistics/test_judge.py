"""What a client says of its records is judged: each contradiction is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedstream.record.documents import SliceDoc
from fedstream.record.statistics import ClientStatistics, Statistics
from fedstream.statistics.judge import why_not
from fedstream.statistics.measure import measure

X = np.random.default_rng(0).normal(5, 2, (40, 2)).astype(np.float32)


def contribution(**changed: Any) -> ClientStatistics:
    slice = SliceDoc(
        client="a", bootstrap_servers="", ranges=[], records=50, input_config={}, class_counts={}, digest="0" * 64
    )
    whole = {"run": "r", "slice": slice, "records": 40, "features": measure(X, ["a", "b"]), "class_counts": {"0": 40}}
    return ClientStatistics(**(whole | changed))


def judged(document: ClientStatistics, **asked: Any) -> str:
    return why_not(document, Statistics(**asked), {"a": 1, "b": 1})


def with_sums(**changed: Any) -> ClientStatistics:
    first, second = measure(X, ["a", "b"])
    return contribution(features=[first.model_copy(update=changed), second])


def test_the_sums_of_records_count() -> None:
    assert judged(contribution()) == ""


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (contribution(records=60), "it counts 60 records, but its slice has 50"),
        (
            contribution(records=9, features=[], class_counts={}),
            "it has 9 records to train on, fewer than min_records, 10",
        ),
        (contribution(features=[]), "its features are not those of the run"),
        (contribution(class_counts={"0": 3}), "its classes have 3 records, expected 40"),
        (with_sums(missing=1), "feature 'a': it has 40 values and 1 missing ones, expected 40 in all"),
        (with_sums(count=0, missing=40), "feature 'a': it has no values, but a histogram"),
        (with_sums(bins=[(3, 40), (3, 0 + 1)]), "feature 'a': its bins are not in order"),
        (with_sums(bins=[(3, 39)]), "feature 'a': its histogram has 39 values, expected 40"),
        (with_sums(minimum=None), "feature 'a': it has no range"),
        (with_sums(maximum=1e39), "feature 'a': its range is not that of its histogram"),
        (with_sums(maximum=900.0), "feature 'a': its range is not that of its histogram"),
        (with_sums(total="0x1p+40"), "feature 'a': its sum is not that of its histogram"),
        (with_sums(squares="0x1p+0"), "feature 'a': its squares are less than those of its mean"),
        (with_sums(squares="0x1p+60"), "feature 'a': its squares are more than those of its histogram"),
    ],
)
def test_a_contradiction_is_named(document: ClientStatistics, said: str) -> None:
    assert judged(document) == said


def test_what_has_no_noise_does_not_count_with_noise() -> None:
    asked = {"noise_multiplier": 1.0, "bounds": {"a": (0, 1), "b": (0, 1)}}
    assert judged(contribution(), **asked) == "feature 'a': it has a histogram, which has no noise"
