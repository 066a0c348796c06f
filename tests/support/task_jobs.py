"""A task of the compiled pipeline as a Kubernetes Job, as KFP's backend would make its pod.

The image, command, environment, secrets and placement are the same. The backend's launcher would hand over the
arguments and store the outputs; here the arguments and the termination message do so.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

YAML = Path(__file__).parents[2] / "pipelines" / "federated_training" / "pipeline.yaml"
OUTPUTS = "/dev/termination-log"
RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


class CompiledTasks:
    """The tasks of the compiled pipeline, by component name such as `local-train`."""

    def __init__(self) -> None:
        self.pipeline, self.platform = yaml.safe_load_all(YAML.read_text())
        parameters = self.pipeline["root"]["inputDefinitions"]["parameters"]
        self.form = {name: parameter.get("defaultValue") for name, parameter in parameters.items()}

    def job(
        self, name: str, task: str, arguments: dict[str, Any], placement: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the manifest of a Job that runs a task once.

        Args:
            name: of the Job.
            task: component name.
            arguments: values of its parameters.
            placement: outputs of ingest_from_kafka, for local_train; or what the nested pipeline was given, for a task
                within.
        """
        container = self.pipeline["deploymentSpec"]["executors"][f"exec-{task}"]["container"]
        kubernetes = self.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][f"exec-{task}"]
        where = placement or {}
        args = [
            json.dumps(self._executor_input(task, arguments)) if text == "{{$}}" else text for text in container["args"]
        ]
        names = self.form | where
        volumes, mounts = self._volumes(kubernetes, names)
        pod = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "serviceAccountName": "fedstream",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "nodeSelector": where.get("node_selector", {}),
            "tolerations": where.get("tolerations", []),
            "volumes": volumes,
            "containers": [
                {
                    "name": "main",
                    "image": container["image"],
                    "command": container["command"],
                    "args": args,
                    "env": self._environment(kubernetes, names),
                    "volumeMounts": mounts,
                    "securityContext": RESTRICTED | kubernetes["securityContext"],
                    "resources": _resources(container["resources"], names),
                }
            ],
        }
        spec = {
            "backoffLimit": 3,
            "activeDeadlineSeconds": 300,
            "template": {"metadata": kubernetes["podMetadata"], "spec": pod},
        }
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "labels": {"chain": "yes"}},
            "spec": spec,
        }

    def _executor_input(self, task: str, arguments: dict[str, Any]) -> dict[str, Any]:
        outputs = self.pipeline["components"][f"comp-{task}"].get("outputDefinitions", {})
        artifacts = {
            name: {
                "artifacts": [
                    {
                        "name": name,
                        "type": {"schemaTitle": what["artifactType"]["schemaTitle"]},
                        "uri": f"/tmp/artifacts/{name}",
                        "metadata": {},
                    }
                ]
            }
            for name, what in outputs.get("artifacts", {}).items()
        }
        parameters = {name: {"outputFile": f"/tmp/parameters/{name}"} for name in outputs.get("parameters", {})}
        return {
            "inputs": {"parameterValues": arguments},
            "outputs": {"parameters": parameters, "artifacts": artifacts, "outputFile": OUTPUTS},
        }

    def _environment(self, kubernetes: dict[str, Any], names: dict[str, Any]) -> list[dict[str, Any]]:
        env = []
        for source in kubernetes["configMapAsEnv"]:
            name, optional = _name(source["configMapNameParameter"], names), source["optional"]
            env += [
                {
                    "name": key["envVar"],
                    "valueFrom": {"configMapKeyRef": {"name": name, "key": key["configMapKey"], "optional": optional}},
                }
                for key in source["keyToEnv"]
            ]
        for source in kubernetes["secretAsEnv"]:
            name, optional = _name(source["secretNameParameter"], names), source["optional"]
            env += [
                {
                    "name": key["envVar"],
                    "valueFrom": {"secretKeyRef": {"name": name, "key": key["secretKey"], "optional": optional}},
                }
                for key in source["keyToEnv"]
            ]
        return env

    def _volumes(
        self, kubernetes: dict[str, Any], names: dict[str, Any]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
        mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]
        for number, source in enumerate(kubernetes.get("secretAsVolume", [])):
            secret = {"secretName": _name(source["secretNameParameter"], names), "optional": source["optional"]}
            volumes.append({"name": f"secret-{number}", "secret": secret})
            mounts.append({"name": f"secret-{number}", "mountPath": source["mountPath"], "readOnly": True})
        return volumes, mounts


def _name(reference: dict[str, Any], names: dict[str, Any]) -> str:
    if output := reference.get("taskOutputParameter"):
        return str(names[output["outputParameterKey"]])
    return str(names[reference["componentInputParameter"].removeprefix("pipelinechannel--")])


def _resources(compiled: dict[str, Any], values: dict[str, Any]) -> dict[str, dict[str, str]]:
    def value(text: str) -> str:
        """Put in a parameter's value: {{$.inputs.parameters['pipelinechannel--ingest-from-kafka-gpu_type']}} is
        gpu_type.
        """
        found = re.fullmatch(r"\{\{\$\.inputs\.parameters\['pipelinechannel--(?:ingest-from-kafka-)?(\w+)'\]\}\}", text)
        return str(values.get(found[1], "")) if found else text

    limits = {
        kind: value(compiled[key])
        for kind, key in (("cpu", "resourceCpuLimit"), ("memory", "resourceMemoryLimit"))
        if key in compiled
    }
    requests = {
        kind: value(compiled[key])
        for kind, key in (("cpu", "resourceCpuRequest"), ("memory", "resourceMemoryRequest"))
        if key in compiled
    }
    accelerator = compiled.get("accelerator")
    if accelerator and value(accelerator["resourceType"]):
        limits[value(accelerator["resourceType"])] = value(accelerator["resourceCount"])
    return {"limits": limits, "requests": requests}


def outputs_of(termination_message: str) -> dict[str, Any]:
    """Return a task's output parameters by name."""
    return json.loads(termination_message).get("parameterValues", {})
