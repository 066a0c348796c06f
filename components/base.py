"""What the components share: their images, read when a pipeline is compiled."""

import os
from collections.abc import Callable
from typing import Any

from kfp import dsl

TRAIN_IMAGE = os.environ.get("FEDSTREAM_IMAGE", "localhost:5000/fedstream-python:0.1.0")
"""Image of the steps that may load TensorFlow. Its name must contain "python", or KFP's local runner warns."""

SLIM_IMAGE = os.environ.get("FEDSTREAM_SLIM_IMAGE", "localhost:5000/fedstream-python-slim:0.1.0")
"""Image of the steps that never do."""


def step(image: str) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator that makes a component of a function; fedstream and kfp are in the image, so nothing is installed at run time."""
    decorator: Callable[[Callable[..., Any]], Any] = dsl.component(base_image=image, install_kfp_package=False)
    return decorator
