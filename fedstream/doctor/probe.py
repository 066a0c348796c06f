"""A short-lived pod that pulls the images, and runs `fedstream doctor` in the slim one to check Kafka and the store."""

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
"""Seconds between polls of the pod."""

STUCK = (
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)
"""Reasons for which a container waits forever.

ErrImagePull is not among them: it can be temporary, and becomes ImagePullBackOff otherwise.
"""

NOT_PULLED = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull")

DOCTOR = "doctor"
"""The container that checks Kafka and the store."""

IMAGE, INSIDE = PARTS = ("image", "inside the cluster")
"""The parts of this check, each of which can be skipped."""

ACCOUNTS = ("pipeline-runner", "default-editor")
"""Service accounts of the pipeline's pods, without and with profiles; they provide the image pull secrets."""


@dataclass(frozen=True)
class Probe:
    """A pod that checks the cluster from inside.

    Attributes:
        client: Client of the Kubernetes API.
        namespace: Namespace of the pod.
        images: Images to pull.
        package: The compiled pipeline, which defines the ConfigMap and Secrets of the steps.
        names: Form value -> name of the ConfigMap or Secret.
        parts: The parts of PARTS to check.
    """

    client: ApiClient
    namespace: str
    images: tuple[str, ...]
    package: Package
    names: dict[str, str]
    parts: tuple[str, ...] = PARTS

    def run(self, until: float) -> list[Finding]:
        """Start the pod, wait for it until `until` on the monotonic clock, delete it, and return its findings.

        Raises:
            ClusterError: The pod cannot be created.
        """
        with self._pod(max(1, int(until - time.monotonic()))) as name:
            pod = self._wait(name, until)
            pulled = [self._image(pod, image, index) for index, image in self._pulled] if IMAGE in self.parts else []
            return pulled + (self._inside(pod) if INSIDE in self.parts else [])

    @contextmanager
    def _pod(self, seconds: int) -> Iterator[str]:
        """Start the pod and always delete it; if this process is killed, the pod ends at its own deadline."""
        from kubernetes.client import CoreV1Api

        api, name = CoreV1Api(self.client), f"fedstream-doctor-{secrets.token_hex(4)}"
        try:
            with explained(self.client, f"create a pod in namespace {self.namespace!r}"):
                api.create_namespaced_pod(
                    self.namespace, self.manifest(name, self._account(), seconds), _request_timeout=TIMEOUT
                )
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
            if (len(statuses) == len(self._pulled) and all(map(_decided, statuses))) or pod.status.phase in (
                "Succeeded",
                "Failed",
            ):
                return pod
            if time.monotonic() >= until:
                return pod
            time.sleep(POLL_S)

    def _image(self, pod: V1Pod, image: str, index: int) -> Finding:
        """Return whether an image was pulled."""
        check = f"{IMAGE} {image}"
        status = next(
            (status for status in pod.status.container_statuses or [] if status.name == self._container(index)), None
        )
        waiting = status.state.waiting if status and status.state else None
        if waiting and waiting.reason in NOT_PULLED:
            said = " ".join(str(waiting.message or "").split())
            advice = "push the image, or add its registry's pull secret to the service account"
            return Finding(check, "fault", f"cannot be pulled ({waiting.reason}: {said}); {advice}")
        if status and (status.image_id or (status.state and (status.state.running or status.state.terminated))):
            return Finding(check, "ok", f"pulled on node {pod.spec.node_name}")
        if waiting and waiting.reason in STUCK:
            return Finding(
                check, "ok", f"pulled on node {pod.spec.node_name}, but its container does not start: {waiting.reason}"
            )
        if reason := unscheduled(pod):
            return Finding(check, "fault", f"the pod that pulls it cannot be scheduled: {reason}")
        return Finding(
            check,
            "fault",
            "was not pulled within the time limit; large images take minutes: increase --deadline, "
            "or check the node's network",
        )

    def _inside(self, pod: V1Pod) -> list[Finding]:
        """Return the findings of `fedstream doctor` in the pod about Kafka and the store."""
        status = next((status for status in pod.status.container_statuses or [] if status.name == DOCTOR), None)
        state = status.state if status else None
        if not state or not state.terminated:
            if state and state.waiting and state.waiting.reason in STUCK and state.waiting.reason not in NOT_PULLED:
                said = " ".join(str(state.waiting.message or "").split())
                return [
                    Finding(
                        INSIDE,
                        "fault",
                        f"the pod does not start ({state.waiting.reason}: {said}); create what it is missing",
                    )
                ]
            return [Finding(INSIDE, "skipped", "requires that the image can be pulled and run within the time limit")]
        log = self._log(pod.metadata.name)
        try:
            found = json.loads(log[log.index("[") :])
            return [
                Finding(f"{INSIDE}, {entry['check']}", entry["state"], entry["text"])
                for entry in found
                if _from_inside(entry["check"])
            ]
        except (ValueError, KeyError, TypeError):
            last = " ".join(log.split())[-300:] or f"exit code {state.terminated.exit_code}, {state.terminated.reason}"
            text = (
                f"`fedstream doctor` failed in {self.images[self._doctor]} ({last}); "
                "build and push the images of this version"
            )
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
        """Index of the image that runs the doctor: the slim one, by its name."""
        return next((index for index, image in enumerate(self.images) if "slim" in image), 0)

    @property
    def _pulled(self) -> list[tuple[int, str]]:
        """Index and name of each image of the pod; only the doctor's if the images are not checked."""
        return [
            (index, image) for index, image in enumerate(self.images) if IMAGE in self.parts or index == self._doctor
        ]

    def _container(self, index: int) -> str:
        return DOCTOR if index == self._doctor else f"image-{index}"

    def manifest(self, name: str, account: str, seconds: int) -> dict[str, Any]:
        """Return the pod's manifest, which meets the restricted Pod Security Standard and is configured as a step."""
        volumes, mounts = [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}], [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
        for index, source in enumerate(source for source in self.package.sources if source.mount_path):
            volumes.append(
                {
                    "name": f"files-{index}",
                    source.kind: self._volume(source.kind, self.names[source.parameter], source.optional),
                }
            )
            mounts.append({"name": f"files-{index}", "mountPath": source.mount_path, "readOnly": True})  # type: ignore[dict-item]
        pod = {
            "restartPolicy": "Never",
            "serviceAccountName": account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "activeDeadlineSeconds": seconds,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
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
            "env": [variable for source in self.package.sources for variable in self._variables(source)]
            if looks
            else [],
            "volumeMounts": mounts if looks else mounts[:1],
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
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
    """Return whether a container has ended or will never start."""
    waiting = status.state.waiting if status.state else None
    return bool((status.state and status.state.terminated) or (waiting and waiting.reason in STUCK))


def _from_inside(check: str) -> bool:
    """Return whether a check is relevant in a pod; the checks of the embedded platform are not."""
    return check.startswith(("kafka", "store"))
