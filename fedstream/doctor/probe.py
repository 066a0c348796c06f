"""One short-lived pod that pulls the images, and in the slim one asks `fedstream doctor` what Kafka and the store look like from inside."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedstream.doctor.checks import Finding
from fedstream.errors import ClusterError
from fedstream.kubeflow.causes import unscheduled
from fedstream.kubeflow.kube import TIMEOUT, explained
from fedstream.kubeflow.package import Package

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, V1ContainerStatus, V1Pod

POLL_S = 0.5
"""Seconds between looks at the pod."""

STUCK = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError", "RunContainerError")
"""Why a container waits without hope; ErrImagePull alone may be a hiccup, and becomes ImagePullBackOff if it is none."""

NOT_PULLED = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull")

DOCTOR = "doctor"
"""The container that looks at Kafka and the store."""

IMAGE, INSIDE = PARTS = ("image", "inside the cluster")
"""What the pod finds out, each of which may be left out."""

ACCOUNTS = ("pipeline-runner", "default-editor")
"""Service accounts of the pipeline's pods, without and with profiles: they bring the secrets that images are pulled with."""


@dataclass(frozen=True)
class Probe:
    """What the pod tries.

    Attributes:
        client: of the Kubernetes API.
        namespace: where it runs.
        images: to pull.
        package: says which config map and secrets the steps take.
        names: form value -> name of the config map or secret.
        parts: what is wanted of PARTS.
    """

    client: ApiClient
    namespace: str
    images: tuple[str, ...]
    package: Package
    names: dict[str, str]
    parts: tuple[str, ...] = PARTS

    def run(self, until: float) -> list[Finding]:
        """Start the pod, wait for it until a time by the monotonic clock, remove it, and return what it found.

        Raises:
            ClusterError: it cannot be started.
        """
        with self._pod(max(1, int(until - time.monotonic()))) as name:
            pod = self._wait(name, until)
            pulled = [self._image(pod, image, index) for index, image in self._pulled] if IMAGE in self.parts else []
            return pulled + (self._inside(pod) if INSIDE in self.parts else [])

    @contextmanager
    def _pod(self, seconds: int) -> Iterator[str]:
        """Start the pod, and remove it whatever happens; should this process be killed, the pod ends by its own deadline."""
        from kubernetes.client import CoreV1Api

        api, name = CoreV1Api(self.client), f"fedstream-doctor-{secrets.token_hex(4)}"
        try:
            with explained(self.client, f"create a pod in namespace {self.namespace!r}"):
                api.create_namespaced_pod(self.namespace, self.manifest(name, self._account(), seconds), _request_timeout=TIMEOUT)
            yield name
        finally:
            with suppress(ClusterError), explained(self.client, f"delete pod {name}"):
                api.delete_namespaced_pod(name, self.namespace, grace_period_seconds=0, _request_timeout=TIMEOUT)

    def _account(self) -> str:
        from kubernetes.client import CoreV1Api

        for name in ACCOUNTS:
            with suppress(ClusterError), explained(self.client, f"read service account {name!r}"):
                CoreV1Api(self.client).read_namespaced_service_account(name, self.namespace, _request_timeout=TIMEOUT)
                return name
        return "default"

    def _wait(self, name: str, until: float) -> V1Pod:
        from kubernetes.client import CoreV1Api

        while True:
            with explained(self.client, f"read pod {name}"):
                pod = CoreV1Api(self.client).read_namespaced_pod(name, self.namespace, _request_timeout=TIMEOUT)
            statuses = pod.status.container_statuses or []
            if (len(statuses) == len(self._pulled) and all(map(_decided, statuses))) or pod.status.phase in ("Succeeded", "Failed"):
                return pod
            if time.monotonic() >= until:
                return pod
            time.sleep(POLL_S)

    def _image(self, pod: V1Pod, image: str, index: int) -> Finding:
        """Say whether an image was pulled."""
        check = f"{IMAGE} {image}"
        status = next((status for status in pod.status.container_statuses or [] if status.name == self._container(index)), None)
        waiting = status.state.waiting if status and status.state else None
        if waiting and waiting.reason in NOT_PULLED:
            said = " ".join(str(waiting.message or "").split())
            advice = "push it there, or make its registry's pull secret known to the service account"
            return Finding(check, "fault", f"cannot be pulled ({waiting.reason}: {said}); {advice}")
        if status and (status.image_id or (status.state and (status.state.running or status.state.terminated))):
            return Finding(check, "ok", f"pulled on node {pod.spec.node_name}")
        if waiting and waiting.reason in STUCK:
            return Finding(check, "ok", f"pulled on node {pod.spec.node_name}; its container does not start: {waiting.reason}")
        if reason := unscheduled(pod):
            return Finding(check, "fault", f"no node takes the pod that pulls it: {reason}")
        return Finding(
            check, "fault", "is not pulled when time is up; large ones take minutes: give more with --deadline, or look at the node's network"
        )

    def _inside(self, pod: V1Pod) -> list[Finding]:
        """Return what `fedstream doctor` in the pod has found about Kafka and the store."""
        status = next((status for status in pod.status.container_statuses or [] if status.name == DOCTOR), None)
        state = status.state if status else None
        if not state or not state.terminated:
            if state and state.waiting and state.waiting.reason in STUCK and state.waiting.reason not in NOT_PULLED:
                said = " ".join(str(state.waiting.message or "").split())
                return [Finding(INSIDE, "fault", f"the pod does not start ({state.waiting.reason}: {said}); make what it names")]
            return [Finding(INSIDE, "skipped", "tells nothing before the image works and time is enough")]
        log = self._log(pod.metadata.name)
        try:
            found = json.loads(log[log.index("[") :])
            return [Finding(f"{INSIDE}, {entry['check']}", entry["state"], entry["text"]) for entry in found if _from_inside(entry["check"])]
        except (ValueError, KeyError, TypeError):
            last = " ".join(log.split())[-300:] or f"exit code {state.terminated.exit_code}, {state.terminated.reason}"
            text = f"`fedstream doctor` does not run in {self.images[self._doctor]} ({last}); build and push the images of this version"
            return [Finding(INSIDE, "fault", text)]

    def _log(self, name: str) -> str:
        from kubernetes.client import CoreV1Api

        with explained(self.client, f"read the log of pod {name}"):
            answer = CoreV1Api(self.client).read_namespaced_pod_log(
                name, self.namespace, container=DOCTOR, _preload_content=False, _request_timeout=TIMEOUT
            )
        return str(answer.data.decode("utf-8", "replace"))

    @property
    def _doctor(self) -> int:
        """Number of the image that runs the doctor: the smallest one, by its name."""
        return next((index for index, image in enumerate(self.images) if "slim" in image), 0)

    @property
    def _pulled(self) -> list[tuple[int, str]]:
        """Number and name of each image of the pod: to look inside, one is enough."""
        return [(index, image) for index, image in enumerate(self.images) if IMAGE in self.parts or index == self._doctor]

    def _container(self, index: int) -> str:
        return DOCTOR if index == self._doctor else f"image-{index}"

    def manifest(self, name: str, account: str, seconds: int) -> dict[str, Any]:
        """Return the pod: it meets the restricted pod security standard, and has the config map and secrets of a step."""
        volumes, mounts = [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}], [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
        for index, source in enumerate(source for source in self.package.sources if source.mount_path):
            volumes.append({"name": f"files-{index}", source.kind: self._volume(source.kind, self.names[source.parameter], source.optional)})
            mounts.append({"name": f"files-{index}", "mountPath": source.mount_path, "readOnly": True})  # type: ignore[dict-item]
        pod = {
            "restartPolicy": "Never",
            "serviceAccountName": account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "activeDeadlineSeconds": seconds,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [self._container_of(index, image, mounts) for index, image in self._pulled],
            "volumes": volumes,
        }
        labels = {"app.kubernetes.io/name": "fedstream-doctor"}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": pod}

    def _container_of(self, index: int, image: str, mounts: list[Any]) -> dict[str, Any]:
        looks = index == self._doctor and INSIDE in self.parts
        return {
            "name": self._container(index),
            "image": image,
            "command": ["fedstream", "doctor", "--json"] if looks else ["fedstream", "--version"],
            "env": [variable for source in self.package.sources for variable in self._variables(source)] if looks else [],
            "volumeMounts": mounts if looks else mounts[:1],
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
            "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        }

    def _variables(self, source: Any) -> list[dict[str, Any]]:
        name = self.names[source.parameter]
        reference = f"{source.kind}KeyRef"
        return [
            {"name": variable, "valueFrom": {reference: {"name": name, "key": key, "optional": source.optional}}}
            for key, variable in source.keys.items()
        ]

    def _volume(self, kind: str, name: str, optional: bool) -> dict[str, Any]:
        return {"secretName" if kind == "secret" else "name": name, "optional": optional}


def _decided(status: V1ContainerStatus) -> bool:
    """Tell whether a container has ended or will never start."""
    waiting = status.state.waiting if status.state else None
    return bool((status.state and status.state.terminated) or (waiting and waiting.reason in STUCK))


def _from_inside(check: str) -> bool:
    """Tell whether a check means something in a pod: what a laptop needs does not."""
    return check.startswith(("kafka", "store"))
