"""The looping federated pipeline.

KFP has no while loop, so the store decides which round a slot runs, never the loop's index.
"""

from typing import Any, Dict

from fedstream.components import (
    aggregate,
    evaluate,
    ingest_from_kafka,
    local_train,
    open_round,
    plan_training,
    select_clients,
)
from fedstream.components import publish as publish_version
from fedstream.components.form import FORM as PLANNED
from fedstream.pipelines.form import taking_form
from fedstream.pipelines.wiring import connect, with_noise
from kfp import dsl, kubernetes

from fedstream.record.form import packed_form
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec

RUN_DEADLINE_S = 7 * 86_400
"""A pod that fits no node stays Pending and keeps the run Running; only a compiled deadline ends such a run."""


@dsl.pipeline(
    name="one-round", description="One federated round: select, ingest and train per client, aggregate, evaluate."
)
def one_round(
    run: str,
    round: int,
    rounds: int,
    attempt: str,
    memory: str,
    config_map: str,
    store_secret: str,
    client_store_secret: str,
    kafka_secret: str,
    noise_secret: str,
) -> None:
    """Run one round of a run.

    Args:
        run: Name of the run.
        round: Number of the round.
        rounds: Total number of training rounds.
        attempt: Id of this submission.
        memory: Memory of a step that holds records or weights.
        config_map: Config map with the addresses of Kafka and the store.
        store_secret: Secret with the run's key for the store.
        client_store_secret: Secret with the clients' key for the store.
        kafka_secret: Secret with Kafka's credentials.
        noise_secret: Secret with the noise of central differential privacy.
    """
    names = {"config_map": config_map, "store_secret": store_secret, "kafka_secret": kafka_secret}
    selected = connect(select_clients(run=run, round=round, rounds=rounds), **names)
    each_client = dsl.ParallelFor(selected.output, name="clients")
    with each_client as client:
        each_client.name = "client"  # the UI numbers the iterations of a loop by this name
        ingested = ingest_from_kafka(
            run=run, round=round, client=client, attempt=attempt, store_secret=client_store_secret
        )
        slice = connect(ingested, memory=memory, **names | {"store_secret": client_store_secret}).outputs
        with_noise(ingested, client_store_secret)  # of the statistics that a client sends in round 0
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
        with_noise(trained, slice["store_secret"])  # local noise is the client's own
        trained.set_accelerator_type(slice["gpu_type"]).set_accelerator_limit(slice["gpu_count"])
        kubernetes.add_node_selector_json(trained, slice["node_selector"])
        kubernetes.add_toleration_json(trained, slice["tolerations"])
    collected = dsl.Collected(trained.outputs["Output"])
    aggregated = connect(aggregate(run=run, round=round, attempt=attempt, trained=collected), memory=memory, **names)
    with_noise(aggregated, noise_secret)
    connect(evaluate(run=run, round=round), memory=memory, **names).after(aggregated)


@dsl.pipeline(
    name="federated-training",
    description="Federated learning on Kafka streams: rounds of ingest, local training, aggregation and evaluation; "
    "then a published model.",
    pipeline_config=dsl.PipelineConfig(active_deadline_seconds=RUN_DEADLINE_S),
)
@taking_form(packed_form(RunSpec, PipelineOptions))
def federated_training(form: Dict[str, Any]) -> int:
    """Train one model on the streams of many clients."""
    run, rounds, memory = form["run"], form["rounds"], form["memory"]
    names = {name: form[name] for name in ("config_map", "store_secret", "kafka_secret")}
    attempt = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    slots = plan_training(**{field.name: form[field.name] for field in PLANNED})
    connect(slots, memory=memory, **names)
    each_slot = dsl.ParallelFor(slots.outputs["Output"], parallelism=1, name="rounds")
    with each_slot as slot:
        each_slot.name = "slot"
        secrets = {name: form[name] for name in ("store_secret", "client_store_secret")}
        opened = connect(open_round(run=run, rounds=rounds, attempt=attempt, slot=slot, **secrets), **names).outputs
        with dsl.If(opened["Output"] >= 0, name="open"):
            done = one_round(
                run=run,
                round=opened["Output"],
                rounds=rounds,
                attempt=attempt,
                memory=memory,
                client_store_secret=opened["store_secret"],
                noise_secret=form["noise_secret"],
                **names,
            )
            done.set_caching_options(False)
    published = connect(publish_version(run=run, rounds=rounds), memory=memory, **names)
    version: int = published.after(done).outputs["Output"]  # to kfp, a channel of an int
    return version
