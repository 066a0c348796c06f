"""What a compiled pipeline says about itself."""

import subprocess
import sys

import pytest
import yaml
from fedstream.components.base import TRAIN_IMAGE
from fedstream.pipelines import FEDERATED_TRAINING_YAML
from fedstream.pipelines.wiring import CONFIG, KAFKA_FILES, REQUESTS

from fedstream.errors import UsageError
from fedstream.kubeflow.package import Source, read_package, shipped_pipeline
from fedstream.record.canonical import sha256_hex

PACKAGE = read_package(FEDERATED_TRAINING_YAML)


def test_the_shipped_pipeline_is_found_without_kfp():
    code = (
        "import sys; from fedstream.kubeflow.package import shipped_pipeline; "
        "print(shipped_pipeline(), 'kfp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [str(FEDERATED_TRAINING_YAML), "False"]
    assert shipped_pipeline() == FEDERATED_TRAINING_YAML


def test_its_version_is_made_of_its_bytes():
    assert sha256_hex(FEDERATED_TRAINING_YAML.read_bytes()) == PACKAGE.digest
    assert PACKAGE.version == f"sha256-{PACKAGE.digest[:16]}"


def test_form_steps_and_conditions_are_those_of_the_pipeline():
    assert PACKAGE.name == "federated-training"
    assert PACKAGE.parameters["rounds"] == 15
    assert PACKAGE.parameters["run"] is None
    expected = {
        "plan-training",
        "open-round",
        "select-clients",
        "ingest-from-kafka",
        "local-train",
        "aggregate",
        "evaluate",
        "publish",
    }
    assert expected == PACKAGE.steps
    assert len(PACKAGE.conditions) == 1
    assert PACKAGE.least_memory == REQUESTS[TRAIN_IMAGE][1]


def test_its_sources_are_the_wiring():
    config, store, user, files = PACKAGE.sources
    assert config == Source("configMap", "config_map", True, {name: name for name in CONFIG})
    assert store == Source(
        "secret", "store_secret", False, {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
    )
    assert user == Source("secret", "kafka_secret", True, {"username": "KAFKA_USERNAME", "password": "KAFKA_PASSWORD"})
    assert files == Source("secret", "kafka_secret", True, {}, KAFKA_FILES)
    assert PACKAGE.names({"store_secret": "mine"}) == {
        "config_map": "fedstream",
        "store_secret": "mine",
        "kafka_secret": "fedstream-kafka",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot read the pipeline"),
        ("a: [", "is not YAML"),
        ("", "is not a compiled pipeline (IndexError"),
        ("a: 1", "is not a compiled pipeline (KeyError: 'deploymentSpec')"),
        (
            yaml.safe_dump({"deploymentSpec": {"executors": {}}, "components": {}, "root": None}),
            "is not a compiled pipeline",
        ),
        ("!!python/object/apply:os.system [true]", "is not YAML"),
    ],
)
def test_what_is_no_pipeline_is_told(tmp_path, text, reason):
    path = tmp_path / "pipeline.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_package(path)
    assert reason in str(error.value)
    assert len(str(error.value).splitlines()) == 1
