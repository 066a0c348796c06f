"""The documents of federated statistics: what a run asks for, what leaves a client, and what the clients' sums say."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from fedstream.record.document import Count, Digest, Document, Reason, Word
from fedstream.record.documents import CLASSES, SliceDoc
from fedstream.record.names import LONGEST_NAME, MOST_NAMES

BIN_RANGE = 0x7F80
"""Bins are -BIN_RANGE ... BIN_RANGE, the bits of the numbers that they stand for (see fedstream.statistics.bins)."""

LONGEST_SUM = 200
"""Maximum characters of an exact sum: the squares of float32 numbers span 554 bits, and 2**63 of them 63 more."""


def to_text(value: Fraction) -> str:
    """Return a dyadic fraction as a hexadecimal floating-point number (C99), with as many digits as it needs."""
    if value.denominator & (value.denominator - 1):
        raise ValueError(f"{value} is no multiple of a power of two")
    zeros = (value.numerator & -value.numerator).bit_length() - 1 if value else 0
    return f"{value.numerator >> zeros:#x}p{zeros - value.denominator.bit_length() + 1:+d}"


def from_text(text: str) -> Fraction:
    """Return the number that `to_text` wrote."""
    digits, _, power = text.partition("p")
    mantissa, exponent = int(digits, 16), int(power)
    return Fraction(mantissa << max(exponent, 0), 1 << max(-exponent, 0))


def _canonical(text: str) -> str:
    if to_text(from_text(text)) != text:
        raise ValueError("is not in canonical form")
    return text


Exact = Annotated[
    str, Field(pattern=r"^-?0x[0-9a-f]{1,190}p[+-]\d{1,3}$", max_length=LONGEST_SUM), AfterValidator(_canonical)
]
"""An exact sum, as `to_text` writes it."""

Bins = Annotated[
    list[tuple[Annotated[int, Field(ge=-BIN_RANGE, le=BIN_RANGE)], Annotated[int, Field(ge=1, lt=2**63)]]],
    Field(max_length=2 * BIN_RANGE + 1),
]
"""(bin, number of its values) in ascending order, without empty bins."""


class Statistics(Document):
    """What a run asks of its clients before the first round.

    Attributes:
        gather: whether to gather statistics even if no step of the preprocessing needs them.
        min_records: a client with fewer records to train on is left out, and named.
        noise_multiplier: standard deviation of the noise that each client adds, as a multiple of how much one record
            can change what it sends; 0 for no noise.
        bounds: feature -> lowest and highest value that counts; required for every feature if there is noise.
    """

    gather: bool = False
    min_records: int = Field(default=10, ge=1)
    noise_multiplier: float = Field(default=0.0, ge=0, le=1_000_000)
    bounds: dict[Annotated[str, Field(max_length=LONGEST_NAME)], tuple[float, float]] = Field(
        default={}, max_length=MOST_NAMES
    )

    @model_validator(mode="after")
    def _noise_has_bounds(self) -> Statistics:
        if bool(self.noise_multiplier) != bool(self.bounds):
            raise ValueError("noise_multiplier and bounds belong together: give both, or neither")
        if wrong := [name for name, (low, high) in self.bounds.items() if not low < high]:
            raise ValueError(f"the bounds of {wrong[0]!r} are not in order")
        return self


class FeatureSums(Document):
    """What leaves a client about one feature. It is the same for any order of the records, and sums of it are exact.

    Attributes:
        name: name of the feature.
        count: number of its values.
        missing: number of values that are NaN or infinite.
        total: exact sum of the values, as float32.
        squares: exact sum of their squares.
        minimum: least value; absent without values, or with noise.
        maximum: greatest value; absent likewise.
        bins: histogram; empty with noise.
    """

    name: Word
    count: Count
    missing: Count
    total: Exact
    squares: Exact
    minimum: float | None = None
    maximum: float | None = None
    bins: Bins = []


class ClientStatistics(Document):
    """statistics/<client>.json: what a client contributes to the statistics, and from which records.

    Attributes:
        run: name of the run.
        slice: the records, of which those that are held out do not count. Its class counts stay empty.
        records: number of records that count.
        features: sums of each feature; empty if the client has too few records.
        class_counts: label -> number of records; empty likewise, and for labels that are measurements.
    """

    run: Word
    slice: SliceDoc
    records: Count
    features: list[FeatureSums] = Field(max_length=MOST_NAMES)
    class_counts: dict[Word, Count] = Field(max_length=CLASSES)

    @property
    def client(self) -> str:
        return self.slice.client


class FeatureStatistics(Document):
    """A feature over all clients.

    Attributes:
        name: name of the feature.
        count: number of its values.
        missing: number of values that are NaN or infinite.
        mean: mean of the values, correctly rounded; absent without values.
        variance: mean squared deviation from the mean, correctly rounded; absent likewise.
        minimum: least value; absent likewise, and with noise.
        maximum: greatest value; absent likewise.
        quantiles: probability -> value, with a relative error of at most 2**-8; empty likewise.
        bins: histogram; empty likewise.
    """

    name: Word
    count: Count
    missing: Count
    mean: float | None = None
    variance: float | None = Field(default=None, ge=0)
    minimum: float | None = None
    maximum: float | None = None
    quantiles: dict[Word, float] = {}
    bins: Bins = []


class RunStatistics(Document):
    """statistics.json: the statistics of a run. Written once, before the commit of round 0, which names its digest.

    Attributes:
        run: name of the run.
        clients: client -> SHA-256 of its statistics/<client>.json.
        left_out: client -> why it is left out.
        records: number of records that count.
        features: the features, in the run's order.
        class_counts: label -> number of records.
    """

    run: Word
    clients: dict[Word, Digest]
    left_out: dict[Word, Reason]
    records: Count
    features: list[FeatureStatistics] = Field(max_length=MOST_NAMES)
    class_counts: dict[Word, Count] = Field(max_length=CLASSES)
