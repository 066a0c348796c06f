"""What all documents have in common: their base class, and the types of their fields."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal digits; it becomes part of object keys, so it can be nothing else."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of rounds, records or the like."""

Number = Annotated[int, Field(gt=-(2**63), lt=2**63)]
"""A number that somebody claims: it is judged, and must fit a float before that."""

REASON = 2_000
"""Characters of a reason: a page's worth. Its writer cuts it, so a longer one was not written by fedstream."""

Word = Annotated[str, Field(max_length=200)]
"""A name, a digest, or a few words such as a device's: a client writes them, and pages show them."""

Reason = Annotated[str, Field(max_length=REASON)]


class Document(BaseModel):
    """Frozen, strict about unknown fields and about NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
