"""plan_training as a KFP component.

`make compile` writes the parameters that come from the form, and their descriptions in the docstring.
"""

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
    data_options: Dict[str, Any] = {
        "data_restriction": {},
        "slices": "newest",
        "own_topics": False,
        "min_data": 1,
        "max_skipped": 0,
        "validation_rate": 0.1,
        "preprocessing": {"steps": [], "one_hot_labels": 0},
        "statistics": {"gather": False, "min_records": 10, "noise_multiplier": 0.0, "bounds": {}},
        "feed": {"kind": "announced", "at_least": 1, "at_most": 100000, "timeout_s": 60.0},
    },
    epochs: int = 1,
    batch_size: int = 32,
    learning_rate: float = 0.0,
    training_options: Dict[str, Any] = {
        "mixed_precision": False,
        "threads": 2,
        "stream_above_mib": 0,
        "baseline": False,
        "unsupervised": False,
        "unsupervised_rounds": 5,
        "confidence": 0.9,
    },
    seed: int = 0,
    strategy: str = "FedAvg",
    strategy_config: Dict[str, Any] = {},
    aggregation_options: Dict[str, Any] = {
        "outlier_bound": 10.0,
        "leave_one_out": False,
        "clipping": {"norm": 0.0, "quantile": 0.0, "learning_rate": 0.2, "zero_above": 0.0},
        "exchange": {"variables": "default", "personal": [], "compression": "none", "fraction": 0.01},
        "privacy": {"where": "", "noise_multiplier": 0.0, "delta": 0.0, "max_epsilon": 0.0},
    },
    rounds: int = 15,
    target_metric: str = "accuracy",
    target_value: float = 0.0,
    patience: int = 0,
    publish: str = "always",
    stopping_options: Dict[str, Any] = {"indefinite": False, "change": "auto", "improvement": 0.05},
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
        matched: Page that lists the clients that take part, and why the others do not.
        run: Name of the run. A run that is submitted again under the same name continues where it stopped.
        model: Name of an added model, or builtin:digits-mlp, builtin:mnist-2nn or builtin:mnist-cnn.
        purpose: What the model is for, in a sentence or two. It appears in the report and the model card.
        clients: Clients to ask; empty for all clients whose announcements match.
        client_fraction: Fraction of the clients to ask in each round, above 0 and up to 1.
        min_clients: Quorum: number of accepted updates that a round needs; 0 for every client that is asked if clients
            are named, otherwise for 1.
        evaluation_topic: Labelled records to measure each global model on: a topic, or offsets such as topic:0:0:360;
            empty for federated evaluation.
        data_options: Rarely used values in one object; keys that are left out keep their defaults. data_restriction:
            Must equal the restrictions of an announcement; {} for streams without any. slices: Which announcements of a
            client count: newest for only the latest one, all for all of them. own_topics: Accept only announcements of
            topics whose names begin with the client's name and a dot, as the access rules of a secured broker enforce.
            min_data: Minimum number of records that a client must have announced. max_skipped: Maximum number of a
            client's records to leave out because they cannot be read as announced; 0 to refuse the client instead. The
            slice names each of them. validation_rate: Fraction of the records to hold out at clients whose announcement
            sets none. preprocessing: What happens to records before they reach the model, such as {"steps": [{"step":
            "standardise"}]}; see docs/preprocessing.md. statistics: Statistics of the clients' records before the first
            round, such as {"gather": true}; see docs/statistics.md. feed: Which records a client trains on in a round:
            all that it announced, or what is new, such as {"kind": "new", "at_least": 100, "at_most": 5000,
            "timeout_s": 60}; see docs/live.md.
        epochs: Passes over a client's records in a round.
        batch_size: Records in one optimizer step.
        learning_rate: Learning rate of the clients' optimizer; 0 for the rate that the model was compiled with.
        training_options: Rarely used values in one object; keys that are left out keep their defaults. mixed_precision:
            Train in half precision: float16 on GPUs, bfloat16 on processors. Weights and measurements stay float32.
            threads: TensorFlow threads per training. Their number affects the digests. stream_above_mib: MiB of a
            client's records above which each pass reads them anew from Kafka instead of holding them in memory; 0 for
            an eighth of the memory. No digest depends on it. baseline: Also train each client alone, once, for
            comparison in the report. This takes as long as the client's part of the run. unsupervised: Also train on
            the records without labels that clients announce (unsupervised_topic), labelled by the model's confident
            predictions. unsupervised_rounds: With unsupervised, how often at most a client labels them anew in a round.
            confidence: With unsupervised, the probability from which a prediction counts as a label, from 0.5 to 1.
        seed: Seed for client selection, splits and shuffles.
        strategy: How updates become the next global model. `fedstream strategies` lists the strategies.
        strategy_config: Parameters of the strategy, such as {"server_learning_rate": 0.05} for FedAdam; parameters that
            are left out keep their defaults.
        aggregation_options: Rarely used values in one object; keys that are left out keep their defaults.
            outlier_bound: With three or more updates, reject each whose norm exceeds this multiple of the round's
            median; 0 to reject none. leave_one_out: Also measure what each round's model would be without each client's
            update, on the evaluation topic. This takes one evaluation for each client. clipping: Limits of a client's
            change, such as {"norm": 1.0}; see docs/strategies.md. exchange: What travels, such as {"compression":
            "int8"}; see docs/exchange.md. privacy: Differential privacy, such as {"where": "central",
            "noise_multiplier": 1, "delta": 0.00001, "max_epsilon": 8}; see docs/privacy.md.
        rounds: Total number of training rounds. It can grow when a run is submitted again.
        target_metric: Metric that decides on the target, patience and the best model.
        target_value: The run stops when the metric reaches this value; 0 for no target.
        patience: The run stops after this many measurements without improvement; 0 to never stop early.
        publish: Whether a finished run becomes a version of the model: always, if-better than the newest version, or
            never.
        stopping_options: Rarely used values in one object; keys that are left out keep their defaults. indefinite: Go
            on for as long as new records come. Each submission runs up to `rounds` more rounds, and publishes a version
            if the target metric has moved. change: Direction in which the target metric of an indefinite run has to
            move: up, down, or auto for up if it is a score and down if it is a loss. improvement: How far the target
            metric of an indefinite run has to move for a new version.
        round_deadline_s: Seconds that a client has to wait for its data, and again to train.
        placement: Where clients train, such as {"node_selector": {"gpu": "h100"}, "gpu_type": "nvidia.com/gpu",
            "gpu_count": 1}; see docs/gpu.md.
        sites: Differences per client, such as {"a": {"bootstrap_servers": "a:1", "store_secret": "a", "placement":
            {"node_selector": {"site": "a"}}}}.
        node_budget: Argo nodes that one submission can use; the next submission of the run continues from there.
    """
    from fedstream import steps

    values = {name: value for name, value in locals().items() if name not in ("matched", "node_budget", "steps")}
    return steps.plan_training(values, node_budget, matched.path)
