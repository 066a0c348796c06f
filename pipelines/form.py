"""The form as Kubeflow Pipelines takes it, which makes one of a function's signature and docstring."""

import inspect
from collections.abc import Callable
from typing import Any, Dict

from fedstream.components.form import described, parameters

from fedstream.record.form import FormField


def taking_form(fields: list[FormField]) -> Callable[[Callable[[Dict[str, Any]], Any]], Callable[..., Any]]:
    """Return a decorator that gives a function of a dictionary of form values the parameters of a form."""
    wanted = parameters(fields)

    def decorate(function: Callable[[Dict[str, Any]], Any]) -> Callable[..., Any]:
        def body(*values: Any) -> Any:
            return function({parameter.name: value for parameter, value in zip(wanted, values, strict=True)})

        returned = inspect.signature(function).return_annotation
        body.__name__, body.__doc__ = function.__name__, f"{function.__doc__}\n\nArgs:\n{described(fields)}"
        body.__signature__ = inspect.Signature(wanted, return_annotation=returned)  # type: ignore[attr-defined]
        return body

    return decorate
