"""ingest_from_kafka as a KFP component."""

from typing import NamedTuple

from fedstream.components.base import SLIM_IMAGE, step


@step(SLIM_IMAGE)
def ingest_from_kafka(run: str, round: int, client: str, attempt: str, store_secret: str = "") -> NamedTuple(
    "Ingested",
    [
        ("slice_key", str),
        ("node_selector", dict),
        ("tolerations", list),
        ("gpu_type", str),
        ("gpu_count", str),
        ("store_secret", str),
    ],
):
    """Wait for a client's records, validate them, and fix the slice it trains on. The records stay in Kafka.

    Args:
        run: Name of the run.
        round: Number of the round.
        client: Name of the client.
        attempt: Id of this submission.
        store_secret: Secret with the clients' key for the store, for clients whose site names no secret.

    Returns:
        slice_key: Key of the slice; empty if the client cannot take part in this round.
        node_selector: Node labels of its training pod.
        tolerations: Tolerations of its training pod.
        gpu_type: Resource name of its accelerator; empty for none.
        gpu_count: Number of accelerators.
        store_secret: Secret with the key that its training pod uses for the store.
    """
    from fedstream import steps

    return steps.ingest_from_kafka(run, round, client, attempt, store_secret)
