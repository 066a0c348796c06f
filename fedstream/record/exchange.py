"""What travels between the clients and the aggregation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import Field

from fedstream.errors import SpecError
from fedstream.record.description import ModelDescription, VariableDescription
from fedstream.record.document import Document

Patterns = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=100)]
"""Glob patterns over the names of variables, such as `dense_1/*` or `*/batch_normalization*`."""

Compression = Literal["none", "float16", "int8", "topk"]

SHOWN = 20
"""Maximum number of names in a message."""


class Exchange(Document):
    """What travels in a run, and how it is compressed.

    A variable that neither travels nor is personal keeps its initial value at every client and in the global model.

    Attributes:
        variables: `all`, `trainable`, or patterns of the variables that travel. The default is all, but for a model
            with LoRA adapters only these.
        personal: patterns of variables that never leave a client: each client trains its own and measures with them
            (FedPer, Arivazhagan et al. 2019, arXiv 1912.00818; FedBN, Li et al. 2021, arXiv 2102.07623).
        compression: how updates are compressed (fedstream.aggregation.compression).
        fraction: for `topk`, the fraction of the values of each variable to send, above 0 and up to 1.
    """

    variables: Literal["default", "all", "trainable"] | Patterns = "default"
    personal: Patterns = []
    compression: Compression = "none"
    fraction: float = Field(default=0.01, gt=0, le=1)


class Parts(Document):
    """The variables of a model by what happens to them in a run, each in the order of the model.

    Attributes:
        shared: names of the variables that travel; at least one.
        personal: the variables that each client keeps for itself.
    """

    shared: list[str] = Field(min_length=1)
    personal: list[VariableDescription] = []

    @property
    def trained(self) -> frozenset[str]:
        """The variables that a client can change. All others keep their initial values."""
        return frozenset((*self.shared, *(variable.name for variable in self.personal)))


def parts_of(exchange: Exchange, model: ModelDescription) -> Parts | None:
    """Return which variables of a model travel and which are personal, or None if all travel.

    Raises:
        SpecError: a pattern matches no variable, or nothing is left to exchange.
    """
    names = [variable.name for variable in model.variables]
    personal = _matching("personal", exchange.personal, model)
    shared = [name for name in _chosen(exchange, model) if name not in personal]
    if not shared:
        raise SpecError(
            f"exchange: nothing is left to exchange of model {model.name!r}, whose variables are {listed(names)}"
        )
    if shared == names:
        return None
    return Parts(shared=shared, personal=[variable for variable in model.variables if variable.name in personal])


def select(arrays: dict[str, Any], parts: Parts | None) -> dict[str, Any]:
    """Return the variables that travel, of all variables of a model."""
    return arrays if parts is None else {name: arrays[name] for name in parts.shared}


def _chosen(exchange: Exchange, model: ModelDescription) -> list[str]:
    if isinstance(exchange.variables, list):
        return _matching("variables", exchange.variables, model)
    if exchange.variables == "trainable":
        if any(variable.trainable is None for variable in model.variables):
            raise SpecError(
                f"exchange.variables: model {model.name!r} was added by an earlier version of fedstream, which did not "
                "record which of its variables are trainable; name them by patterns, or add the model under "
                "another name"
            )
        return [variable.name for variable in model.variables if variable.trainable]
    names = [variable.name for variable in model.variables]
    adapters = [name for name in names if is_adapter(name)] if exchange.variables == "default" else []
    return adapters or names


def is_adapter(name: str) -> bool:
    """Tell whether a variable belongs to a LoRA adapter of Keras: A or B of a kernel or an embedding."""
    return name.rpartition("/")[2].startswith(("lora_kernel_", "lora_embeddings_"))


def _matching(field: str, patterns: Sequence[str], model: ModelDescription) -> list[str]:
    names = [variable.name for variable in model.variables]
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            raise SpecError(
                f"exchange.{field}: {pattern!r} matches no variable of model {model.name!r}, which has {listed(names)}"
            )
    return [name for name in names if any(matches(name, pattern) for pattern in patterns)]


def matches(name: str, pattern: str) -> bool:
    """Tell whether a path matches a glob pattern. `*/x` also matches an `x` at the top of a model."""
    return fnmatchcase(name, pattern) or fnmatchcase(f"/{name}", pattern)


def listed(names: Sequence[str]) -> str:
    """Return names for a message, of which there can be many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
