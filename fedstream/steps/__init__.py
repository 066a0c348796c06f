"""The steps of a run, one file each.

The body of each component calls one function from here. This is the only package that knows both Kafka and S3.
"""

from fedstream.steps.aggregate import aggregate
from fedstream.steps.evaluate import evaluate
from fedstream.steps.ingest import ingest_from_kafka
from fedstream.steps.open_round import open_round
from fedstream.steps.plan import plan_training
from fedstream.steps.publish import publish
from fedstream.steps.select_clients import select_clients
from fedstream.steps.statistics import statistics
from fedstream.steps.train import local_train

__all__ = [
    "aggregate",
    "evaluate",
    "ingest_from_kafka",
    "local_train",
    "open_round",
    "plan_training",
    "publish",
    "select_clients",
    "statistics",
]
