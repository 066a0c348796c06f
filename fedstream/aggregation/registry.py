"""Finds strategies by name: those of fedstream, and those that other installed packages offer as entry points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from typing import Any

from pydantic import ValidationError

from fedstream.aggregation.bulyan import Bulyan
from fedstream.aggregation.fedadagrad import FedAdagrad
from fedstream.aggregation.fedadam import FedAdam
from fedstream.aggregation.fedavg import FedAvg
from fedstream.aggregation.fedavgm import FedAvgM
from fedstream.aggregation.fedmedian import FedMedian
from fedstream.aggregation.fednova import FedNova
from fedstream.aggregation.fedopt import FedOpt
from fedstream.aggregation.fedprox import FedProx
from fedstream.aggregation.fedtrimmedavg import FedTrimmedAvg
from fedstream.aggregation.fedyogi import FedYogi
from fedstream.aggregation.geometricmedian import GeometricMedian
from fedstream.aggregation.krum import Krum
from fedstream.aggregation.multikrum import MultiKrum
from fedstream.aggregation.qfedavg import QFedAvg
from fedstream.aggregation.scaffold import Scaffold
from fedstream.aggregation.strategy import Strategy
from fedstream.errors import SpecError

GROUP = "fedstream.strategies"
"""Group of the entry points: `FedMine = "mine.strategies:FedMine"`."""

BUILT_IN: dict[str, type[Strategy]] = {
    "FedAvg": FedAvg,
    "FedAdagrad": FedAdagrad,
    "FedAdam": FedAdam,
    "FedAvgM": FedAvgM,
    "FedNova": FedNova,
    "FedOpt": FedOpt,
    "FedProx": FedProx,
    "FedMedian": FedMedian,
    "FedTrimmedAvg": FedTrimmedAvg,
    "FedYogi": FedYogi,
    "QFedAvg": QFedAvg,
    "SCAFFOLD": Scaffold,
    "Krum": Krum,
    "MultiKrum": MultiKrum,
    "Bulyan": Bulyan,
    "GeometricMedian": GeometricMedian,
}


def strategy_names() -> list[str]:
    """Return the names of all strategies, sorted, without loading any."""
    return sorted({*BUILT_IN, *entry_points(group=GROUP).names})


def find_strategy(name: str) -> type[Strategy]:
    """Return a strategy's class. A strategy of another package is imported by this call.

    Raises:
        SpecError: no strategy has this name, several packages offer it, or it cannot be loaded.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise SpecError(f"strategy: {name!r} is not known; use one of {', '.join(strategy_names())}")
    if len(found) > 1:
        raise SpecError(
            f"strategy: {name!r} is offered by {' and '.join(sorted(map(_package, found)))}; "
            "uninstall all but one of them"
        )
    return _load(found[0])


def make_strategy(name: str, config: Mapping[str, Any]) -> Strategy:
    """Return a strategy with these parameters, as a run's `strategy` and `strategy_config` give them.

    Raises:
        SpecError: there is no such strategy, or it does not accept these parameters. The message names the parameter,
            the given value and what is allowed.
    """
    kind = find_strategy(name)
    try:
        return kind.model_validate(dict(config))
    except ValidationError as error:
        raise SpecError("; ".join(_explain(name, describe(name), problem) for problem in error.errors())) from error


@dataclass(frozen=True)
class Parameter:
    """A parameter of a strategy, described for people.

    Attributes:
        allowed: its type and bounds, in words.
    """

    name: str
    default: Any
    allowed: str
    description: str


@dataclass(frozen=True)
class Description:
    """A strategy, described for people.

    Attributes:
        summary: what the strategy does.
        paper: the paper that describes it.
        when: when to use it.
    """

    name: str
    summary: str
    parameters: list[Parameter]
    paper: str
    when: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(name: str) -> Description:
    """Return the description of a strategy.

    Raises:
        SpecError: for the same reasons as `find_strategy`.
    """
    kind = find_strategy(name)
    schema = kind.model_json_schema()
    parameters = [
        Parameter(field, properties.get("default"), _allowed(properties), properties.get("description", ""))
        for field, properties in schema.get("properties", {}).items()
    ]
    return Description(
        name,
        (kind.__doc__ or "").strip().partition("\n")[0],
        parameters,
        getattr(kind, "paper", ""),
        getattr(kind, "when", ""),
    )


BOUNDS = {
    "minimum": "at least {:g}",
    "exclusiveMinimum": "above {:g}",
    "maximum": "at most {:g}",
    "exclusiveMaximum": "below {:g}",
}


def _allowed(properties: Mapping[str, Any]) -> str:
    if "enum" in properties:
        return f"one of {', '.join(map(repr, properties['enum']))}"
    bounds = [words.format(properties[bound]) for bound, words in BOUNDS.items() if bound in properties]
    kind = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "string": "a text"}.get(
        properties.get("type", ""), "JSON"
    )
    return f"{kind} {' and '.join(bounds)}".strip()


def _explain(name: str, description: Description, problem: Any) -> str:
    field = ".".join(map(str, problem["loc"]))
    known = {parameter.name: parameter for parameter in description.parameters}
    if problem["type"] == "extra_forbidden":
        return (
            f"strategy_config: {name} has no parameter {field!r} (given: {problem['input']!r}); "
            f"it has {', '.join(known) or 'none'}"
        )
    allowed = known[field].allowed if field in known else problem["msg"].removeprefix("Value error, ")
    return f"strategy_config: {field or 'the parameters'} of {name} must be {allowed} (given: {problem['input']!r})"


def _load(entry: EntryPoint) -> type[Strategy]:
    where = f"strategy: {entry.name!r}, which {_package(entry)} offers as {entry.value!r},"
    try:
        kind = entry.load()
    except Exception as error:
        raise SpecError(
            f"{where} cannot be loaded ({type(error).__name__}: {error}); repair or uninstall that package"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise SpecError(
            f"{where} is not a subclass of fedstream.aggregation.strategy.Strategy; "
            "ask the package's author to correct it"
        )
    if isabstract(kind):
        raise SpecError(f"{where} does not define aggregate(); ask the package's author to add it")
    return kind


def _package(entry: EntryPoint) -> str:
    return f"package {entry.dist.name!r}" if entry.dist else "an unknown package"
