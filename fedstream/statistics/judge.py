"""Whether what a client contributes to the statistics can be true. Pure; used when they are combined and by verify.

A client that lies can still shift the statistics, within what its own sums allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise

import numpy as np

from fedstream.record.statistics import ClientStatistics, FeatureSums, Statistics, from_text
from fedstream.statistics.bins import bins_of, edges


def why_not(document: ClientStatistics, asked: Statistics, features: Mapping[str, int]) -> str:
    """Return why a client's contribution does not count, or an empty string.

    Args:
        document: The contribution.
        asked: What the run asks for.
        features: Feature -> number of its values in one record, in order.
    """
    if document.records > document.slice.records:
        return f"it counts {document.records} records, but its slice has {document.slice.records}"
    if document.records < asked.min_records:
        return f"it has {document.records} records to train on, fewer than min_records, {asked.min_records}"
    if [sums.name for sums in document.features] != list(features):
        return "its features are not those of the run"
    if document.class_counts and sum(document.class_counts.values()) != document.records:
        return f"its classes have {sum(document.class_counts.values())} records, expected {document.records}"
    for sums in document.features:
        if reason := _why_wrong(sums, document.records * features[sums.name], bool(asked.noise_multiplier)):
            return f"feature {sums.name!r}: {reason}"
    return ""


def _why_wrong(sums: FeatureSums, values: int, noise: bool) -> str:
    if sums.count + sums.missing != values:
        return f"it has {sums.count} values and {sums.missing} missing ones, expected {values} in all"
    if noise:
        told = sums.bins or sums.minimum is not None or sums.maximum is not None
        return "it has a histogram, which has no noise" if told else ""
    if not sums.count:
        told = sums.bins or sums.minimum is not None or sums.maximum is not None
        return "it has no values, but a histogram" if told or from_text(sums.total) or from_text(sums.squares) else ""
    return _why_no_histogram(sums) or _why_other_sums(sums)


def _why_no_histogram(sums: FeatureSums) -> str:
    numbers = [number for number, _ in sums.bins]
    if any(one >= other for one, other in pairwise(numbers)):
        return "its bins are not in order"
    if (found := sum(count for _, count in sums.bins)) != sums.count:
        return f"its histogram has {found} values, expected {sums.count}"
    if sums.minimum is None or sums.maximum is None or sums.minimum > sums.maximum:
        return "it has no range"
    with np.errstate(over="ignore"):
        ends = np.array([sums.minimum, sums.maximum], np.float32)
    if not np.isfinite(ends).all() or bins_of(ends).tolist() != [numbers[0], numbers[-1]]:
        return "its range is not that of its histogram"
    return ""


def _why_other_sums(sums: FeatureSums) -> str:
    """Return how the sums contradict the histogram, or an empty string."""
    total, squares = from_text(sums.total), from_text(sums.squares)
    ends = [(edges(number), count) for number, count in sums.bins]
    low, high = (sum(count * Fraction(pair[side]) for pair, count in ends) for side in (0, 1))
    if not low <= total <= high:
        return "its sum is not that of its histogram"
    if squares * sums.count < total * total:
        return "its squares are less than those of its mean"
    if squares > sum(count * max(abs(Fraction(end)) for end in pair) ** 2 for pair, count in ends):
        return "its squares are more than those of its histogram"
    return ""
