"""local_train as a KFP component."""

from fedstream.components.base import TRAIN_IMAGE, step
from kfp.dsl import Metrics, Output


@step(TRAIN_IMAGE)
def local_train(
    run: str,
    round: int,
    client: str,
    slice_key: str,
    attempt: str,
    usage: Output[Metrics],
    gpu_type: str = "",
    gpu_count: str = "0",
    memory: str = "4Gi",
) -> str:
    """Train the global model on a client's slice, and write its update.

    Only weights, counts and metrics leave the site.

    Args:
        run: Name of the run.
        round: Number of the round.
        client: Name of the client.
        slice_key: Key of the slice, as returned by ingest_from_kafka.
        attempt: Id of this submission.
        usage: Time, memory and utilisation of the training, for the Kubeflow UI.
        gpu_type: Accelerator of the pod. It is an argument so that the compiled loop passes it to the scheduler.
        gpu_count: Number of accelerators; an argument for the same reason.
        memory: Memory of the pod; an argument for the same reason.
    """
    from fedstream import steps

    return steps.local_train(run, round, client, slice_key, attempt, usage)
