"""Which records of its stream a client trains on in each round, as a run declares it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fedstream.record.document import Document
from fedstream.record.offsets import RECORDS


class FeedSpec(Document):
    """The feed of a run.

    Attributes:
        kind: `announced` for everything that a client announced, in every round; `new` for what has come since the
            records of the client's last update that counts.
        at_least: with `new`, fewest records of a slice.
        at_most: with `new`, most records of a slice; the rest waits for the next round.
        timeout_s: with `new`, seconds to wait for records, and for announcements when the run is planned. Kafka-ML's
            stream_timeout, in seconds.
    """

    kind: Literal["announced", "new"] = "announced"
    at_least: int = Field(default=1, ge=1, le=RECORDS)
    at_most: int = Field(default=100_000, ge=1, le=RECORDS)
    timeout_s: float = Field(default=60.0, gt=0, le=7 * 86_400)

    @property
    def live(self) -> bool:
        """Whether a client's slices follow its stream as it grows."""
        return self.kind == "new"

    @model_validator(mode="after")
    def _is_whole(self) -> FeedSpec:
        if self.at_least > self.at_most:
            raise ValueError(f"at_least is {self.at_least}, which is more than at_most, {self.at_most}")
        if not self.live and (given := sorted(self.model_fields_set - {"kind"})) and self != FeedSpec():
            raise ValueError(f'{given[0]} has no effect on announced records; set kind to "new"')
        return self
