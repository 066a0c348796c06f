"""A slice's document counts classes, not measurements: as many labels as records would make it as long as the slice."""

import numpy as np

from fedstream.record.documents import CLASSES
from fedstream.statistics.measure import count_classes


def test_classes_are_counted():
    assert count_classes(np.array([3, 1, 3], np.uint8)) == {"1": 1, "3": 2}


def test_a_million_different_labels_are_not():
    assert count_classes(np.random.default_rng(0).random(1_000_000)) == {}
    assert len(count_classes(np.arange(CLASSES))) == CLASSES
    assert count_classes(np.arange(CLASSES + 1)) == {}
