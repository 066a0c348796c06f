"""What the compiled YAML tells Kubernetes about each task: image, addresses, credentials, placement."""

import importlib
import re
from pathlib import Path

import pytest
import yaml
from fedstream.components import base
from fedstream.pipelines import FEDERATED_TRAINING_YAML
from fedstream.pipelines.wiring import CONFIG, KAFKA_FILES
from kfp.kubernetes import kubernetes_executor_config_pb2

from fedstream import settings, steps
from fedstream.errors import SpecError
from fedstream.record.spec import parse_spec
from fedstream.steps.context import Context
from fedstream.steps.ingest import _placed
from fedstream.stream.broker import EnvironmentBrokers

DEFINITION, PLATFORM = yaml.safe_load_all(FEDERATED_TRAINING_YAML.read_text())
KUBERNETES = PLATFORM["platforms"]["kubernetes"]
TASKS = {
    name.removeprefix("exec-"): executor["container"]
    for name, executor in DEFINITION["deploymentSpec"]["executors"].items()
}
PODS = {name.removeprefix("exec-"): executor for name, executor in KUBERNETES["deploymentSpec"]["executors"].items()}
TRAINING = {"plan-training", "local-train", "evaluate", "publish"}
"""Tasks that may load TensorFlow."""
KEYS = {
    "ingest-from-kafka": {"componentInputParameter": "pipelinechannel--client_store_secret"},
    "local-train": {"taskOutputParameter": {"producerTask": "ingest-from-kafka", "outputParameterKey": "store_secret"}},
}
"""Tasks of clients, and where the name of the secret with their key for the store comes from."""


def test_every_step_is_a_task_of_the_image_it_needs():
    assert TASKS.keys() == PODS.keys() == TRAINING | {"aggregate", "ingest-from-kafka", "open-round", "select-clients"}
    for name, container in TASKS.items():
        assert container["image"] == (base.TRAIN_IMAGE if name in TRAINING else base.SLIM_IMAGE), name
        assert "pip install" not in str(container["command"]), name


@pytest.mark.parametrize("task", sorted(PODS))
def test_every_task_gets_addresses_from_the_config_map_and_credentials_from_secrets(task):
    pod = PODS[task]
    (addresses,) = pod["configMapAsEnv"]
    assert addresses["optional"]
    assert addresses["configMapNameParameter"]["componentInputParameter"].endswith("config_map")
    assert [(key["configMapKey"], key["envVar"]) for key in addresses["keyToEnv"]] == [(name, name) for name in CONFIG]
    store, kafka, *_ = pod["secretAsEnv"]
    assert store["secretNameParameter"] == KEYS.get(
        task, {"componentInputParameter": store["secretNameParameter"].get("componentInputParameter")}
    )
    assert (
        task in KEYS
        or store["secretNameParameter"]["componentInputParameter"].removeprefix("pipelinechannel--") == "store_secret"
    )
    assert {key["secretKey"]: key["envVar"] for key in store["keyToEnv"]} == {
        "accesskey": "AWS_ACCESS_KEY_ID",
        "secretkey": "AWS_SECRET_ACCESS_KEY",
    }
    assert not store["optional"]
    assert kafka["secretNameParameter"]["componentInputParameter"].endswith("kafka_secret")
    assert {key["secretKey"]: key["envVar"] for key in kafka["keyToEnv"]} == {
        "username": "KAFKA_USERNAME",
        "password": "KAFKA_PASSWORD",
    }
    assert kafka["optional"]
    (files,) = pod["secretAsVolume"]
    assert (files["mountPath"], files["optional"]) == (KAFKA_FILES, True)


def test_every_variable_that_the_settings_read_reaches_a_pod():
    read = set(
        re.findall(
            r'"((?:KAFKA|S3|AWS|MODEL_REGISTRY|SCHEMA_REGISTRY)_[A-Z0-9_]+)"', Path(settings.__file__).read_text()
        )
    )
    secret = {key["envVar"] for source in PODS["local-train"]["secretAsEnv"] for key in source["keyToEnv"]}
    assert read | {"FEDSTREAM_NOISE_SECRET"} == secret | set(CONFIG)


def test_only_the_steps_that_make_noise_can_read_its_secret():
    """Central noise is the server's, local noise that of the client's site, and that of statistics the clients'."""
    noise = {
        name: source
        for name, pod in PODS.items()
        for source in pod["secretAsEnv"]
        if "FEDSTREAM_NOISE_SECRET" in {key["envVar"] for key in source["keyToEnv"]}
    }
    assert noise.keys() == {"aggregate", "ingest-from-kafka", "local-train"}
    for source in noise.values():
        assert source["keyToEnv"] == [{"secretKey": "noise", "envVar": "FEDSTREAM_NOISE_SECRET"}]
        assert source["optional"]
    assert noise["aggregate"]["secretNameParameter"]["componentInputParameter"].endswith("noise_secret")
    for name in ("local-train", "ingest-from-kafka"):
        assert noise[name]["secretNameParameter"] == KEYS[name]


