"""Kafka-ML's module of FederatedRawSink."""

from fedstream.stream import FederatedRawSink

__all__ = ["FederatedRawSink"]
