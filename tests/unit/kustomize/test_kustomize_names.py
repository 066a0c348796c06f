"""The overlays, the images, the compiled pipeline and fedstream's settings mean the same names, keys,
addresses and versions.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from fedstream.components.base import SLIM_IMAGE, TRAIN_IMAGE
from fedstream.pipelines.wiring import CONFIG
from support.rendering import FOLDER, OVERLAYS, named, of_kind, pod_of, rendered, variants, workloads

from fedstream import __version__
from fedstream.settings import KafkaSettings, StoreSettings

ROOT = FOLDER.parent
SECRET_ENV = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}


@pytest.fixture(scope="module")
def pipeline() -> list[dict]:
    return list(yaml.safe_load_all((ROOT / "pipelines/federated_training/pipeline.yaml").read_text(encoding="utf-8")))


def default(pipeline: list[dict], parameter: str) -> str:
    return pipeline[0]["root"]["inputDefinitions"]["parameters"][parameter]["defaultValue"]


def config(overlay: str) -> dict[str, str]:
    return named(rendered(overlay), "ConfigMap", "fedstream")["data"]


@pytest.mark.parametrize("overlay", [*OVERLAYS, *variants()])
def test_the_config_map_has_the_keys_that_the_pipeline_reads(overlay: str, pipeline: list[dict]) -> None:
    assert default(pipeline, "config_map") == "fedstream"
    assert sorted(config(overlay)) == sorted(CONFIG)


def test_the_stores_secret_has_the_name_and_keys_that_the_pipeline_reads(pipeline: list[dict]) -> None:
    secret = named(rendered("local"), "Secret", default(pipeline, "store_secret"))
    wired = [
        {item["secretKey"]: item["envVar"] for item in source["keyToEnv"]}
        for executor in pipeline[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
        for source in executor["secretAsEnv"]
        if source["secretNameParameter"].get("componentInputParameter") == "store_secret"
    ]
    assert wired
    assert all(keys == SECRET_ENV for keys in wired)
    assert secret["data"].keys() == SECRET_ENV.keys()


@pytest.mark.parametrize("workload", ["minio", "seaweedfs", "bucket"])
def test_the_local_store_takes_the_same_secret(workload: str, pipeline: list[dict]) -> None:
    objects = rendered("seaweedfs" if workload == "seaweedfs" else "local")
    (found,) = [item for item in workloads(objects) if item["metadata"]["name"] == workload]
    env = pod_of(found)["containers"][0]["env"]
    sources = [item["valueFrom"]["secretKeyRef"] for item in env if "secretKeyRef" in item.get("valueFrom", {})]
    assert {source["name"] for source in sources} == {default(pipeline, "store_secret")}
    assert [source["key"] for source in sources] == list(SECRET_ENV)


def test_demo_credentials_are_marked_as_such() -> None:
    assert "FOR LOCAL USE ONLY" in (FOLDER / "local/store.env").read_text()
    assert not of_kind(rendered("existing"), "Secret")


@pytest.mark.parametrize("overlay", [*OVERLAYS, "seaweedfs"])
def test_fedstream_accepts_the_settings(overlay: str) -> None:
    secret = dict.fromkeys((*SECRET_ENV.values(), "KAFKA_USERNAME", "KAFKA_PASSWORD"), "12345678")
    env = config(overlay) | secret
    assert KafkaSettings.from_env(env).bootstrap_servers == env["KAFKA_BOOTSTRAP_SERVERS"]
    assert StoreSettings.from_env(env).bucket == "fedstream"


@pytest.mark.parametrize(
    "overlay", ["local", "local-secure", "gpu", "seaweedfs", "local-kubeflow", "local-secure-kubeflow"]
)
def test_addresses_are_those_of_services(overlay: str) -> None:
    data = config(overlay)
    services = of_kind(rendered(overlay.removesuffix("-kubeflow")), "Service")
    suffix = ".kafkaml.svc" if overlay.endswith("-kubeflow") else ""
    ports = {
        (service["metadata"]["name"] + suffix, port["port"])
        for service in services
        for port in service["spec"]["ports"]
    }
    host, _, port = data["KAFKA_BOOTSTRAP_SERVERS"].partition(":")
    store = urlsplit(data["S3_ENDPOINT_URL"])
    assert {(host, int(port)), (store.hostname, store.port)} <= ports


@pytest.mark.parametrize("overlay", ["local", "local-secure", "gpu", "gpushare"])
def test_our_images_are_those_of_this_version(overlay: str) -> None:
    built = set(re.findall(r"^FROM runtime AS (\S+)", (ROOT / "images/Containerfile").read_text(), re.MULTILINE))
    used = [
        container["image"] for workload in workloads(rendered(overlay)) for container in pod_of(workload)["containers"]
    ]
    ours = [image for image in used if "/fedstream-" in image]
    assert ours
    assert {image.rpartition("/")[2] for image in ours} <= {f"{name}:{__version__}" for name in built}


@pytest.mark.skipif(
    "FEDSTREAM_IMAGE" in os.environ or "FEDSTREAM_SLIM_IMAGE" in os.environ, reason="the environment names other images"
)
def test_the_components_images_are_built_at_this_version() -> None:
    built = set(re.findall(r"^FROM runtime AS (\S+)", (ROOT / "images/Containerfile").read_text(), re.MULTILINE))
    assert built == {"fedstream-python", "fedstream-python-gpu", "fedstream-python-slim"}
    assert {TRAIN_IMAGE, SLIM_IMAGE} == {
        f"localhost:5000/{name}:{__version__}" for name in ("fedstream-python", "fedstream-python-slim")
    }


def test_images_run_as_a_numbered_user_and_have_a_pinned_base() -> None:
    text = (ROOT / "images/Containerfile").read_text()
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["1000:1000"]
    assert re.findall(r"^ARG BASE=(.+)$", text, re.MULTILINE) == ["docker.io/library/python:3.11-slim-bookworm"]
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - stages == {"${BASE}"}


def test_a_gpu_check_asks_for_a_gpu() -> None:
    """Kafka-ML's overlay for GPUs requests none."""
    limits = {
        name: pod_of(named(rendered(name), "Job", "gpu-check"))["containers"][0]["resources"]["limits"]
        for name in ("gpu", "gpushare")
    }
    assert limits["gpu"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in limits["gpushare"]
    assert limits["gpushare"]["aliyun.com/gpu-mem"] == "4"
    assert pod_of(named(rendered("gpushare"), "Job", "gpu-check"))["nodeSelector"] == {"gpushare": "true"}


def kafka_files(prefix: str = "kafka-", overlay: str = "local") -> dict[str, str]:
    (found,) = [item for item in of_kind(rendered(overlay), "ConfigMap") if item["metadata"]["name"].startswith(prefix)]
    return found["data"]


def test_the_broker_listens_where_its_pod_says_and_advertises_its_node_port() -> None:
    kafka = named(rendered("local"), "StatefulSet", "kafka")
    (container,) = pod_of(kafka)["containers"]
    listeners = dict(re.findall(r"(INSIDE|OUTSIDE)://:(\d+)", kafka_files()["server.properties"]))
    assert {port["name"].upper(): str(port["containerPort"]) for port in container["ports"]} == listeners
    (outside,) = named(rendered("local"), "Service", "kafka-outside")["spec"]["ports"]
    assert {item["name"]: item.get("value") for item in container["env"]}["OUTSIDE_PORT"] == str(outside["nodePort"])


def test_the_readmes_patch_names_another_host() -> None:
    (container,) = pod_of(named(rendered("outside"), "StatefulSet", "kafka"))["containers"]
    env = {item["name"]: item for item in container["env"]}
    assert env["OUTSIDE_HOST"]["value"] == "localhost"
    assert env["NODE_ADDRESS"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.hostIP"


def start_broker(folder: Path, **env: str) -> list[str]:
    """Run the broker's start script with a mock of java, and return what that was called with."""
    folder.joinpath("java").write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/calls\n'
        f'case "$*" in *StorageTool*) mkdir -p {folder}/data && touch {folder}/data/meta.properties;; esac\n'
    )
    folder.joinpath("java").chmod(0o755)
    files = kafka_files()
    for name in files:
        text = files[name].replace("/tmp/", f"{folder}/rendered-").replace("/etc/kafka-files", str(folder))
        folder.joinpath(name).write_text(text.replace("/var/lib/kafka/data/log", f"{folder}/data"))
    (folder / "calls").write_text("")
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "JAVA_OPTIONS": "-Xmx1m",
        "POD_NAME": "kafka-0",
        "POD_NAMESPACE": "kafkaml",
    }
    environment |= {"MORE_PROPERTIES": "", **env}
    subprocess.run(["sh", str(folder / "start.sh")], env=environment, check=True, timeout=30)
    return (folder / "calls").read_text().splitlines()


