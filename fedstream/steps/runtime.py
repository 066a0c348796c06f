"""Wrap the function of a step.

The wrapper sets up logging for a pod, and logs one clear line if the step fails.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar

from fedstream.errors import FedstreamError, UsageError
from fedstream.steps.context import Context

P = ParamSpec("P")
R = TypeVar("R")

FAILED, REFUSED = "step failed:", "step refused:"
"""Prefixes that a runner searches the log for.

They show the cause of a failure, and distinguish an invalid value from a failed run.
"""


class MetricsArtifact(Protocol):
    """The part of KFP's Metrics artifact that is used."""

    def log_metric(self, metric: str, value: float) -> None: ...


class Step(Generic[P, R]):
    """A step of a run.

    A call runs the step in the context that the environment describes; `within` runs it in another context. The step
    logs to standard output, unless the process has configured logging itself.
    """

    def __init__(self, function: Callable[Concatenate[Context, P], R]) -> None:
        functools.update_wrapper(self, function)
        signature = inspect.signature(function)
        self.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
        self._function = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(None, *args, **kwargs)

    def within(self, context: Context, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the step in the given context."""
        return self._run(context, *args, **kwargs)

    def _run(self, context: Context | None, *args: P.args, **kwargs: P.kwargs) -> R:
        logger = logging.getLogger("fedstream")
        if not logging.root.handlers and not logger.handlers:
            handler = logging.StreamHandler(sys.stdout)
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
        try:
            if context:
                return self._function(context, *args, **kwargs)
            own = Context.from_env()
            with closing(own.brokers):
                return self._function(own, *args, **kwargs)
        except FedstreamError as error:
            logger.error(
                "%s %s: %s", REFUSED if isinstance(error, UsageError) else FAILED, self._function.__name__, error
            )
            raise


def step(function: Callable[Concatenate[Context, P], R]) -> Step[P, R]:
    """Turn a function whose first parameter is a Context into a step."""
    return Step(function)
