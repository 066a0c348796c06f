"""Kafka-ML's module of OnlineFederatedRawSink."""

from fedstream.stream import OnlineFederatedRawSink

__all__ = ["OnlineFederatedRawSink"]
