"""The pipelines, and the path of their compiled YAML."""

from importlib.resources import files
from pathlib import Path

from fedstream.pipelines.federated_training.pipeline import federated_training

FEDERATED_TRAINING_YAML = Path(str(files("fedstream.pipelines") / "federated_training" / "pipeline.yaml"))

__all__ = ["FEDERATED_TRAINING_YAML", "federated_training"]
