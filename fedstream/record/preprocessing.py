"""What happens to decoded records before they reach the model: a short list of steps, declared in the RunSpec.

Steps name columns of the records as they are sent; docs/preprocessing.md describes their meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StrictInt, model_validator

from fedstream.record.document import Document
from fedstream.record.names import LONGEST_NAME, MOST_NAMES

MOST_STEPS = 20
MOST_CATEGORIES = 1_000

Column = Annotated[StrictInt, Field(ge=0)] | Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
"""The name of a column, or its place: 0, 1, ..."""

WHOLE = {
    "bool": (0, 1),
    "int8": (-(2**7), 2**7 - 1),
    "uint8": (0, 2**8 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
}
"""Types of whole numbers, and their ranges. float32 holds each of these numbers exactly."""


class _Step(Document):
    """A step.

    Attributes:
        columns: columns that it changes; empty for all that no earlier step has one-hot encoded.
    """

    columns: list[Column] = Field(default=[], max_length=MOST_NAMES)


class Scale(_Step):
    """Multiply by a factor, then add an offset."""

    step: Literal["scale"]
    factor: float = 1.0
    offset: float = 0.0


class Standardise(_Step):
    """Subtract the mean of all clients and divide by the standard deviation, both from the run's statistics."""

    step: Literal["standardise"]


class FillMissing(_Step):
    """Replace NaN."""

    step: Literal["fill_missing"]
    value: float = 0.0


class OneHot(_Step):
    """Replace a column by one column for each category, which is 1 where the value is the category and otherwise 0."""

    step: Literal["one_hot"]
    columns: list[Column] = Field(min_length=1, max_length=MOST_NAMES)
    categories: list[float] = Field(min_length=1, max_length=MOST_CATEGORIES)

    @model_validator(mode="after")
    def _categories_differ(self) -> OneHot:
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("a category is named twice")
        return self


class Cast(_Step):
    """Give values the range of a type: the fraction is cut off, and values outside the range become its ends."""

    step: Literal["cast"]
    dtype: Literal["float32", "bool", "int8", "uint8", "int16", "uint16"]


Step = Annotated[Scale | Standardise | FillMissing | OneHot | Cast, Field(discriminator="step")]


class Preprocessing(Document):
    """The steps, in order.

    Attributes:
        steps: what happens to samples.
        one_hot_labels: number of classes of labels that are class numbers and become one-hot vectors; 0 for labels as
            they are sent.
    """

    steps: list[Step] = Field(default=[], max_length=MOST_STEPS)
    one_hot_labels: int = Field(default=0, ge=0, le=10_000)

    @property
    def standardises(self) -> bool:
        """Whether a step needs the statistics of the run."""
        return any(isinstance(step, Standardise) for step in self.steps)


ALL_VALUES = "all values"
"""The only feature of a sample of several dimensions, such as a picture."""


def feature_names(shape: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return the names of a sample's features.

    Each column of a flat sample is a feature. The values of any other sample have one unit, so they are one feature.

    Args:
        shape: shape of a sample as it is sent.
        names: names of its columns; empty if they have none.
    """
    if len(shape) != 1:
        return [ALL_VALUES]
    return list(names) or [str(place) for place in range(shape[0])]
