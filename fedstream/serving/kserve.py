"""A published version as a KServe InferenceService. Knows no cluster: the YAML is a file among the version's others."""

from __future__ import annotations

import re

NAME = "inference_service.yaml"
LONGEST = 40
"""Characters of its name: KServe makes `NAME-predictor-NAMESPACE` a host name's part, which may have 63."""

ACCOUNT = "fedstream"
"""Service account whose secret lets KServe read the bucket."""


def saved_model_folder(number: int) -> str:
    """Return the folder of the SavedModel's own files among a version's.

    TensorFlow Serving, which KServe runs, wants a numbered folder below the one it is given, and calls the number the model's version.
    """
    return f"saved_model/{number}"


def inference_service(model: str, number: int, storage_uri: str, lineage: dict[str, str]) -> bytes:
    """Return the YAML of an InferenceService.

    Args:
        model: model name.
        number: its version.
        storage_uri: of the folder above `saved_model_folder`.
        lineage: where the version comes from, for annotations.
    """
    import yaml

    annotations = {"model": model, "version": str(number)} | {key: lineage[key] for key in sorted(lineage)}
    document = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": service_name(model),
            "annotations": {f"fedstream/{key}": value for key, value in annotations.items()},
        },
        "spec": {"predictor": {"serviceAccountName": ACCOUNT, "model": {"modelFormat": {"name": "tensorflow"}, "storageUri": storage_uri}}},
    }
    return yaml.safe_dump(document, sort_keys=False, width=1000).encode()


def service_name(model: str) -> str:
    """Return a model's name as KServe takes it: lower-case letters, digits and hyphens, the first a letter."""
    plain = re.sub("[^a-z0-9]+", "-", model.lower()).strip("-")
    return (plain if plain[:1].isalpha() else f"model-{plain}")[:LONGEST].rstrip("-")
