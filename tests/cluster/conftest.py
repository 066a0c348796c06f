"""The cluster of the current kubectl context, with kustomize/local applied to it from nothing. `make test-cluster` prepares one."""

from collections.abc import Iterator

import pytest
from support.local_overlay import LocalOverlay, install, remove


@pytest.fixture(scope="session")
def overlay() -> Iterator[LocalOverlay]:
    """Apply kustomize/local once, and remove it at the end."""
    remove()
    yield install()
    remove()
