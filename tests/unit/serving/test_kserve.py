"""The InferenceService that is published with a version:
what KServe's resource definition and admission say of the fields it uses.
"""

from __future__ import annotations

import re

import pytest
import yaml
from jsonschema import Draft202012Validator

from fedstream.serving.kserve import inference_service, saved_model_folder, service_name


def closed(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": sorted(properties), "additionalProperties": False}


TEXT = {"type": "string"}
SCHEMA = closed(
    apiVersion={"const": "serving.kserve.io/v1beta1"},
    kind={"const": "InferenceService"},
    metadata=closed(name=TEXT, annotations={"type": "object", "additionalProperties": TEXT}),
    spec=closed(
        predictor=closed(
            serviceAccountName=TEXT, model=closed(modelFormat=closed(name={"const": "tensorflow"}), storageUri=TEXT)
        )
    ),
)
"""serving.kserve.io_inferenceservices.yaml has some ten thousand lines; these are the fields used, as it types them."""

URI = "s3://bucket/prefix/models/mine/versions/3/saved_model"
LINEAGE = {"run": "r", "round": "2", "weights-digest": "e" * 64}


def test_the_resource_fits_the_schema() -> None:
    document = yaml.safe_load(inference_service("builtin:mine", 3, URI, LINEAGE))
    assert list(Draft202012Validator(SCHEMA).iter_errors(document)) == []
    assert document["metadata"]["name"] == "builtin-mine"
    assert document["spec"]["predictor"]["model"]["storageUri"] == URI
    assert document["metadata"]["annotations"] == {
        "fedstream/model": "builtin:mine",
        "fedstream/version": "3",
        "fedstream/run": "r",
        "fedstream/round": "2",
        "fedstream/weights-digest": "e" * 64,
    }
    for key in document["metadata"]["annotations"]:
        assert re.fullmatch(r"[a-z]+/[a-z-]+", key)


def test_the_same_version_is_the_same_bytes() -> None:
    again = dict(reversed(LINEAGE.items()))
    assert inference_service("mine", 3, URI, LINEAGE) == inference_service("mine", 3, URI, again)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("mine", "mine"),
        ("builtin:digits-mlp", "builtin-digits-mlp"),
        ("My_Model.v2", "my-model-v2"),
        ("2nn", "model-2nn"),
        ("a" * 63, "a" * 40),
        ("a" * 39 + "-b", "a" * 39),
        ("X_", "x"),
    ],
)
def test_a_models_name_becomes_one_that_kserve_takes(model: str, name: str) -> None:
    assert service_name(model) == name
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name)


def test_tensorflow_serving_finds_a_numbered_folder_below_the_one_it_is_given() -> None:
    base, _, number = saved_model_folder(3).rpartition("/")
    assert URI.endswith(f"/{base}")
    assert number.isdigit()
