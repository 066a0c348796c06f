"""`fedstream doctor --cluster` on a real Kubernetes with kustomize/local:
all is well, then each fault is provoked and named.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.kubernetes_api import get, items, kubectl

KUBEFLOW = ("--skip", "kubeflow")
"""Kubeflow Pipelines is not part of kustomize/local."""

Found = dict[str, tuple[str, str]]


@pytest.fixture
def doctor(overlay) -> Callable[..., tuple[int, Found]]:
    def run(*words: str) -> tuple[int, Found]:
        command = [
            sys.executable,
            "-m",
            "fedstream.cli",
            "doctor",
            "--cluster",
            "--namespace",
            overlay.namespace,
            "--json",
            *KUBEFLOW,
            *words,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.stdout, done.stderr
        assert not items("-n", overlay.namespace, "pods", "-l", "app.kubernetes.io/name=fedstream-doctor"), (
            "no pod stays"
        )
        return done.returncode, {entry["check"]: (entry["state"], entry["text"]) for entry in json.loads(done.stdout)}

    return run


@contextmanager
def changed(namespace: str, kind: str, name: str, **data: str) -> Iterator[None]:
    """Change values of a config map or secret, and put them back."""
    field = "data" if kind == "configmap" else "stringData"
    before = get("-n", namespace, kind, name)["data"]
    kubectl("-n", namespace, "patch", kind, name, "--type=merge", "-p", json.dumps({field: data}))
    try:
        yield
    finally:
        kubectl("-n", namespace, "patch", kind, name, "--type=merge", "-p", json.dumps({"data": before}))


def check_fault(result: tuple[int, Found], check: str, text: str) -> None:
    code, found = result
    assert (code, found[check][0]) == (1, "fault"), found[check]
    assert text in found[check][1]


def test_all_is_well_after_one_apply(doctor, overlay) -> None:
    code, found = doctor()

    assert code == 0, found
    assert {name for name, (state, _) in found.items() if state == "skipped"} <= {"kubeflow", "gpu nodes"}
    assert found["inside the cluster, store conditional puts"] == ("ok", "an existing key is not overwritten")


def test_a_placement_is_held_against_the_nodes(doctor) -> None:
    check_fault(
        doctor("--skip", "pod", "--placement", '{"gpu_type": "nvidia.com/gpu", "gpu_count": 64}'),
        "placement",
        "it fits no node",
    )


def test_an_image_that_is_not_there_is_named(doctor) -> None:
    image = "localhost:5000/fedstream-none:1"
    check_fault(doctor("--image", image, "--deadline", "60"), f"image {image}", "cannot be pulled")


def test_a_broker_that_is_not_there_is_named_from_inside(doctor, overlay) -> None:
    with changed(overlay.namespace, "configmap", "fedstream", KAFKA_BOOTSTRAP_SERVERS="nowhere:9092"):
        check_fault(doctor(), "inside the cluster, kafka broker nowhere:9092", "does not accept a connection")


def test_a_bucket_that_is_not_there_is_named_from_inside(doctor, overlay) -> None:
    with changed(overlay.namespace, "configmap", "fedstream", S3_BUCKET="none-such"):
        check_fault(doctor(), "inside the cluster, store bucket", "'none-such' does not exist")


def test_wrong_keys_of_the_store_are_named_from_inside(doctor, overlay) -> None:
    with changed(overlay.namespace, "secret", "mlpipeline-minio-artifact", secretkey="wrong-wrong"):
        check_fault(doctor(), "inside the cluster, store bucket", "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


def test_settings_that_do_not_go_together_are_named(doctor, overlay) -> None:
    with changed(overlay.namespace, "configmap", "fedstream", KAFKA_CA_FILE="/etc/fedstream/kafka/ca.crt"):
        check_fault(doctor("--skip", "pod"), "settings", "the Kafka secret provides no file")


@pytest.mark.parametrize(("option", "check"), [("--config-map", "config map"), ("--store-secret", "secret none-such")])
def test_what_is_not_there_is_named(doctor, option, check) -> None:
    check_fault(doctor("--skip", "pod", option, "none-such"), check, "none-such")


def test_who_has_no_rights_is_told_which(doctor, overlay, tmp_path, monkeypatch) -> None:
    token = kubectl("-n", overlay.namespace, "create", "token", "fedstream").strip()
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    command = [
        sys.executable,
        "-m",
        "fedstream.cli",
        "doctor",
        "--cluster",
        "--namespace",
        overlay.namespace,
        "--json",
        *KUBEFLOW,
    ]
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    found = {entry["check"]: (entry["state"], entry["text"]) for entry in json.loads(done.stdout)}
    check_fault((done.returncode, found), "permissions", "you are not allowed to ")
    assert found["gpu nodes"][0] == "skipped"
