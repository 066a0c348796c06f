"""What all documents have in common: their base class and the types of their fields."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal digits. It becomes part of object keys, so nothing else is allowed."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of rounds, records or similar things."""

Number = Annotated[int, Field(gt=-(2**63), lt=2**63)]
"""A number that a client claims. It is judged later, and must fit a float before that."""

REASON = 2_000
"""Maximum characters of a reason, about a page. fedstream truncates reasons, so it never writes a longer one."""

Word = Annotated[str, Field(max_length=200)]
"""A name, a digest, or a few words such as those for a device. Clients write these texts, and pages show them."""

Reason = Annotated[str, Field(max_length=REASON)]


class Document(BaseModel):
    """A frozen document that rejects unknown fields, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def values_of(document: BaseModel) -> dict[str, Any]:
    """Return the JSON value of each field, including those that are not written while they have their default."""
    written, names = document.model_dump(mode="json"), type(document).model_fields
    return {name: written[name] if name in written else _plain(getattr(document, name)) for name in names}


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
