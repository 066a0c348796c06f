"""The form for Kubeflow Pipelines, which derives its own from a function's signature and docstring."""

import inspect
from collections.abc import Callable
from typing import Any, Dict

from fedstream.components.form import described, parameters

from fedstream.record.form import FormField


def taking_form(fields: list[FormField]) -> Callable[[Callable[[Dict[str, Any]], Any]], Callable[..., Any]]:
    """Return a decorator that gives the parameters of a form to a function that takes a dictionary of form values."""
    wanted = parameters(fields)

    def decorate(function: Callable[[Dict[str, Any]], Any]) -> Callable[..., Any]:
        def body(*values: Any) -> Any:
            return function({parameter.name: value for parameter, value in zip(wanted, values, strict=True)})

        returned = inspect.signature(function).return_annotation
        body.__name__, body.__doc__ = function.__name__, f"{function.__doc__}\n\nArgs:\n{described(fields)}"
        body.__signature__ = inspect.Signature(wanted, return_annotation=returned)  # type: ignore[attr-defined]
        return body

    return decorate
