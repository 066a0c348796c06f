"""The looping federated pipeline. KFP has no while loop: the store decides which round a slot runs, never the loop's index."""

from typing import Dict, List

from fedstream.components import aggregate, evaluate, ingest_from_kafka, local_train, open_round, plan_training, select_clients
from fedstream.components import publish as publish_version
from fedstream.pipelines.wiring import connect
from kfp import dsl, kubernetes

RUN_DEADLINE_S = 7 * 86_400
"""A pod that fits no node stays Pending and keeps the run Running; only a compiled deadline ends that."""


@dsl.pipeline(name="one-round", description="One federated round: select, ingest and train per client, aggregate, evaluate.")
def one_round(
    run: str, round: int, rounds: int, attempt: str, memory: str, config_map: str, store_secret: str, client_store_secret: str, kafka_secret: str
):
    """Run one round of a run.

    Args:
        run: Name of the run.
        round: Number of the round.
        rounds: Training rounds in all.
        attempt: Id of this submission.
        memory: Memory of a step that holds records or weights.
        config_map: Config map with the addresses of Kafka and the store.
        store_secret: Secret with the run's key for the store.
        client_store_secret: Secret with the clients' key for the store.
        kafka_secret: Secret with Kafka's credentials.
    """
    names = {"config_map": config_map, "store_secret": store_secret, "kafka_secret": kafka_secret}
    selected = connect(select_clients(run=run, round=round, rounds=rounds), **names)
    each_client = dsl.ParallelFor(selected.output, name="clients")
    with each_client as client:
        each_client.name = "client"  # the UI numbers the iterations of a loop by this name
        ingested = ingest_from_kafka(run=run, round=round, client=client, attempt=attempt, store_secret=client_store_secret)
        slice = connect(ingested, memory=memory, **names | {"store_secret": client_store_secret}).outputs
        trained = local_train(
            run=run,
            round=round,
            client=client,
            slice_key=slice["slice_key"],
            attempt=attempt,
            gpu_type=slice["gpu_type"],
            gpu_count=slice["gpu_count"],
            memory=memory,
        )
        connect(trained, memory=memory, **names | {"store_secret": slice["store_secret"]})
        trained.set_accelerator_type(slice["gpu_type"]).set_accelerator_limit(slice["gpu_count"])
        kubernetes.add_node_selector_json(trained, slice["node_selector"])
        kubernetes.add_toleration_json(trained, slice["tolerations"])
    collected = dsl.Collected(trained.outputs["Output"])
    aggregated = connect(aggregate(run=run, round=round, attempt=attempt, trained=collected), memory=memory, **names)
    connect(evaluate(run=run, round=round), memory=memory, **names).after(aggregated)


