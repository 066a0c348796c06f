"""Runs last: removing kustomize/local leaves nothing in the cluster."""

from support.kubernetes_api import get, until
from support.local_overlay import remove

CLUSTER_WIDE = "clusterroles,clusterrolebindings,customresourcedefinitions,namespaces,storageclasses,validatingwebhookconfigurations"


def test_uninstalling_leaves_nothing(overlay) -> None:
    assert _volumes(overlay.namespace)

    remove()

    until("volumes gone", lambda: not _volumes(overlay.namespace))
    assert get(CLUSTER_WIDE, "-l", "app.kubernetes.io/part-of=fedstream")["items"] == []


def _volumes(namespace: str) -> list[str]:
    return [volume["metadata"]["name"] for volume in get("persistentvolumes")["items"] if volume["spec"]["claimRef"]["namespace"] == namespace]
