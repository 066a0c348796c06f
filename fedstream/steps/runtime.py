"""What a step does around its work: log lines that show up in a pod's log, and one clear line when it fails."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar

from fedstream.errors import FedstreamError, UsageError
from fedstream.steps.context import Context

P = ParamSpec("P")
R = TypeVar("R")

FAILED, REFUSED = "step failed:", "step refused:"
"""What a runner looks for in a log to find the cause of a failure, and to tell a value that cannot be from a failed run."""


class MetricsArtifact(Protocol):
    """What KFP's Metrics artifact offers."""

    def log_metric(self, metric: str, value: float) -> None: ...


class Step(Generic[P, R]):
    """A step of a run. Called, it works in the world that the environment names; `within` names another.

    Its logs go to standard output, unless the process has set up logging itself.
    """

    def __init__(self, function: Callable[Concatenate[Context, P], R]) -> None:
        functools.update_wrapper(self, function)
        signature = inspect.signature(function)
        self.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
        self._function = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(None, *args, **kwargs)

    def within(self, context: Context, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the step in this context."""
        return self._run(context, *args, **kwargs)

    def _run(self, context: Context | None, *args: P.args, **kwargs: P.kwargs) -> R:
        logger = logging.getLogger("fedstream")
        if not logging.root.handlers and not logger.handlers:
            handler = logging.StreamHandler(sys.stdout)
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
        try:
            return self._function(context or Context.from_env(), *args, **kwargs)
        except FedstreamError as error:
            logger.error(
                "%s %s: %s", REFUSED if isinstance(error, UsageError) else FAILED, self._function.__name__, error
            )
            raise


def step(function: Callable[Concatenate[Context, P], R]) -> Step[P, R]:
    """Make a step of a function that takes a Context first."""
    return Step(function)
