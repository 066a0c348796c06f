"""Set up a notebook: servers and quiet logs."""

from __future__ import annotations

import logging
import os

from fedstream.local.platform import Platform


def start() -> None:
    """Use the Kafka and the store that the environment names, or start embedded ones, which end with the notebook's kernel.

    Steps say what they do at level INFO of the logger `fedstream`; from here on only errors are shown.

    Raises:
        PlatformError: a server does not start.
    """
    logging.basicConfig(level=logging.ERROR)
    platform = Platform()
    platform.start(bound=True)
    os.environ.update(platform.env)
