"""What the components share: their images, which are read when a pipeline is compiled."""

import os
from collections.abc import Callable
from typing import Any

from kfp import dsl

TRAIN_IMAGE = os.environ.get("FEDSTREAM_IMAGE", "localhost:5000/fedstream-python:0.1.0")
"""Image of the steps that may load TensorFlow. Its name must contain "python", or KFP's local runner warns."""

SLIM_IMAGE = os.environ.get("FEDSTREAM_SLIM_IMAGE", "localhost:5000/fedstream-python-slim:0.1.0")
"""Image of the steps that never load TensorFlow."""


def step(image: str) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator that turns a function into a component.

    The image contains fedstream and kfp, so a task installs nothing at run time.
    """
    decorator: Callable[[Callable[..., Any]], Any] = dsl.component(base_image=image, install_kfp_package=False)
    return decorator
