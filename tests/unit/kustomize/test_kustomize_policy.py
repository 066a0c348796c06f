"""What every object of every overlay must keep to, read from the rendered YAML; no cluster is asked."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Any

import pytest
from support.rendering import (
    FOLDER,
    OVERLAYS,
    Objects,
    labels_of_pods,
    named,
    of_kind,
    pod_of,
    render,
    rendered,
    variants,
    workloads,
)

KUBEFLOW = ("local-kubeflow", "local-secure-kubeflow", "existing", "git")
NAMESPACES = dict.fromkeys((*OVERLAYS, *variants()), "kafkaml") | dict.fromkeys(KUBEFLOW, "kubeflow")
SECRETS_OF_PEOPLE = {"kafka-tls", "kafka-admin", "kafka-users", "fedstream-kafka", "store-users"}
"""Made by make-secrets, or otherwise; README.md names them."""
KUBERNETES = "1.36"


@pytest.fixture(params=(*OVERLAYS, *variants()))
def overlay(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def objects(overlay: str) -> Objects:
    return rendered(overlay)


def containers(objects: Objects) -> list[tuple[str, dict[str, Any]]]:
    pods = [(workload["metadata"]["name"], pod_of(workload)) for workload in workloads(objects)]
    return [
        (name, container) for name, pod in pods for container in [*pod.get("initContainers", []), *pod["containers"]]
    ]


def test_every_component_is_rendered_somewhere() -> None:
    texts = [*variants().values(), *((FOLDER / overlay / "kustomization.yaml").read_text() for overlay in OVERLAYS)]
    used = set(re.findall(r"^[^#\n]*components/([\w-]+)", "\n".join(texts).replace(", ", "\n"), re.MULTILINE))
    assert used == {folder.name for folder in (FOLDER / "components").iterdir()}


def test_every_object_fits_the_schema_of_its_kind(objects: Objects) -> None:
    validator = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed; see requirements-dev.txt"
    )
    for item in objects:
        if not item["apiVersion"].startswith("pipelines.kubeflow.org/"):
            validator.validate(item, KUBERNETES, strict=True)


def test_no_two_objects_have_one_name(objects: Objects) -> None:
    names = [
        (item["apiVersion"], item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        for item in objects
    ]
    assert len(names) == len(set(names))


def test_every_object_is_in_the_namespace_of_the_overlay(overlay: str, objects: Objects) -> None:
    for item in objects:
        where = item["metadata"]["name" if item["kind"] == "Namespace" else "namespace"]
        assert where == NAMESPACES[overlay], item["metadata"]["name"]


def test_kubeflows_own_namespace_is_not_ours_to_delete(overlay: str, objects: Objects) -> None:
    assert not [item for item in of_kind(objects, "Namespace") if item["metadata"]["name"] == "kubeflow"]


def test_our_namespace_enforces_restricted_pods() -> None:
    (namespace,) = of_kind(rendered("local"), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_pods_are_restricted(objects: Objects) -> None:
    for workload in workloads(objects):
        pod, name = pod_of(workload), workload["metadata"]["name"]
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        assert not [volume for volume in pod.get("volumes", []) if "hostPath" in volume], name
    for name, container in containers(objects):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        assert context["readOnlyRootFilesystem"] is True, name
        assert not {"privileged", "runAsUser"} & context.keys(), name


def test_no_pod_gets_a_token_it_does_not_use(objects: Objects) -> None:
    off = {
        item["metadata"]["name"]
        for item in of_kind(objects, "ServiceAccount")
        if item["automountServiceAccountToken"] is False
    }
    for workload in workloads(objects):
        pod = pod_of(workload)
        assert pod.get("automountServiceAccountToken") is False or pod["serviceAccountName"] in off, workload[
            "metadata"
        ]["name"]


def test_containers_have_requests_and_limits(objects: Objects) -> None:
    for name, container in containers(objects):
        for part in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][part].keys(), f"{name}: {part}"


def test_servers_have_probes_and_jobs_end(objects: Objects) -> None:
    for workload in workloads(objects):
        name, spec = workload["metadata"]["name"], workload["spec"]
        if workload["kind"] == "Job":
            assert {"backoffLimit", "activeDeadlineSeconds"} <= spec.keys(), name
            continue
        for container in pod_of(workload)["containers"]:
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                handler = next(
                    container[probe][kind] for kind in ("httpGet", "tcpSocket", "exec") if kind in container[probe]
                )
                assert "command" in handler or handler["port"] in ports, f"{name}: {probe}"


def test_images_have_a_registry_and_a_fixed_tag(objects: Objects) -> None:
    for name, container in containers(objects):
        registry, _, rest = container["image"].partition("/")
        assert re.search(r"[.:]", registry), f"{name}: {container['image']} names no registry"
        assert re.search(r":[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?$", rest), (
            f"{name}: {container['image']} has no fixed tag"
        )


def test_mounts_name_volumes_that_are_there(objects: Objects) -> None:
    for workload in workloads(objects):
        pod = pod_of(workload)
        claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
        there = {volume["name"] for volume in pod.get("volumes", [])} | set(claims)
        for container in pod["containers"]:
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounts.keys() <= there, workload["metadata"]["name"]
            assert mounts["tmp"] == "/tmp", "with a read-only root file system, /tmp must be a volume"


def test_selectors_match_pods(objects: Objects) -> None:
    for workload in workloads(objects):
        if "selector" in workload["spec"]:
            assert (
                workload["spec"]["selector"]["matchLabels"].items()
                <= workload["spec"]["template"]["metadata"]["labels"].items()
            )
    for service in of_kind(objects, "Service"):
        matching = [
            labels for labels in labels_of_pods(objects) if service["spec"]["selector"].items() <= labels.items()
        ]
        assert len(matching) == 1, f"Service {service['metadata']['name']} selects {len(matching)} workloads"
    for policy in of_kind(objects, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]["matchLabels"]
        assert not workloads(objects) or [
            labels for labels in labels_of_pods(objects) if selector.items() <= labels.items()
        ], policy["metadata"]["name"]


def test_services_and_policies_name_ports_of_the_pods_they_select(objects: Objects) -> None:
    wanted = [
        (item["spec"]["selector"], port["targetPort"])
        for item in of_kind(objects, "Service")
        for port in item["spec"]["ports"]
    ]
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            wanted += [(policy["spec"]["podSelector"]["matchLabels"], port["port"]) for port in rule["ports"]]
    for selector, port in wanted:
        chosen = [
            workload
            for workload in workloads(objects)
            if selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        ]
        ports = {
            item["name"]
            for workload in chosen
            for container in pod_of(workload)["containers"]
            for item in container["ports"]
        }
        assert port in ports, f"{selector} has no port {port}"


def test_no_pod_accepts_connections_that_no_policy_allows(objects: Objects) -> None:
    closed = [
        policy["spec"]["podSelector"]["matchLabels"]
        for policy in of_kind(objects, "NetworkPolicy")
        if closes(policy, "Ingress")
    ]
    for labels in labels_of_pods(objects):
        assert any(selector.items() <= labels.items() for selector in closed), labels


def closes(policy: dict[str, Any], way: str) -> bool:
    return way in policy["spec"]["policyTypes"] and way.lower() not in policy["spec"]


def test_no_pod_connects_to_what_no_policy_names(objects: Objects, overlay: str) -> None:
    """Kubeflow's pods of steps have the label that the policy selects."""
    policies = [
        policy["spec"] for policy in of_kind(objects, "NetworkPolicy") if "Egress" in policy["spec"]["policyTypes"]
    ]
    for labels in [*labels_of_pods(objects), {"app.kubernetes.io/part-of": "fedstream"}]:
        assert any(policy["podSelector"]["matchLabels"].items() <= labels.items() for policy in policies), labels
    for rule in (rule for policy in policies for rule in policy["egress"]):
        ours = [
            peer
            for peer in rule["to"]
            if peer.get("podSelector", {}).get("matchLabels") == {"app.kubernetes.io/part-of": "fedstream"}
        ]
        assert rule["to"] == ours or rule["ports"]
        anywhere = [peer for peer in rule["to"] if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"]
        assert not anywhere or overlay == "existing", (
            "only where the brokers are outside, until somebody writes their addresses"
        )


def test_pods_reach_what_their_settings_name() -> None:
    """A service's pods, or a port of the policy that people edit."""
    allowed = named(rendered("existing"), "NetworkPolicy", "fedstream-outside")["spec"]["egress"]
    ports = {
        number
        for rule in allowed
        for port in rule["ports"]
        for number in range(port["port"], port.get("endPort", port["port"]) + 1)
    }
    data = named(rendered("existing"), "ConfigMap", "fedstream")["data"]
    for key in ("KAFKA_BOOTSTRAP_SERVERS", "S3_ENDPOINT_URL"):
        assert int(data[key].rpartition(":")[2]) in ports, key
    for labels in labels_of_pods(rendered("local")):
        assert labels["app.kubernetes.io/part-of"] == "fedstream"


def test_a_disruption_budget_leaves_room_for_a_drain_with_any_number_of_replicas_and_broken_pods() -> None:
    (budget,) = of_kind(rendered("infer"), "PodDisruptionBudget")
    (deployment,) = of_kind(rendered("infer"), "Deployment")
    selector = {"matchLabels": {"app.kubernetes.io/name": "infer"}}
    assert budget["spec"] == {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector}
    assert selector["matchLabels"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["replicas"] > 1


def test_a_second_model_shares_no_pod_with_the_first(tmp_path: Path) -> None:
    """A pod that two disruption budgets count cannot be evicted at all."""
    (names,) = re.findall(
        r"```yaml\n(nameSuffix:.*?)```", (FOLDER.parent / "docs/serving.md").read_text(encoding="utf-8"), re.DOTALL
    )
    component = os.path.relpath(FOLDER / "components/infer", os.path.realpath(tmp_path))
    (tmp_path / "kustomization.yaml").write_text(f"namespace: kafkaml\ncomponents: [{component}]\n{names}")
    both = rendered("infer"), render(tmp_path)
    for objects, others in (both, both[::-1]):
        (deployment,), (budget,) = of_kind(objects, "Deployment"), of_kind(objects, "PodDisruptionBudget")
        selector = budget["spec"]["selector"]["matchLabels"]
        assert deployment["spec"]["selector"]["matchLabels"] == selector
        assert [labels for labels in labels_of_pods(others) if selector.items() <= labels.items()] == []


def test_streaming_inference_is_told_its_model_and_topics_and_beats_where_its_probes_look() -> None:
    objects = rendered("infer")
    (pod,) = [pod_of(item) for item in of_kind(objects, "Deployment")]
    (container,) = pod["containers"]
    (name,) = [
        source["configMapRef"]["name"]
        for source in container["envFrom"]
        if source["configMapRef"]["name"].startswith("infer-")
    ]
    data = named(objects, "ConfigMap", name)["data"]
    asked = {argument.partition("$(")[2].removesuffix(")") for argument in container["args"] if "$(" in argument}
    assert data.keys() == asked
    assert all(data.values())
    (beat,) = [argument.partition("=")[2] for argument in container["args"] if argument.startswith("--heartbeat-file=")]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert beat in " ".join(container[probe]["exec"]["command"])


def test_stateful_sets_keep_their_data_on_claims_and_have_their_service(objects: Objects) -> None:
    services = {service["metadata"]["name"] for service in of_kind(objects, "Service")}
    for item in of_kind(objects, "StatefulSet"):
        assert item["spec"]["volumeClaimTemplates"], item["metadata"]["name"]
        assert item["spec"]["serviceName"] in services, item["metadata"]["name"]


def test_no_secret_is_in_a_config_map_or_in_an_argument(objects: Objects) -> None:
    secrets = {
        base64.b64decode(value).decode()
        for item in of_kind(objects, "Secret")
        for name, value in item["data"].items()
        if name != "accesskey"
    }
    for item in of_kind(objects, "ConfigMap"):
        for key, value in item["data"].items():
            assert key.endswith("_FILE") or not re.search("secret|passw|token|access_?key", key, re.IGNORECASE), (
                f"{item['metadata']['name']}: {key}"
            )
            assert not re.search("://[^/ ]*@", value), (
                f"{item['metadata']['name']}: {key} has credentials in an address"
            )
            assert not [secret for secret in secrets if secret in value], f"{item['metadata']['name']}: {key}"
    for name, container in containers(objects):
        plain = [
            *container.get("command", []),
            *container.get("args", []),
            *(item.get("value", "") for item in container.get("env", [])),
        ]
        assert not [secret for secret in secrets for text in plain if secret in text], name


def test_pods_refer_to_what_the_overlay_brings() -> None:
    for overlay in ("local", "local-secure", "gpu", "outside", "seaweedfs"):
        objects = rendered(overlay)
        there = {(item["kind"], item["metadata"]["name"]) for item in objects}
        for workload in workloads(objects):
            pod = pod_of(workload)
            wanted = {("ServiceAccount", pod["serviceAccountName"])} if "serviceAccountName" in pod else set()
            volumes = pod.get("volumes", [])
            wanted |= {("ConfigMap", volume["configMap"]["name"]) for volume in volumes if "configMap" in volume}
            wanted |= {
                ("Secret", volume["secret"]["secretName"])
                for volume in volumes
                if "secret" in volume and not volume["secret"].get("optional")
            }
            for container in pod["containers"]:
                wanted |= {("ConfigMap", source["configMapRef"]["name"]) for source in container.get("envFrom", [])}
                sources = [item["valueFrom"] for item in container.get("env", []) if "valueFrom" in item]
                secrets = [source["secretKeyRef"] for source in sources if "secretKeyRef" in source]
                wanted |= {("Secret", secret["name"]) for secret in secrets if not secret.get("optional")}
            missing = wanted - there
            assert missing <= {("Secret", name) for name in SECRETS_OF_PEOPLE}, workload["metadata"]["name"]


def test_the_account_may_only_read_the_config_map(objects: Objects) -> None:
    assert not of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    rules = [rule for role in of_kind(objects, "Role") for rule in role["rules"]]
    assert rules == [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["fedstream"], "verbs": ["get"]}]
    (binding,) = of_kind(objects, "RoleBinding")
    assert binding["subjects"][0]["namespace"] == binding["metadata"]["namespace"]
