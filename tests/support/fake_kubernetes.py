"""A fake of the Kubernetes API server: what a doctor asks, answered from objects that a test sets.

A real one is in tests/cluster.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from support.fake_kubeflow import FakeKubeflow
from support.http_server import FakeServer, Refused


class FakeKubernetes(FakeServer):
    """The server.

    Attributes:
        objects: path below /api/v1 -> object or list.
        forbidden: `verb resource` that the caller may not use.
        pod_status: what becomes of the next pod; a list: one after another, the last stays.
        log: of every container.
        pods: made, in order.
        deleted: names of the pods that were deleted.
        kubeflow: Kubeflow Pipelines behind the proxy: a fake of it, or else its answer; a pair is an HTTP status and a
            message.
        workflows: ids of the runs that have one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, Any] = {}
        self.forbidden: set[str] = set()
        self.pod_status: list[dict[str, Any]] = []
        self.log = ""
        self.pods: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.kubeflow: Any = {"tag_name": "2.17.0", "multi_user": False}
        self.workflows: set[str] = set()

    def kubeconfig(self, folder: Path) -> Path:
        """Write a kubeconfig that leads here, and return its path."""
        path = folder / "kubeconfig"
        named = {"name": "fake"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [named | {"cluster": {"server": self.url}}],
            "users": [named | {"user": {"token": "kube-token"}}],
            "contexts": [named | {"context": {"cluster": "fake", "user": "fake"}}],
        }
        path.write_text(json.dumps(config))
        return path

    def put_config_map(self, namespace: str, name: str, **values: str) -> None:
        self.objects[f"namespaces/{namespace}/configmaps/{name}"] = {"metadata": {"name": name}, "data": values}

    def put_secret(self, namespace: str, name: str, **values: str) -> None:
        data = {key.replace("__", "."): base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self.objects[f"namespaces/{namespace}/secrets/{name}"] = {"metadata": {"name": name}, "data": data}

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        if path == "/version/":
            return dict.fromkeys(
                ("major", "minor", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), ""
            ) | {"gitVersion": "v1.36.3"}
        if path.endswith("selfsubjectaccessreviews"):
            wanted = json.loads(body)["spec"]["resourceAttributes"]
            return {"spec": {}, "status": {"allowed": f"{wanted['verb']} {wanted['resource']}" not in self.forbidden}}
        if "/services/ml-pipeline:8888/proxy/" in path:
            if isinstance(self.kubeflow, FakeKubeflow):
                return self.kubeflow.answer(method, path.split("/proxy", 1)[1], query, body)
            if isinstance(self.kubeflow, tuple):
                raise Refused(*self.kubeflow)
            return self.kubeflow
        if path.startswith("/apis/argoproj.io/v1alpha1/namespaces/"):
            self._allow("get", "workflows")
            return {
                "items": [
                    {"metadata": {"name": run}}
                    for run in self.workflows
                    if query["labelSelector"] == f"pipeline/runid={run}"
                ]
            }
        return self._core(method, path.removeprefix("/api/v1/"), query, body)

    def _allow(self, verb: str, kind: str) -> None:
        if f"{verb} {kind}" in self.forbidden:
            raise Refused(403, f'{kind} is forbidden: User "ann" cannot {verb} resource "{kind}"')

    def _core(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        kind = path.split("/")[-2] if "/" in path and not path.endswith("/pods") else path.split("/")[-1]
        self._allow(method.lower(), kind)
        if method == "POST" and path.endswith("/pods"):
            self.pods.append(json.loads(body))
            return self.pods[-1]
        if path.endswith("/log"):
            return self.log
        if "/pods/" in path:
            return self._pod(method, path.split("/")[-1])
        if path in ("nodes", "pods"):
            return {"items": self.objects.get(path, [])}
        if path.endswith("/pods"):
            phase = query.get("fieldSelector", "").removeprefix("status.phase=")
            return {"items": [pod for pod in self.objects.get(path, []) if phase in ("", pod["status"]["phase"])]}
        if path not in self.objects:
            raise Refused(404, f'{path.split("/")[-2]} "{path.split("/")[-1]}" not found')
        return self.objects[path]

    def _pod(self, method: str, name: str) -> Any:
        pod = next((pod for pod in self.pods if pod["metadata"]["name"] == name), None)
        if pod is None:
            raise Refused(404, f'pods "{name}" not found')
        if method == "DELETE":
            self.deleted.append(name)
            return pod
        status = self.pod_status.pop(0) if len(self.pod_status) > 1 else self.pod_status[0]
        return pod | {"spec": pod["spec"] | {"nodeName": "n1"}, "status": status}


def container(name: str, *, waiting: tuple[str, str] | None = None, code: int | None = None) -> dict[str, Any]:
    """Return a container's status: it waits for a reason, or has ended with a code, or runs."""
    if waiting:
        state: dict[str, Any] = {"waiting": {"reason": waiting[0], "message": waiting[1]}}
    elif code is not None:
        state = {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}}
    else:
        state = {"running": {}}
    return {
        "name": name,
        "state": state,
        "image": "",
        "imageID": "" if waiting else "sha256:1",
        "ready": False,
        "restartCount": 0,
    }


def node(
    name: str,
    *,
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    ready: bool = True,
    **resources: str,
) -> dict[str, Any]:
    """Return a node; resources are written with `__` for `/`, `_d_` for a dot and `_h_` for a hyphen."""
    offered = {
        key.replace("__", "/").replace("_d_", ".").replace("_h_", "-"): value for key, value in resources.items()
    }
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"taints": taints or []},
        "status": {
            "allocatable": {"cpu": "4"} | offered,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }
