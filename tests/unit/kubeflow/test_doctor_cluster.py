"""`fedstream doctor --cluster` against a fake of the Kubernetes API: each fault is provoked and named.

A real cluster is in tests/cluster.
"""

import json
import os
import signal
import sys
import threading
import time

import pytest
import yaml
from support.fake_kubernetes import FakeKubernetes, container, node

from fedstream.cli.app import main
from fedstream.doctor import probe
from fedstream.kubeflow.package import read_package, shipped_pipeline

NAMESPACE = "team"
PACKAGE = read_package(shipped_pipeline())
INSIDE = [
    {"check": "kafka broker kafka:9092", "state": "ok", "text": "answers as PLAINTEXT, with 1 broker"},
    {"check": "store bucket", "state": "ok", "text": "'fedstream' at http://minio:9000 holds 1 run"},
    {"check": "java", "state": "fault", "text": "there is no java"},
]
OTHER = next(f"image-{index}" for index, image in enumerate(PACKAGE.images) if "slim" not in image)
WORKS = {"phase": "Succeeded", "containerStatuses": [container("doctor", code=0), container(OTHER, code=0)]}


@pytest.fixture
def kube(nowhere, monkeypatch, tmp_path):
    monkeypatch.setattr(probe, "POLL_S", 0.02)
    with FakeKubernetes().running() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
        server.objects[f"namespaces/{NAMESPACE}"] = {
            "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
        }
        server.put_config_map(
            NAMESPACE,
            "fedstream",
            KAFKA_BOOTSTRAP_SERVERS="kafka:9092",
            S3_ENDPOINT_URL="http://minio:9000",
            KAFKA_CA_FILE="",
        )
        server.put_secret(NAMESPACE, "mlpipeline-minio-artifact", accesskey="minio", secretkey="hidden-word")
        server.objects["nodes"] = [node("n1")]
        server.pod_status = [{"phase": "Pending"}, WORKS]
        server.log = json.dumps(INSIDE, indent=2)
        yield server


@pytest.fixture
def doctor(monkeypatch, capsys, kube):
    """Run the command; returns its exit code and check -> (state, text)."""

    def run(*words):
        monkeypatch.setattr(
            sys, "argv", ["fedstream", "doctor", "--cluster", "--namespace", NAMESPACE, "--json", *words]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert "hidden-word" not in said.out + said.err
        assert "Traceback" not in said.err
        found = (
            {entry["check"]: (entry["state"], entry["text"]) for entry in json.loads(said.out)}
            if said.out
            else said.err
        )
        return int(ended.value.code or 0), found

    return run


def check_fault(result, check, *texts):
    code, found = result
    state, text = found[check]
    assert (code, state) == (1, "fault"), text
    assert len(text.splitlines()) == 1
    for expected in texts:
        assert expected in text


def test_a_fake_cluster_that_works_is_ok_all_through(doctor, kube):
    code, found = doctor()
    assert code == 0, [entry for entry in found.items() if entry[1][0] == "fault"]
    assert {name: state for name, (state, _) in found.items() if state != "ok"} == {"gpu nodes": "skipped"}
    assert found["kubernetes"][1].startswith("v1.36.3 at http://127.0.0.1:")
    assert "enforced Pod Security Standard: restricted" in found["namespace"][1]
    assert found["secret fedstream-kafka"][1] == "does not exist; it is optional"
    assert found["inside the cluster, store bucket"][1] == "'fedstream' at http://minio:9000 holds 1 run"
    assert "inside the cluster, java" not in found
    assert found["kubeflow"][1] == "Pipelines 2.17.0, without profiles"
    assert kube.deleted == [pod["metadata"]["name"] for pod in kube.pods]


def test_the_pod_is_a_step_s_in_all_that_matters_and_restricted(doctor, kube):
    doctor()
    (pod,) = kube.pods
    spec = pod["spec"]
    assert [entry["image"] for entry in spec["containers"]] == list(PACKAGE.images)
    assert spec["activeDeadlineSeconds"] <= 300
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for entry in spec["containers"]:
        assert entry["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert entry["resources"]["limits"]
    (looks,) = [entry for entry in spec["containers"] if entry["name"] == "doctor"]
    assert "slim" in looks["image"]
    variables = {entry["name"]: entry["valueFrom"] for entry in looks["env"]}
    assert variables.keys() == {variable for source in PACKAGE.sources for variable in source.keys.values()}
    assert variables["S3_ENDPOINT_URL"] == {
        "configMapKeyRef": {"name": "fedstream", "key": "S3_ENDPOINT_URL", "optional": True}
    }
    assert variables["AWS_SECRET_ACCESS_KEY"] == {
        "secretKeyRef": {"name": "mlpipeline-minio-artifact", "key": "secretkey", "optional": False}
    }
    assert {"name": "files-0", "secret": {"secretName": "fedstream-kafka", "optional": True}} in spec["volumes"]
    assert "/etc/fedstream/kafka" in {mount["mountPath"] for mount in looks["volumeMounts"]}


def test_the_pod_is_valid_for_kubernetes(doctor, kube):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    doctor()
    kubernetes_validate.validate(yaml.safe_load(json.dumps(kube.pods[0])), "1.36", strict=True)


def test_it_runs_as_the_pipeline_s_account_where_there_is_one(doctor, kube):
    doctor()
    kube.objects[f"namespaces/{NAMESPACE}/serviceaccounts/default-editor"] = {"metadata": {"name": "default-editor"}}
    doctor()
    assert [pod["spec"]["serviceAccountName"] for pod in kube.pods] == ["default", "default-editor"]


def test_other_names_and_images_are_looked_at(doctor, kube):
    kube.put_config_map(NAMESPACE, "mine", KAFKA_BOOTSTRAP_SERVERS="k:1", S3_ENDPOINT_URL="http://s:1")
    kube.put_secret(NAMESPACE, "keys", accesskey="a", secretkey="b")
    kube.pod_status = [{"phase": "Succeeded", "containerStatuses": [container("doctor", code=0)]}]
    code, found = doctor("--config-map", "mine", "--store-secret", "keys", "--image", "registry/mine:1")
    assert code == 0, [entry for entry in found.items() if entry[1][0] == "fault"]
    assert found["settings"][1] == "Kafka k:1 as PLAINTEXT; bucket 'fedstream' at http://s:1"
    assert found["image registry/mine:1"] == ("ok", "pulled on node n1")


def forget(path):
    return lambda kube: kube.objects.pop(f"namespaces/{NAMESPACE}{path}")


def config(**values):
    known = {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092", "S3_ENDPOINT_URL": "http://minio:9000"}
    return lambda kube: kube.put_config_map(
        NAMESPACE, "fedstream", **{key: value for key, value in (known | values).items() if value is not None}
    )


def secret(name, **values):
    return lambda kube: kube.put_secret(NAMESPACE, name, **values)


def pod(*statuses, **more):
    return lambda kube: setattr(kube, "pod_status", [{"phase": "Pending", "containerStatuses": list(statuses)} | more])


def kubeflow(answer):
    return lambda kube: setattr(kube, "kubeflow", answer)


SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512"}
PULL = ("ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: not found')
NO_NODE = {
    "conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient memory."}
    ]
}
FAULTS = {
    "no-namespace": (forget(""), "namespace", ["there is no namespace 'team'", "--namespace"]),
    "no-config-map": (
        forget("/configmaps/fedstream"),
        "config map",
        ["there is no config map 'fedstream' in namespace 'team'", "kubectl apply -k"],
    ),
    "no-brokers": (
        config(KAFKA_BOOTSTRAP_SERVERS=""),
        "settings",
        ["KAFKA_BOOTSTRAP_SERVERS is not set", "in config map 'fedstream'"],
    ),
    "no-endpoint": (
        config(S3_ENDPOINT_URL=None),
        "settings",
        ["S3_ENDPOINT_URL is not set; set it to the address of an S3 server"],
    ),
    "bad-protocol": (config(KAFKA_SECURITY_PROTOCOL="TLS"), "settings", ["KAFKA_SECURITY_PROTOCOL is 'TLS'"]),
    "sasl-without-secret": (
        config(**SASL),
        "settings",
        ["KAFKA_SECURITY_PROTOCOL is SASL_SSL; also set KAFKA_SASL_MECHANISM, KAFKA_USERNAME"],
    ),
    "file-not-in-secret": (
        config(KAFKA_SECURITY_PROTOCOL="SSL", KAFKA_CA_FILE="/etc/fedstream/kafka/ca.crt"),
        "settings",
        ["KAFKA_CA_FILE is '/etc/fedstream/kafka/ca.crt'", "the Kafka secret provides no file"],
    ),
    "no-store-secret": (
        forget("/secrets/mlpipeline-minio-artifact"),
        "secret mlpipeline-minio-artifact",
        ["create secret generic", "--store-secret"],
    ),
    "secret-without-key": (
        secret("mlpipeline-minio-artifact", accesskey="a"),
        "secret mlpipeline-minio-artifact",
        ["it has no key 'secretkey'", "add it to the keys it has: accesskey"],
    ),
    "image-not-there": (
        pod(container("doctor", code=0), container(OTHER, waiting=PULL)),
        f"image {next(image for image in PACKAGE.images if 'slim' not in image)}",
        ["cannot be pulled (ImagePullBackOff: Back-off pulling image", "pull secret"],
    ),
    "no-node-for-the-pod": (
        pod(**NO_NODE),
        f"image {PACKAGE.images[0]}",
        ["the pod that pulls it cannot be scheduled", "3 Insufficient memory"],
    ),
    "pull-takes-too-long": (
        pod(container("doctor", waiting=("ContainerCreating", ""))),
        f"image {PACKAGE.images[0]}",
        ["increase --deadline"],
    ),
    "pod-lacks-a-key": (
        pod(
            container("doctor", waiting=("CreateContainerConfigError", "couldn't find key secretkey")),
            container(OTHER, code=0),
        ),
        "inside the cluster",
        ["the pod does not start (CreateContainerConfigError: couldn't find key secretkey)"],
    ),
    "old-image": (
        lambda kube: setattr(kube, "log", "error: No such command 'doctor'"),
        "inside the cluster",
        ["No such command 'doctor'", "of this version"],
    ),
    "broker-away-inside": (
        lambda kube: setattr(kube, "log", json.dumps([INSIDE[0] | {"state": "fault", "text": "no; check it"}])),
        "inside the cluster, kafka broker kafka:9092",
        ["no; check it"],
    ),
    "missing-rights": (
        lambda kube: kube.forbidden.update({"get secrets", "create pods"}),
        "permissions",
        ["you are not allowed to get secrets, create pods in namespace"],
    ),
    "no-pod-allowed": (
        lambda kube: kube.forbidden.add("post pods"),
        "pod",
        ["refuses to create a pod in namespace 'team' (HTTP 403)"],
    ),
    "old-kubeflow": (kubeflow({"tag_name": "2.14.3", "multi_user": False}), "kubeflow", ["2.14.3 is too old", "2.15"]),
    "no-kubeflow": (
        kubeflow((404, 'services "ml-pipeline" not found')),
        "kubeflow",
        ['services "ml-pipeline" not found', "--kubeflow-namespace"],
    ),
    "kubeflow-down": (kubeflow((503, "no endpoints available")), "kubeflow", ["HTTP 503: no endpoints available"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_fake_cluster_is_named_with_what_to_do(doctor, kube, fault):
    provoke, check, texts = FAULTS[fault]
    provoke(kube)
    deadline = "3" if fault in ("no-node-for-the-pod", "pull-takes-too-long") else "120"
    check_fault(doctor("--deadline", deadline), check, *texts)
    assert kube.deleted == [made["metadata"]["name"] for made in kube.pods]


def test_a_kafka_secret_that_goes_with_the_settings_is_ok(doctor, kube):
    config(**SASL, KAFKA_CA_FILE="/etc/fedstream/kafka/ca.crt")(kube)
    kube.put_secret(NAMESPACE, "fedstream-kafka", username="ann", password="hidden-word", ca__crt="pem")
    code, found = doctor()
    assert code == 0, [entry for entry in found.items() if entry[1][0] == "fault"]
    assert found["secret fedstream-kafka"][1] == "has ca.crt, password, username"
    assert found["settings"][1].startswith("Kafka kafka:9092 as SASL_SSL")


def test_a_key_that_no_step_reads_is_told(doctor, kube):
    config(S3_BUKCET="b")(kube)
    assert doctor()[1]["config map"][1] == "fedstream sets 2 values; no step reads S3_BUKCET"


def test_who_may_not_list_nodes_or_namespaces_is_no_fault(doctor, kube):
    kube.forbidden |= {"get nodes", "get namespaces"}
    code, found = doctor()
    assert code == 0, [entry for entry in found.items() if entry[1][0] == "fault"]
    assert found["gpu nodes"][0] == "skipped"
    assert found["namespace"] == ("ok", "you are not allowed to read team itself; it is assumed to exist")


def test_a_fake_cluster_that_is_away_is_told_once(doctor, kube, monkeypatch, tmp_path):
    text = kube.kubeconfig(tmp_path).read_text().replace(kube.url, "http://127.0.0.1:1")
    (tmp_path / "kubeconfig").write_text(text)
    code, found = doctor()
    check_fault(
        (code, found),
        "kubernetes",
        "Kubernetes at http://127.0.0.1:1 does not answer (connection refused)",
        "KUBECONFIG",
    )
    assert {state for name, (state, _) in found.items() if name != "kubernetes"} == {"skipped"}


def test_without_a_kubeconfig_there_is_no_cluster(doctor, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    check_fault(doctor(), "kubernetes", "there is no kubeconfig, and this is not a pod; set KUBECONFIG")


@pytest.mark.parametrize("text", ["a: [", "just text", "{}"])
def test_a_kubeconfig_that_is_none_is_told(doctor, monkeypatch, tmp_path, text):
    (tmp_path / "kubeconfig").write_text(text)
    check_fault(doctor(), "kubernetes", "the kubeconfig cannot be used")


GPUS = {"nvidia_d_com__gpu": "4", "nvidia_d_com__mig_h_1g_d_5gb": "2"}


def test_gpus_of_a_fake_cluster_are_listed_with_what_is_free(doctor, kube):
    taken = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "3", "cpu": "1"}}}
    ended = {"spec": {"nodeName": "gpu1", "containers": [taken]}, "status": {"phase": "Succeeded"}}
    kube.objects["nodes"] = [
        node("plain"),
        node("gpu1", **GPUS),
        node("card", ready=False, aliyun_d_com__gpu_h_mem="16"),
    ]
    kube.objects["pods"] = [
        {"spec": {"nodeName": "gpu1", "containers": [taken]}, "status": {"phase": "Running"}},
        ended,
    ]
    text = doctor()[1]["gpu nodes"][1]
    assert "gpu1 has 4 nvidia.com/gpu (1 free), 2 nvidia.com/mig-1g.5gb (2 free)" in text
    assert "card has 16 aliyun.com/gpu-mem (16 free), but it is not ready" in text
    assert "plain" not in text


TAINT = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
PLACEMENTS = [
    (
        {
            "gpu_type": "nvidia.com/gpu",
            "gpu_count": 4,
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        },
        "",
    ),
    (
        {
            "node_selector": {"site": "a"},
            "tolerations": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
        },
        "",
    ),
    (
        {"gpu_type": "nvidia.com/gpu", "gpu_count": 8, "tolerations": [{"operator": "Exists"}]},
        "gpu1: it offers 4 nvidia.com/gpu, not 8",
    ),
    ({"gpu_type": "amd.com/gpu", "gpu_count": 1}, "it offers 0 amd.com/gpu, not 1"),
    ({"node_selector": {"site": "b"}}, "its label site is 'a', not 'b'"),
    ({"node_selector": {"rack": "1"}}, "it has no label rack=1"),
    ({"node_selector": {"site": "a"}}, "its taint nvidia.com/gpu=present:NoSchedule is not tolerated"),
    (
        {"node_selector": {"site": "a"}, "tolerations": [{"key": "nvidia.com/gpu", "value": "other"}]},
        "is not tolerated",
    ),
    (
        {"node_selector": {"site": "a"}, "tolerations": [{"operator": "Exists", "effect": "NoExecute"}]},
        "is not tolerated",
    ),
]


@pytest.mark.parametrize(("placement", "reason"), PLACEMENTS)
def test_a_placement_fits_a_fake_node_or_is_told_why_not(doctor, kube, placement, reason):
    kube.objects["nodes"] = [node("gpu1", labels={"site": "a"}, taints=TAINT, **GPUS)]
    result = doctor("--placement", json.dumps(placement))
    if reason:
        check_fault(result, "placement", "it fits no node", reason, "change the placement")
    else:
        assert result[1]["placement"] == ("ok", "fits gpu1")


def test_a_placement_that_cannot_be_is_a_wrong_command(doctor, kube):
    code, said = doctor("--placement", '{"gpu_count": 1}')
    assert code == 2
    assert "set both or neither" in said
    assert kube.asked == []


def test_checks_can_be_left_out(doctor, kube):
    kube.kubeflow = (404, "not found")
    code, found = doctor("--skip", "kubeflow", "--skip", "pod")
    assert code == 0, [entry for entry in found.items() if entry[1][0] == "fault"]
    assert found["kubeflow"] == found["pod"] == ("skipped", "as requested")
    assert kube.pods == []


@pytest.mark.parametrize(
    ("left_out", "kinds", "images"),
    [
        (["image"], {"inside the cluster"}, 1),
        (["inside"], {"image"}, len(PACKAGE.images)),
        (["inside the cluster", "image"], set(), 0),
    ],
)
def test_each_part_of_the_pod_can_be_left_out(doctor, kube, left_out, kinds, images):
    if images == 1:
        kube.pod_status = [{"phase": "Succeeded", "containerStatuses": [container("doctor", code=0)]}]
    code, found = doctor(*(word for name in left_out for word in ("--skip", name)))
    assert code == 0, [entry for entry in found.items() if entry[1][0] == "fault"]
    assert {kind for kind in ("image", "inside the cluster") for name in found if name.startswith(kind)} == kinds
    assert [len(made["spec"]["containers"]) for made in kube.pods] == ([images] if images else [])
    for made in kube.pods:
        asked = [entry["command"] == ["fedstream", "doctor", "--json"] for entry in made["spec"]["containers"]]
        assert any(asked) == ("inside the cluster" in kinds)


@pytest.mark.parametrize("name", ["imagine", "kube", "secrets", ""])
def test_a_check_that_is_none_is_not_left_out_in_silence(doctor, kube, name):
    code, said = doctor("--skip", name)
    assert code == 2
    assert (
        f"--skip: there is no check {name!r}; pass the first words of a check, which are kubernetes, "
        "permissions, namespace, config, secret" in said
    )
    assert "image, inside" in said
    assert kube.asked == []


@pytest.mark.parametrize("tag", ["", "master"])
def test_a_kubeflow_that_does_not_tell_its_version_is_not_ok(doctor, kube, tag):
    kube.kubeflow = {"tag_name": tag, "multi_user": True}
    state, text = doctor()[1]["kubeflow"]
    assert state == "skipped"
    assert (
        f"its version is {tag or 'unknown'!r}, so it is not known whether it is 2.15 or later, which is required"
        in text
    )


def test_ctrl_c_removes_the_pod(kube, monkeypatch, capsys):
    pod(container("doctor", waiting=("ContainerCreating", "")))(kube)

    def interrupt():
        until = time.monotonic() + 10
        while not kube.pods and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    monkeypatch.setattr(sys, "argv", ["fedstream", "doctor", "--cluster", "--namespace", NAMESPACE])
    with pytest.raises(SystemExit) as ended:
        main()
    helper.join(10)
    assert ended.value.code == 130
    assert "everything was cleaned up" in capsys.readouterr().err
    assert kube.deleted == [made["metadata"]["name"] for made in kube.pods]
