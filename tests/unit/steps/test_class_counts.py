"""A slice's document counts classes, not measurements: as many labels as records would make it as long as the slice."""

from collections import Counter

import numpy as np

from fedstream.record.documents import CLASSES
from fedstream.steps.slices import count_labels


def counted(*parts: np.ndarray) -> Counter[str]:
    counts: Counter[str] = Counter()
    for part in parts:
        count_labels(counts, part)
    return counts


def test_classes_are_counted():
    assert counted(np.array([3, 1, 3], np.uint8)) == {"1": 1, "3": 2}
    assert counted(np.array([3, 1], np.uint8), np.array([3], np.uint8)) == {"1": 1, "3": 2}


def test_a_million_different_labels_are_not():
    assert len(counted(np.random.default_rng(0).random(1_000_000))) == CLASSES + 1
    assert len(counted(np.arange(CLASSES))) == CLASSES
    assert len(counted(*np.split(np.arange(10 * CLASSES), 20))) <= 2 * CLASSES + 1
