"""Runs last: removing kustomize/local leaves nothing in the cluster."""

from support.kubernetes_api import items, until
from support.local_overlay import remove

CLUSTER_WIDE = (
    "clusterroles,clusterrolebindings,customresourcedefinitions,namespaces,storageclasses,"
    "validatingwebhookconfigurations"
)


def test_uninstalling_leaves_nothing(overlay) -> None:
    assert _volumes(overlay.namespace)

    remove()

    until("volumes gone", lambda: not _volumes(overlay.namespace))
    assert items(CLUSTER_WIDE, "-l", "app.kubernetes.io/part-of=fedstream") == []


def _volumes(namespace: str) -> list[str]:
    claims = {volume["metadata"]["name"]: volume["spec"].get("claimRef", {}) for volume in items("persistentvolumes")}
    return [name for name, claim in claims.items() if claim.get("namespace") == namespace]
