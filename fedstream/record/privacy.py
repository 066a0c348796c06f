"""Whether a run is differentially private, and what that may cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fedstream.record.document import Document


class Privacy(Document):
    """Differential privacy of the clients: what a model tells about whether any one of them took part.

    Attributes:
        where: `central` adds noise to the sum of a round's clipped changes, `local` to each client's change before it
            leaves the client; empty for no noise.
        noise_multiplier: standard deviation of the noise, as a multiple of the norm to which changes are clipped.
        delta: probability with which the guarantee may fail; well below 1 / number of clients.
        max_epsilon: budget of the whole run; the run stops before the round that would exceed it.
    """

    where: Literal["", "central", "local"] = ""
    noise_multiplier: float = Field(default=0.0, ge=0, le=1_000_000)
    delta: float = Field(default=0.0, ge=0, lt=1)
    max_epsilon: float = Field(default=0.0, ge=0, le=1_000_000)

    @model_validator(mode="after")
    def _is_whole(self) -> Privacy:
        if self.where and self.noise_multiplier < LEAST_NOISE:
            raise ValueError(
                f"noise_multiplier is {self.noise_multiplier:g}; noise needs at least {LEAST_NOISE:g}, usually about 1"
            )
        if self.where and not self.delta:
            raise ValueError("delta is 0; set it well below 1 / number of clients, such as 0.00001")
        if self.where and not self.max_epsilon:
            raise ValueError("max_epsilon is 0; set the epsilon that the run may spend, such as 8")
        if not self.where and (self.noise_multiplier or self.delta or self.max_epsilon):
            raise ValueError(
                "it has a noise_multiplier, a delta or a max_epsilon, but `where` is neither central nor local"
            )
        return self

    @property
    def central(self) -> bool:
        return self.where == "central"

    @property
    def local(self) -> bool:
        return self.where == "local"


LEAST_NOISE = 0.01
"""Smallest noise multiplier; a round with less would cost an epsilon of thousands."""
