"""plan_training as a KFP component. `make compile` writes the parameters that come from the form, and what its docstring says of them."""

from typing import Any, Dict, List

from fedstream.components.base import TRAIN_IMAGE, step
from kfp.dsl import Markdown, Output


@step(TRAIN_IMAGE)
def plan_training(
    matched: Output[Markdown],
    # made by `make compile`
    run: str,
    model: str,
    purpose: str = "",
    clients: List[str] = [],
    client_fraction: float = 1.0,
    min_clients: int = 0,
    evaluation_topic: str = "",
    data_restriction: Dict[str, Any] = {},
    slices: str = "newest",
    own_topics: bool = False,
    min_data: int = 1,
    validation_rate: float = 0.1,
    epochs: int = 1,
    batch_size: int = 32,
    learning_rate: float = 0.0,
    mixed_precision: bool = False,
    seed: int = 0,
    threads: int = 2,
    baseline: bool = False,
    strategy: str = "FedAvg",
    strategy_config: Dict[str, Any] = {},
    outlier_bound: float = 10.0,
    rounds: int = 15,
    target_metric: str = "accuracy",
    target_value: float = 0.0,
    patience: int = 0,
    publish: str = "always",
    round_deadline_s: float = 600.0,
    placement: Dict[str, Any] = {
        "node_selector": {},
        "tolerations": [],
        "gpu_type": "",
        "gpu_count": 0,
        "gpu_memory_mib": 0,
        "cpu_fallback": False,
    },
    sites: Dict[str, Any] = {},
    node_budget: int = 1200,
    # end of what is made
) -> List[int]:
    """Validate the form, match the clients' announcements, and return the slots of the loop.

    Args:
        matched: Page of the clients that take part, and why others don't.
        run: Name of the run; submitted again with the same name, a run goes on where it stopped.
        model: Name of an added model, or builtin:digits-mlp, builtin:mnist-2nn, builtin:mnist-cnn.
        purpose: What the model is for, in a sentence or two; it appears in the report and in the model card.
        clients: Clients to ask; empty for all whose announcements match.
        client_fraction: Part of the clients asked in each round, above 0 and up to 1.
        min_clients: Quorum: accepted updates that a round needs; 0 for all that are asked where clients are named, else for 1.
        evaluation_topic: Labelled records to measure each global model on: a topic, or offsets as topic:0:0:360; empty for federated evaluation.
        data_restriction: Must equal the restrictions of an announcement; {} for streams without any.
        slices: Which announcements of a client count: newest for the last one alone, all for all together.
        own_topics: Accept only announcements of topics that begin with the client's name and a dot, as a secured broker's rights enforce.
        min_data: Records a client must have announced.
        validation_rate: Part of the records held out at clients whose announcement names none.
        epochs: Passes over a client's records in a round.
        batch_size: Records in one optimizer step.
        learning_rate: Learning rate of the clients' optimizer; 0 for the one that the model was compiled with.
        mixed_precision: Train in half precision: float16 on GPUs, bfloat16 on processors. Weights and measurements stay float32.
        seed: Seed of client selection, splits and shuffles.
        threads: TensorFlow threads of a training; they affect the digests.
        baseline: Also train each client alone, once, for comparison in the report; takes as long as its part of the run.
        strategy: How updates become the next global model; `fedstream strategies` lists them.
        strategy_config: Parameters of the strategy, as {"server_learning_rate": 0.05} of FedAdam; those left out have their defaults.
        outlier_bound: From three updates up, reject one whose norm exceeds the round's median this many times; 0 to reject none.
        rounds: Training rounds in all; the number may grow when a run is submitted again.
        target_metric: Metric watched for the target, patience and the best model.
        target_value: The run stops when the metric reaches this value; 0 for no target.
        patience: The run stops after this many measurements without improvement; 0 for never.
        publish: Whether a finished run becomes a version of the model: always, if-better than the newest one, or never.
        round_deadline_s: Seconds a client may wait for its data, and again train.
        placement: Where clients train, as {"node_selector": {"gpu": "h100"}, "gpu_type": "nvidia.com/gpu", "gpu_count": 1}; see docs/gpu.md.
        sites: What differs per client, as {"a": {"bootstrap_servers": "a:1", "store_secret": "a", "placement": {"node_selector": {"site": "a"}}}}.
        node_budget: Argo nodes that one submission may use; the next submission of the same run goes on from there.
    """
    from fedstream import steps

    values = {name: value for name, value in locals().items() if name not in ("matched", "node_budget", "steps")}
    return steps.plan_training(values, node_budget, matched.path)
