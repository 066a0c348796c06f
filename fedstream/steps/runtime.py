"""What a step does around its work: log lines that show up in a pod's log, and one clear line when it fails."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from fedstream.errors import FedstreamError, UsageError

P = ParamSpec("P")
R = TypeVar("R")

FAILED, REFUSED = "step failed:", "step refused:"
"""What a runner looks for in a log to find the cause of a failure, and to tell a value that cannot be from a failed run."""


class MetricsArtifact(Protocol):
    """What KFP's Metrics artifact offers."""

    def log_metric(self, metric: str, value: float) -> None: ...


def step(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function a step: its logs go to standard output, unless the process has set up logging itself."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        logger = logging.getLogger("fedstream")
        if not logging.root.handlers and not logger.handlers:
            handler = logging.StreamHandler(sys.stdout)
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
        try:
            return function(*args, **kwargs)
        except FedstreamError as error:
            logger.error("%s %s: %s", REFUSED if isinstance(error, UsageError) else FAILED, function.__name__, error)
            raise

    return run