def test_a_training_runs_where_its_client_s_ingest_says():
    def ingest(key):
        return {"taskOutputParameter": {"producerTask": "ingest-from-kafka", "outputParameterKey": key}}

    pod = PODS["local-train"]
    assert pod["nodeSelector"]["nodeSelectorJson"] == ingest("node_selector")
    assert [toleration["tolerationJson"] for toleration in pod["tolerations"]] == [ingest("tolerations")]
    accelerator = TASKS["local-train"]["resources"]["accelerator"]
    assert "ingest-from-kafka-gpu_type" in accelerator["resourceType"]
    assert "ingest-from-kafka-gpu_count" in accelerator["resourceCount"]
    inputs = DEFINITION["components"]["comp-client"]["dag"]["tasks"]["local-train"]["inputs"]["parameters"]
    assert inputs["gpu_type"] == {
        "taskOutputParameter": {"producerTask": "ingest-from-kafka", "outputParameterKey": "gpu_type"}
    }
    assert inputs["gpu_count"] == {
        "taskOutputParameter": {"producerTask": "ingest-from-kafka", "outputParameterKey": "gpu_count"}
    }


def test_no_other_task_is_placed():
    for name in PODS.keys() - {"local-train"}:
        assert not PODS[name].keys() & {"nodeSelector", "tolerations"}, name
        assert "accelerator" not in TASKS[name]["resources"], name


TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    "placement",
    [
        {},
        {
            "node_selector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
            "tolerations": [TAINT],
            "gpu_type": "nvidia.com/gpu",
            "gpu_count": 2,
        },
        {
            "node_selector": {"nvidia.com/mig.config": "all-1g.10gb"},
            "gpu_type": "nvidia.com/mig-1g.10gb",
            "gpu_count": 1,
        },
        {"gpu_type": "nvidia.com/gpu.shared", "gpu_count": 1},
        {"node_selector": {"gpushare": "true"}, "gpu_type": "aliyun.com/gpu-mem", "gpu_count": 16},
    ],
    ids=["none", "whole", "mig", "time-slice", "gpushare"],
)
def test_whole_gpus_slices_and_shares_are_values_of_the_form(placement):
    """The form's value goes through the spec and ingest's outputs to what the driver makes a pod of."""
    spec = parse_spec({"run": "r", "model": "m", "clients": ["a", "b"], "sites": {"a": {"placement": placement}}})
    asked = _placed("key", spec.placement_of("a"), "s")._asdict()
    pod, accelerator = PODS["local-train"], TASKS["local-train"]["resources"]["accelerator"]
    assert value(pod["nodeSelector"]["nodeSelectorJson"], asked) == placement.get("node_selector", {})
    assert value(pod["tolerations"][0]["tolerationJson"], asked) == placement.get("tolerations", [])
    assert value(accelerator["resourceType"], asked) == placement.get("gpu_type", "")
    assert value(accelerator["resourceCount"], asked) == str(placement.get("gpu_count", 0))
    assert _placed("key", spec.placement_of("b"), "s")._asdict() == {
        "slice_key": "key",
        "node_selector": {},
        "tolerations": [],
        "gpu_type": "",
        "gpu_count": "0",
        "store_secret": "s",
    }


def test_a_name_of_a_clients_secret_comes_all_the_way_from_the_form():
    """The backend resolves a name among the inputs of the part that a task is in,
    or the outputs of a task beside it.
    """
    (loop,) = [
        part for part in DEFINITION["components"].values() if "local-train" in part.get("dag", {}).get("tasks", {})
    ]
    assert "pipelinechannel--client_store_secret" in loop["inputDefinitions"]["parameters"]
    assert (
        loop["dag"]["tasks"]["ingest-from-kafka"]["inputs"]["parameters"]["store_secret"] == KEYS["ingest-from-kafka"]
    )
    (opened,) = [
        part for part in DEFINITION["components"].values() if "one-round" in part.get("dag", {}).get("tasks", {})
    ]
    given = opened["dag"]["tasks"]["one-round"]["inputs"]["parameters"]
    assert given["client_store_secret"] == {"componentInputParameter": "pipelinechannel--open-round-store_secret"}
    assert given["store_secret"] == {"componentInputParameter": "pipelinechannel--store_secret"}


