"""Federated learning on Kafka streams, as Kubeflow pipelines."""

__version__ = "0.1.0"
