"""plan_run as a KFP component."""

from typing import Dict, List

from fedstream.components.base import TRAIN_IMAGE, step
from kfp.dsl import Markdown, Output


@step(TRAIN_IMAGE)
def plan_run(
    run: str,
    model: str,
    matched: Output[Markdown],
    clients: List[str] = [],  # noqa: B006
    rounds: int = 15,
    epochs: int = 1,
    batch_size: int = 32,
    learning_rate: float = 0.0,
    strategy: str = "FedAvg",
    client_fraction: float = 1.0,
    seed: int = 0,
    min_clients: int = 1,
    min_data: int = 1,
    data_restriction: Dict[str, str] = {},  # noqa: B006
    validation_rate: float = 0.1,
    target_metric: str = "accuracy",
    target_value: float = 0.0,
    patience: int = 0,
    evaluation_topic: str = "",
    round_deadline_s: float = 600.0,
    threads: int = 2,
    sites: Dict[str, Dict[str, str]] = {},  # noqa: B006
    placement: Dict[str, str] = {},  # noqa: B006
    node_budget: int = 3500,
) -> List[int]:
    """Validate the form, match the clients' announcements, and return the slots of the loop.

    Args:
        run: Name of the run; submitted again with the same name, a run goes on where it stopped.
        model: Name of an added model, or builtin:digits-mlp, builtin:mnist-2nn, builtin:mnist-cnn.
        matched: Page of the clients that take part, and why others don't.
        clients: Clients to ask; empty for all whose announcements match.
        rounds: Training rounds in all; the one value that may grow when a run is submitted again.
        epochs: Passes over a client's records in a round.
        batch_size: Records in one optimizer step.
        learning_rate: Of the clients' optimizer; 0 for the one the model was compiled with.
        strategy: How updates become the next global model.
        client_fraction: Part of the clients asked in each round, above 0 and up to 1.
        seed: Of client selection, splits and shuffles.
        min_clients: Quorum, the accepted updates that a round needs.
        min_data: Records a client must have announced.
        data_restriction: Must equal the restrictions of an announcement; {} for streams without any.
        validation_rate: Part of the records held out at clients whose announcement names none.
        target_metric: Metric watched for the target, patience and the best model.
        target_value: The run stops when the metric reaches it; 0 for no target.
        patience: The run stops after this many measurements without improvement; 0 for never.
        evaluation_topic: Topic of labelled records to measure each global model on; empty for federated evaluation on held-out records.
        round_deadline_s: Seconds a client may wait for its data, and again train.
        threads: TensorFlow threads of a training; part of what makes a digest.
        sites: What differs per client, as {"a": {"bootstrap_servers": "broker:9092", "placement": {"node_selector": {"site": "a"}}}}.
        placement: Default placement, as {"node_selector": {}, "tolerations": [], "gpu_type": "nvidia.com/gpu", "gpu_count": 1}.
        node_budget: Argo nodes one submission may use; the next submission goes on.
    """
    from fedstream import steps

    values = {name: value for name, value in locals().items() if name not in ("matched", "node_budget", "steps")}
    return steps.plan_run(values, node_budget, matched.path)