@pytest.mark.parametrize(("clients", "handed_on"), [("", "run"), ("clients", "clients")])
def test_the_clients_key_is_the_runs_unless_the_form_names_one(monkeypatch, clients, handed_on):
    monkeypatch.setattr(importlib.import_module("fedstream.steps.open_round"), "_open", lambda *values: 1)
    nowhere = Context(None, EnvironmentBrokers())
    assert steps.open_round.within(nowhere, "r", 1, "a", 0, "run", clients) == (1, handed_on)


def test_a_site_may_name_a_key_of_its_own():
    spec = parse_spec({"run": "r", "model": "m", "sites": {"a": {"store_secret": "key-a"}, "b": {}}})
    assert [spec.store_secret_of(client) for client in "abc"] == ["key-a", "", ""]
    for wrong in ("Key", "-a", "a_b", "a/b", "a" * 254):
        with pytest.raises(SpecError, match=r"sites\.a\.store_secret"):
            parse_spec({"run": "r", "model": "m", "sites": {"a": {"store_secret": wrong}}})


def value(said, outputs):
    """Resolve an output of ingest as the driver does."""
    if isinstance(said, dict):
        assert said["taskOutputParameter"]["producerTask"] == "ingest-from-kafka"
        return outputs[said["taskOutputParameter"]["outputParameterKey"]]
    (name,) = re.fullmatch(
        r"\{\{\$\.inputs\.parameters\['pipelinechannel--ingest-from-kafka-(\w+)'\]\}\}", said
    ).groups()
    return outputs[name]


def test_every_task_asks_for_what_it_needs_and_has_a_memory_limit():
    for name, container in TASKS.items():
        resources = container["resources"]
        asked = ("500m", "1Gi") if name in TRAINING else ("100m", "256Mi")
        assert (resources["resourceCpuRequest"], resources["resourceMemoryRequest"]) == asked, name
        limit = (
            "1Gi" if name in {"open-round", "select-clients"} else "{{$.inputs.parameters['pipelinechannel--memory']}}"
        )
        assert resources["resourceMemoryLimit"] == limit, name


def test_the_form_s_memory_reaches_every_task_that_it_limits():
    """Without an ordinary argument the compiled loop would lack it."""
    for name, component in {"root": DEFINITION["root"], **DEFINITION["components"]}.items():
        declared = component.get("inputDefinitions", {}).get("parameters", {})
        for task, definition in component.get("dag", {}).get("tasks", {}).items():
            inputs = definition.get("inputs", {}).get("parameters", {})
            if source := inputs.get("pipelinechannel--memory", inputs.get("memory")):
                assert source["componentInputParameter"] in declared, (name, task)
            elif "memory_limit" in inputs:
                raise AssertionError((name, task))
    assert DEFINITION["root"]["inputDefinitions"]["parameters"]["memory"]["defaultValue"] == "4Gi"


def test_a_pipeline_can_say_no_more_of_a_pods_security():
    """Kubeflow Pipelines' format has three fields, and from 2.16 on the backend sets the rest;
    where it has more, say more.
    """
    fields = kubernetes_executor_config_pb2.SecurityContext.DESCRIPTOR.fields_by_name
    assert set(fields) == {"run_as_user", "run_as_group", "run_as_non_root"}


@pytest.mark.parametrize("task", sorted(PODS))
def test_no_task_may_be_root_and_every_pod_is_labelled(task):
    assert PODS[task]["securityContext"] == {"runAsNonRoot": True}
    assert PODS[task]["podMetadata"]["labels"] == {"app.kubernetes.io/part-of": "fedstream"}


def test_rounds_run_one_after_another_and_publish_waits_for_them():
    tasks = DEFINITION["root"]["dag"]["tasks"]
    assert tasks["slot"]["iteratorPolicy"] == {"parallelismLimit": 1}
    assert "slot" in tasks["publish"]["dependentTasks"]


def test_loops_are_named_after_what_they_loop_over():
    loops = {
        (name, task["taskInfo"]["name"])
        for component in [DEFINITION["root"], *DEFINITION["components"].values()]
        for name, task in component.get("dag", {}).get("tasks", {}).items()
        if "parameterIterator" in task
    }
    assert loops == {("slot", "rounds"), ("client", "clients")}


def test_the_run_ends_after_a_week_at_the_latest():
    assert KUBERNETES["pipelineConfig"] == {"activeDeadlineSeconds": 7 * 86_400}


def test_pipelines_and_tasks_are_described():
    assert DEFINITION["pipelineInfo"]["description"]
    for name, component in DEFINITION["components"].items():
        if "executorLabel" in component:
            assert all(
                parameter["description"] for parameter in component["inputDefinitions"]["parameters"].values()
            ), name
