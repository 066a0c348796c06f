"""The form values of a submission, and how they differ from those of a run in progress. Makes no requests."""

from __future__ import annotations

import json
from typing import Any

from fedstream.errors import SpecError, UsageError
from fedstream.kubeflow.package import Package
from fedstream.record.form import form_of, packed_form
from fedstream.record.form_values import packed, parse_form
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec, parse_spec
from fedstream.steps.plan import checked_spec


def form_values(spec: RunSpec, given: dict[str, Any], package: Package) -> dict[str, Any]:
    """Return the form values to submit, limited to the pipeline's parameters.

    Raises:
        UsageError: A value is invalid, or has no parameter in the pipeline, or the memory is less than the steps need.
    """
    given = {name: value for name, value in given.items() if value is not None}
    parse_form(PipelineOptions, given)
    _check_parameters(spec, given, package)
    values = packed(spec) | given
    if "memory" in values:
        _check_memory(values["memory"], package.least_memory)
    return {name: value for name, value in values.items() if name in package.parameters}


def _check_parameters(spec: RunSpec, given: dict[str, Any], package: Package) -> None:
    """Check that the pipeline has a parameter for each value that is not the default."""
    defaults = parse_spec({"run": spec.run, "model": spec.model}).model_dump(mode="json")
    values = spec.model_dump(mode="json") | given
    for field in form_of(RunSpec, PipelineOptions):
        if field.parameter not in package.parameters and values.get(field.name) != defaults.get(field.name):
            raise UsageError(
                f"pipeline {package.name!r} in {str(package.path)!r} has no parameter {field.parameter!r}"
                f"{f' for {field.name}' if field.within else ''}; omit it, or pass another --package-file"
            )


def _check_memory(memory: str, least: str) -> None:
    """Check the memory limit, which Kubernetes would otherwise reject only when it creates a step's pod."""
    from kubernetes.utils import parse_quantity

    try:
        enough = parse_quantity(memory) >= parse_quantity(least or 0)
    except ValueError as error:
        raise UsageError(f"--memory: {memory!r} is not a quantity of memory; write 4Gi for four gibibytes") from error
    if not enough:
        raise UsageError(
            f"--memory: {memory} is less than the {least} that a step requests before it holds any records; increase it"
        )


def difference(running: dict[str, Any], wanted: dict[str, Any], package: Package) -> str:
    """Describe the first value in which a run in progress differs from the wanted one; empty if there is none.

    Both are parsed as a run parses them, so that equivalent values are equal: {} and an empty placement, "3" and 3.0.

    Args:
        running: Form values of the run in progress, from the form or the API.
        wanted: Form values to submit; only these are compared.
        package: The pipeline, whose defaults replace values that the run in progress was not given.
    """
    now = _read(wanted, package)
    try:
        before = _read(package.parameters | running, package)
    except SpecError as error:
        return f"values that this version of fedstream does not accept ({error})"
    return _apart("", {name: before.get(name) for name in wanted}, {name: now[name] for name in wanted})


def _read(values: dict[str, Any], package: Package) -> dict[str, Any]:
    typed = {name: _typed(value, package.types.get(name, "")) for name, value in values.items()}
    names = [field.name for field in packed_form(RunSpec)]
    return typed | packed(checked_spec({name: typed[name] for name in names if name in typed}))


def _typed(value: Any, kind: str) -> Any:
    """Parse a text that stands for a number, a list or an object; the form passes some values on as text."""
    if kind == "STRING" or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _apart(path: str, before: Any, now: Any) -> str:
    """Describe the first and innermost place in which two values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        places = (
            _apart(f"{path}.{key}" if path else key, before.get(key), now.get(key))
            for key in sorted(before.keys() | now.keys())
        )
        return next((place for place in places if place), "")
    return "" if before == now else f"a different value for {path} ({before!r}, now {now!r})"
