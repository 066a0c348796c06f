"""Form values: those a submission gives, and whether a run that is under way was given the same. Asks nobody."""

from __future__ import annotations

import json
from typing import Any

from fedstream.errors import SpecError, UsageError
from fedstream.kubeflow.package import Package
from fedstream.record.form import parse_form
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec, parse_spec
from fedstream.steps.plan import checked_spec


def form_values(spec: RunSpec, given: dict[str, Any], package: Package) -> dict[str, Any]:
    """Return the form values to submit: those the pipeline knows.

    Raises:
        UsageError: a value was given that cannot be, that the pipeline has no parameter for, or less memory than its steps need.
    """
    given = {name: value for name, value in given.items() if value is not None}
    parse_form(PipelineOptions, given)
    values = spec.model_dump(mode="json") | given
    defaults = parse_spec({"run": spec.run, "model": spec.model}).model_dump(mode="json")
    unknown = [name for name, value in values.items() if name not in package.parameters and value != defaults.get(name)]
    if unknown:
        raise UsageError(
            f"pipeline {package.name!r} of {str(package.path)!r} has no parameter {unknown[0]!r}; leave it out, or submit another --package-file"
        )
    if "memory" in values:
        _check_memory(values["memory"], package.least_memory)
    return {name: value for name, value in values.items() if name in package.parameters}


def _check_memory(memory: str, least: str) -> None:
    """Check what Kubernetes would refuse only when a step's pod is made."""
    from kubernetes.utils import parse_quantity

    try:
        enough = parse_quantity(memory) >= parse_quantity(least or 0)
    except ValueError as error:
        raise UsageError(f"--memory: {memory!r} is no amount of memory; write 4Gi for four gibibytes") from error
    if not enough:
        raise UsageError(f"--memory: {memory} is less than the {least} that a step asks its node for before it holds any records; give it more")


def difference(running: dict[str, Any], wanted: dict[str, Any], package: Package) -> str:
    """Name the first value in which a run under way differs from what is wanted, with both; empty if there is none.

    Both are read as a run reads them, so that what means the same is the same: {} and a placement without anything in it, "3" and 3.0.

    Args:
        running: what the run under way was given, through the form or the API.
        wanted: what is to be submitted; values that are not in it may be whatever they are.
        package: the pipeline, whose defaults count for what the running one was not given.
    """
    now = _read(wanted, package)
    try:
        before = _read(package.parameters | running, package)
    except SpecError as error:
        return f"values that this version of fedstream does not take ({error})"
    return _apart("", {name: before.get(name) for name in wanted}, {name: now[name] for name in wanted})


def _read(values: dict[str, Any], package: Package) -> dict[str, Any]:
    typed = {name: _typed(value, package.types.get(name, "")) for name, value in values.items()}
    spec = checked_spec({name: value for name, value in typed.items() if name in RunSpec.model_fields})
    return typed | spec.model_dump(mode="json")


def _typed(value: Any, kind: str) -> Any:
    """Read a text that stands for a number, a list or the like; the form hands some over as they were typed."""
    if kind == "STRING" or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _apart(path: str, before: Any, now: Any) -> str:
    """Name the first place, down to the innermost one, where two values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        places = (_apart(f"{path}.{key}" if path else key, before.get(key), now.get(key)) for key in sorted(before.keys() | now.keys()))
        return next((place for place in places if place), "")
    return "" if before == now else f"another {path} ({before!r}, now {now!r})"
