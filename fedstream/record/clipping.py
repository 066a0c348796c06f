"""Clipping: how far one client's update can move the global model, whatever the strategy."""

from __future__ import annotations

from pydantic import Field, model_validator

from fedstream.record.document import Document


class Clipping(Document):
    """Limits of the norm of an update's change, that is, of its difference from the global model that it started from.

    Attributes:
        norm: a larger change is scaled down to this Euclidean norm; 0 for no clipping.
        quantile: if above 0, the norm adapts: after each round it moves towards this quantile of the changes' norms
            (Andrew et al. 2021, arXiv 1905.03871, algorithm 1, without noise), and `norm` is only the first.
        learning_rate: how fast the norm adapts, eta_C in the paper: a round multiplies it by at most
            exp(learning_rate).
        zero_above: a change whose norm exceeds this multiple of the round's median counts as no change; 0 for none. It
            applies before clipping, in rounds with three or more updates.
    """

    norm: float = Field(default=0.0, ge=0, le=1e30)
    quantile: float = Field(default=0.0, ge=0, lt=1)
    learning_rate: float = Field(default=0.2, gt=0, le=10)
    zero_above: float = Field(default=0.0, ge=0, le=1e30)

    @model_validator(mode="after")
    def _adapts_from_a_norm(self) -> Clipping:
        if self.quantile and not self.norm:
            raise ValueError(f"quantile is {self.quantile:g} and norm is 0; set norm to the first norm to clip to")
        if 0 < self.zero_above < 1:
            raise ValueError(f"zero_above is {self.zero_above:g}, which is below the median; use 1 or more, or 0")
        return self