@dsl.pipeline(
    name="federated-training",
    description="Federated learning on Kafka streams: rounds of ingest, local training, aggregation and evaluation; then a published model.",
    pipeline_config=dsl.PipelineConfig(active_deadline_seconds=RUN_DEADLINE_S),
)
def federated_training(
    run: str,
    model: str = "builtin:mnist-2nn",
    purpose: str = "",
    clients: List[str] = [],  # noqa: B006
    evaluation_topic: str = "",
    data_restriction: Dict[str, str] = {},  # noqa: B006
    slices: str = "newest",
    own_topics: bool = False,
    min_data: int = 1,
    validation_rate: float = 0.1,
    rounds: int = 15,
    client_fraction: float = 1.0,
    min_clients: int = 0,
    strategy: str = "FedAvg",
    strategy_config: Dict[str, str] = {},  # noqa: B006
    outlier_bound: float = 10.0,
    epochs: int = 1,
    batch_size: int = 32,
    learning_rate: float = 0.0,
    mixed_precision: bool = False,
    seed: int = 0,
    threads: int = 2,
    target_metric: str = "accuracy",
    target_value: float = 0.0,
    patience: int = 0,
    baseline: bool = False,
    publish: str = "always",
    round_deadline_s: float = 600.0,
    placement: Dict[str, str] = {},  # noqa: B006
    sites: Dict[str, Dict[str, str]] = {},  # noqa: B006
    cpu_fallback: bool = False,
    gpu_memory_mib: int = 0,
    node_budget: int = 1200,
    memory: str = "4Gi",
    config_map: str = "fedstream",
    store_secret: str = "mlpipeline-minio-artifact",
    client_store_secret: str = "",
    kafka_secret: str = "fedstream-kafka",
) -> int:
    """Train one model on the streams of many clients.

    Args:
        run: Name of the run; submitted again with the same name, a run goes on where it stopped.
        model: Name of an added model, or builtin:digits-mlp, builtin:mnist-2nn, builtin:mnist-cnn.
        purpose: What the model is for, in a sentence or two; stands in the report and in the model card.
        clients: Clients to ask; empty for all whose announcements match.
        evaluation_topic: Labelled records to measure each global model on: a topic, or offsets as topic:0:0:360; empty for federated evaluation.
        data_restriction: Must equal the restrictions of an announcement; {} for streams without any.
        slices: Which announcements of a client count: newest for the last one alone, all for all together.
        own_topics: Accept only announcements of topics that begin with the client's name and a dot, as a secured broker's rights enforce.
        min_data: Records a client must have announced.
        validation_rate: Part of the records held out at clients whose announcement names none.
        rounds: Training rounds in all; the one value that may grow when a run is submitted again.
        client_fraction: Part of the clients asked in each round, above 0 and up to 1.
        min_clients: Quorum: accepted updates that a round needs; 0 for all that are asked where clients are named, else for 1.
        strategy: How updates become the next global model; `fedstream strategies` lists them.
        strategy_config: Parameters of the strategy, as {"server_learning_rate": 0.05} of FedAdam; those left out have their defaults.
        outlier_bound: From three updates up, reject one whose norm exceeds the round's median this many times; 0 to reject none.
        epochs: Passes over a client's records in a round.
        batch_size: Records in one optimizer step.
        learning_rate: Of the clients' optimizer; 0 for the one the model was compiled with.
        mixed_precision: Train in half precision: float16 on GPUs, bfloat16 on processors. Weights and measurements stay float32.
        seed: Of client selection, splits and shuffles.
        threads: TensorFlow threads of a training; part of what makes a digest.
        target_metric: Metric watched for the target, patience and the best model.
        target_value: The run stops when the metric reaches it; 0 for no target.
        patience: The run stops after this many measurements without improvement; 0 for never.
        baseline: Also train each client alone, once, for comparison in the report; takes as long as its part of the run.
        publish: Whether a finished run becomes a version of the model: always, if-better than the newest one, or never.
        round_deadline_s: Seconds a client may wait for its data, and again train.
        placement: Default placement, as {"node_selector": {}, "tolerations": [], "gpu_type": "nvidia.com/gpu", "gpu_count": 1}.
        sites: What differs per client, as {"a": {"bootstrap_servers": "a:1", "store_secret": "a", "placement": {"node_selector": {"site": "a"}}}}.
        cpu_fallback: Train on the processor at clients that ask for a GPU and find none, instead of leaving them out.
        gpu_memory_mib: Most memory a training takes on each GPU, in MiB, where pods share one; 0 to take more as it is needed.
        node_budget: Argo nodes one submission may use; what it cannot hold, the next submission of the same run goes on with.
        memory: Memory at which a step that holds records or weights is ended, at least 1Gi; raise it and submit again when one was.
        config_map: Config map with KAFKA_BOOTSTRAP_SERVERS, S3_ENDPOINT_URL, S3_BUCKET and the like.
        store_secret: Secret with the store's accesskey and secretkey.
        client_store_secret: The same for steps of clients, whose key may then do less; empty for store_secret. A site may name its own.
        kafka_secret: Secret with Kafka's username and password; may be absent.
    """
    names = {"config_map": config_map, "store_secret": store_secret, "kafka_secret": kafka_secret}
    attempt = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    slots = plan_training(
        run=run,
        model=model,
        purpose=purpose,
        clients=clients,
        evaluation_topic=evaluation_topic,
        data_restriction=data_restriction,
        slices=slices,
        own_topics=own_topics,
        min_data=min_data,
        validation_rate=validation_rate,
        rounds=rounds,
        client_fraction=client_fraction,
        min_clients=min_clients,
        strategy=strategy,
        strategy_config=strategy_config,
        outlier_bound=outlier_bound,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        mixed_precision=mixed_precision,
        seed=seed,
        threads=threads,
        target_metric=target_metric,
        target_value=target_value,
        patience=patience,
        baseline=baseline,
        publish=publish,
        round_deadline_s=round_deadline_s,
        placement=placement,
        sites=sites,
        cpu_fallback=cpu_fallback,
        gpu_memory_mib=gpu_memory_mib,
        node_budget=node_budget,
    )
    connect(slots, memory=memory, **names)
    each_slot = dsl.ParallelFor(slots.outputs["Output"], parallelism=1, name="rounds")
    with each_slot as slot:
        each_slot.name = "slot"
        secrets = {"store_secret": store_secret, "client_store_secret": client_store_secret}
        opened = connect(open_round(run=run, rounds=rounds, attempt=attempt, slot=slot, **secrets), **names).outputs
        with dsl.If(opened["Output"] >= 0, name="open"):
            done = one_round(
                run=run, round=opened["Output"], rounds=rounds, attempt=attempt, memory=memory, client_store_secret=opened["store_secret"], **names
            )
            done.set_caching_options(False)
    published = connect(publish_version(run=run, rounds=rounds), memory=memory, **names)
    return published.after(done).outputs["Output"]
