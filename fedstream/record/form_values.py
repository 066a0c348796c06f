"""The values of a form: how they become parameters of a pipeline, and how they are validated."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fedstream.errors import SpecError
from fedstream.record.document import values_of
from fedstream.record.form import form_of
from fedstream.record.names import NAME_RULE

Model = TypeVar("Model", bound=BaseModel)


def packed(document: BaseModel) -> dict[str, Any]:
    """Return the JSON values of a form as parameters of a pipeline, in which some fields are keys of an object."""
    parameters = {field.name: field.within for field in form_of(type(document))}
    values: dict[str, Any] = {}
    for name, value in values_of(document).items():
        holder = values.setdefault(parameters[name], {}) if parameters[name] else values
        holder[name] = value
    return values


def parse_form(model: type[Model], values: dict[str, Any]) -> Model:
    """Validate the given values, which are fields of the model or parameters of a pipeline.

    Raises:
        SpecError: a field is wrong. One line names each wrong field, the given value and what is expected.
    """
    fields, within = _unpacked(model, values)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise SpecError(explained(error, within)) from error


def explained(error: ValidationError, within: dict[str, str] | None = None) -> str:
    """Return one line that names each wrong field, the given value and what is expected.

    Args:
        error: The error.
        within: Field -> parameter whose object holds it; other fields are named without one.
    """
    return "; ".join(_explained(problem, within or {}) for problem in error.errors())


def _unpacked(model: type[BaseModel], values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values by field, and the parameters of those fields that are keys of an object."""
    objects: dict[str, list[str]] = {}
    for field in form_of(model):
        if field.within:
            objects.setdefault(field.within, []).append(field.name)
    fields: dict[str, Any] = {}
    within: dict[str, str] = {}
    for name, value in values.items():
        if name not in objects:
            fields[name] = value
            continue
        if not isinstance(value, dict):
            raise SpecError(f"{name}: Input should be a valid dictionary (given: {value!r})")
        if unknown := [key for key in value if key not in objects[name]]:
            raise SpecError(f"{name} has no key {unknown[0]!r}; its keys are {', '.join(objects[name])}")
        fields |= value
        within |= dict.fromkeys(value, name)
    return fields, within


def _explained(problem: Any, within: dict[str, str]) -> str:
    path = [str(part) for part in problem["loc"]]
    where = ".".join([within[path[0]], *path] if path and path[0] in within else path)
    what = NAME_RULE if problem["type"] == "string_pattern_mismatch" else problem["msg"].removeprefix("Value error, ")
    if not where or problem["type"] == "missing":
        return f"{where}: {what}" if where else what
    return f"{where}: {what} (given: {problem['input']!r})"
