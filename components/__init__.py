"""The steps of a federated run as KFP components. The body of each calls one function of fedstream.steps."""

from fedstream.components.aggregate.component import aggregate
from fedstream.components.evaluate.component import evaluate
from fedstream.components.ingest_from_kafka.component import ingest_from_kafka
from fedstream.components.local_train.component import local_train
from fedstream.components.open_round.component import open_round
from fedstream.components.plan_training.component import plan_training
from fedstream.components.publish.component import publish
from fedstream.components.select_clients.component import select_clients
from fedstream.components.statistics.component import statistics

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
