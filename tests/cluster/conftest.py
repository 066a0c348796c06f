"""The cluster of the current kubectl context, with kustomize/local applied to it from nothing.

`make test-cluster` prepares one.
"""

from collections.abc import Iterator

import pytest
from support.kubernetes_api import kubectl
from support.local_overlay import NAMESPACE, LocalOverlay, install, remove


@pytest.fixture(scope="session")
def overlay(request: pytest.FixtureRequest) -> Iterator[LocalOverlay]:
    """Apply kustomize/local once, and remove it at the end."""
    remove()
    yield install()
    if request.session.testsfailed:
        print(kubectl("-n", NAMESPACE, "get", "pods,events", "--sort-by=.metadata.creationTimestamp", check=False))
    remove()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow for images that a node pulls for the first time."""
    for item in items:
        item.add_marker(pytest.mark.timeout(900))
