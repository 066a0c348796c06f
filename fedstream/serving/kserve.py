"""A published version as a KServe InferenceService. Knows no cluster: the YAML is one of the version's files."""

from __future__ import annotations

import re

NAME = "inference_service.yaml"
LONGEST = 40
"""Maximum length of the name: KServe uses `NAME-predictor-NAMESPACE` as a DNS label of at most 63 characters."""

ACCOUNT = "fedstream"
"""Service account whose Secret allows KServe to read the bucket."""


def saved_model_folder(number: int) -> str:
    """Return the folder of the SavedModel among the files of a version.

    TensorFlow Serving, which KServe runs, requires a numbered folder below the given one and reports the number as the
    model's version.
    """
    return f"saved_model/{number}"


def inference_service(model: str, number: int, storage_uri: str, lineage: dict[str, str]) -> bytes:
    """Return the YAML of an InferenceService.

    Args:
        model: Name of the model.
        number: Number of the version.
        storage_uri: URI of the folder above `saved_model_folder`.
        lineage: Origin of the version, written as annotations.
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
        "spec": {
            "predictor": {
                "serviceAccountName": ACCOUNT,
                "model": {"modelFormat": {"name": "tensorflow"}, "storageUri": storage_uri},
            }
        },
    }
    return yaml.safe_dump(document, sort_keys=False, width=1000).encode()


def service_name(model: str) -> str:
    """Return a model's name as KServe accepts it: lowercase letters, digits and hyphens, beginning with a letter."""
    plain = re.sub("[^a-z0-9]+", "-", model.lower()).strip("-")
    return (plain if plain[:1].isalpha() else f"model-{plain}")[:LONGEST].rstrip("-")
