"""A slice's document counts classes, not measurements: as many labels as records would make it as long as the slice."""

import numpy as np

from fedstream.record.documents import CLASSES
from fedstream.steps.ingest import _class_counts


def test_classes_are_counted():
    assert _class_counts(np.array([3, 1, 3], np.uint8)) == {"1": 1, "3": 2}


def test_a_million_different_labels_are_not():
    assert _class_counts(np.random.default_rng(0).random(1_000_000)) == {}
    assert len(_class_counts(np.arange(CLASSES))) == CLASSES
    assert _class_counts(np.arange(CLASSES + 1)) == {}
