"""Set up a notebook: servers, quiet logs, and errors in a line."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from fedstream.errors import FedstreamError
from fedstream.local.platform import Platform


def start() -> None:
    """Use the Kafka and the store that the environment names, or start embedded ones, which end with the notebook's kernel.

    Steps say what they do at level INFO of the logger `fedstream`; from here on only errors are shown. In a notebook, what goes wrong is told as the
    command line tells it: one line that says what to do, instead of a traceback.

    Raises:
        PlatformError: a server does not start.
    """
    errors_in_a_line()
    logging.basicConfig(level=logging.ERROR)
    platform = Platform()
    platform.start(bound=True)
    os.environ.update(platform.env)


def errors_in_a_line() -> None:
    """Show a FedstreamError in a notebook as one line; its cell fails all the same, and those after it do not run. Elsewhere, do nothing."""
    interactive = sys.modules.get("IPython")
    if interactive and (shell := interactive.get_ipython()):
        shell.set_custom_exc((FedstreamError,), _tell)


def _tell(shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: int | None = None) -> None:
    print(f"error: {error}", file=sys.stderr)
