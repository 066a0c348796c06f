"""What the samples of a slice are like, and how far two slices are apart. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, model_validator

from fedstream.record.document import Document

GROUPS = 64
"""Maximum number of groups of features in a summary, so that its size does not depend on the model's input."""

FEWEST = 20
"""Fewest records that are summarised. A mean of fewer would say much about each of them."""

LARGEST = 10.0
"""Distances are cut off here, where two slices have nothing in common; a constant feature that changes is there."""

TOLERANCE = 1e-6
"""Relative tolerance for a summary that another processor computes."""


class Summary(Document):
    """Mean and variance of the features, in up to GROUPS groups of neighbouring features.

    Attributes:
        means: mean of each group.
        variances: variance of each group, in the square of the features' units.
    """

    means: list[float] = Field(min_length=1, max_length=GROUPS)
    variances: list[Annotated[float, Field(ge=0)]] = Field(min_length=1, max_length=GROUPS)

    @model_validator(mode="after")
    def _is_of_the_same_groups(self) -> Summary:
        if len(self.means) != len(self.variances):
            raise ValueError(f"it has {len(self.means)} means, but {len(self.variances)} variances")
        return self


@dataclass(frozen=True)
class Drift:
    """How far a slice is from an earlier one of the same client.

    Attributes:
        classes: total variation distance of the class histograms, in [0, 1]: the part of the records that would have to
            change their class; None without classes.
        mean: mean over the groups of features of the standardised mean difference (Cohen 1988), in [0, LARGEST]; None
            without summaries.
        variance: mean over the groups of the absolute logarithm of the ratio of variances, in [0, LARGEST]; None
            without summaries.
    """

    classes: float | None
    mean: float | None
    variance: float | None


def drift(before: tuple[Mapping[str, int], Summary | None], after: tuple[Mapping[str, int], Summary | None]) -> Drift:
    """Return how far a slice is from an earlier one.

    Args:
        before: class counts and summary of the earlier slice.
        after: class counts and summary of the later slice.
    """
    (counts, old), (new_counts, new) = before, after
    classes = _total_variation(counts, new_counts) if counts and new_counts else None
    if old is None or new is None or len(old.means) != len(new.means):
        return Drift(classes, None, None)
    shifts = [_shift(*pair) for pair in zip(_groups(old), _groups(new), strict=True)]
    ratios = [_ratio(*pair) for pair in zip(old.variances, new.variances, strict=True)]
    return Drift(classes, _mean(shifts), _mean(ratios))


def same_summary(one: Summary | None, other: Summary | None) -> bool:
    """Tell whether two summaries agree within the tolerance."""
    if one is None or other is None:
        return one is other
    pairs = [*zip(one.means, other.means, strict=False), *zip(one.variances, other.variances, strict=False)]
    scale = max(map(abs, [*other.means, *map(math.sqrt, other.variances)]))
    return len(one.means) == len(other.means) and all(
        math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE * scale) for a, b in pairs
    )


def _groups(summary: Summary) -> list[tuple[float, float]]:
    return list(zip(summary.means, summary.variances, strict=True))


def _total_variation(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    first, second = max(1, sum(one.values())), max(1, sum(other.values()))
    labels = sorted(one.keys() | other.keys())
    return sum(abs(one.get(label, 0) / first - other.get(label, 0) / second) for label in labels) / 2


def _shift(before: tuple[float, float], after: tuple[float, float]) -> float:
    difference, deviation = abs(after[0] - before[0]), math.sqrt(before[1] / 2 + after[1] / 2)
    return min(LARGEST, difference / deviation) if deviation else LARGEST if difference else 0.0


def _ratio(before: float, after: float) -> float:
    if not before or not after:
        return LARGEST if before or after else 0.0
    return min(LARGEST, abs(math.log(after) - math.log(before)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
