"""Set up a notebook: servers, quiet logs, and errors in one line."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from fedstream.errors import FedstreamError
from fedstream.local.platform import Platform


def start() -> None:
    """Use the Kafka and the store in the environment, or start embedded ones that end with the notebook's kernel.

    Steps log their actions at level INFO of the logger `fedstream`; from now on, only errors are shown. A notebook
    shows a FedstreamError as the command line does: one line that says what to do, instead of a traceback.

    Raises:
        PlatformError: A server does not start.
    """
    errors_in_a_line()
    logging.basicConfig(level=logging.ERROR)
    platform = Platform()
    platform.start(bound=True)
    os.environ.update(platform.env)


def errors_in_a_line() -> None:
    """Show a FedstreamError in a notebook as one line; do nothing outside notebooks.

    The cell still fails, and the cells after it do not run.
    """
    interactive = sys.modules.get("IPython")
    if interactive and (shell := interactive.get_ipython()):
        shell.set_custom_exc((FedstreamError,), _tell)


def _tell(
    shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: int | None = None
) -> None:
    print(f"error: {error}", file=sys.stderr)