def test_the_broker_formats_its_volume_once(tmp_path: Path) -> None:
    first = start_broker(tmp_path, NODE_ADDRESS="10.0.0.5", OUTSIDE_HOST="", OUTSIDE_PORT="30092")
    assert len(first) == 2
    (cluster,) = re.findall(r"StorageTool format --ignore-formatted --cluster-id (\S+) ", first[0])
    assert len(base64.urlsafe_b64decode(cluster + "==")) == 16
    again = start_broker(tmp_path, NODE_ADDRESS="10.0.0.5", OUTSIDE_HOST="", OUTSIDE_PORT="30092")
    assert again == first[1:]
    assert again[0].endswith(f"kafka.Kafka {tmp_path}/rendered-server.properties")


@pytest.mark.parametrize(("outside", "expected"), [("", "10.0.0.5"), ("broker.example.com", "broker.example.com")])
def test_the_broker_advertises_addresses_for_pods_and_for_everyone_else(
    tmp_path: Path, outside: str, expected: str
) -> None:
    start_broker(tmp_path, NODE_ADDRESS="10.0.0.5", OUTSIDE_HOST=outside, OUTSIDE_PORT="30092")
    properties = (tmp_path / "rendered-server.properties").read_text()
    assert (
        f"advertised.listeners=INSIDE://kafka-0.kafka-brokers.kafkaml.svc:9092,OUTSIDE://{expected}:30092\n"
        in properties
    )


def test_properties_of_a_component_come_after_the_brokers_own(tmp_path: Path) -> None:
    (tmp_path / "more.properties").write_text("num.partitions=7\n")
    start_broker(
        tmp_path,
        NODE_ADDRESS="10.0.0.5",
        OUTSIDE_HOST="",
        OUTSIDE_PORT="30092",
        MORE_PROPERTIES=str(tmp_path / "more.properties"),
    )
    properties = (tmp_path / "rendered-server.properties").read_text()
    assert re.findall("^num.partitions=(.*)$", properties, re.MULTILINE) == ["1", "7"]
