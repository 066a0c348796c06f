"""local_train: train the global model on a client's slice, at the client's site.

Only weights, counts and metrics leave the site.
"""

from __future__ import annotations

from dataclasses import replace

from fedstream import __version__
from fedstream.aggregation.outcome import strategy_of
from fedstream.deadline import Deadline
from fedstream.errors import ModelError, ObjectConflict, RecordError
from fedstream.model.learner import Learner, TrainingConfig
from fedstream.model.modes import mode_of
from fedstream.model.streaming import AnyExamples
from fedstream.record.canonical import sha256_hex
from fedstream.record.documents import Manifest, Metrics, SliceDoc, offsets_of
from fedstream.record.exchange import select
from fedstream.record.extras import unprefixed
from fedstream.record.local_rule import NO_RULE
from fedstream.record.offsets import format_ranges
from fedstream.record.selection import client_seed
from fedstream.record.spec import RunSpec
from fedstream.record.weights import Weights, from_bytes, to_bytes
from fedstream.steps.client_state import client_state
from fedstream.steps.context import Context
from fedstream.steps.exchange import PERSONAL, kept_arrays, of_rule, written
from fedstream.steps.feeding import why_unexpected
from fedstream.steps.global_model import global_weights
from fedstream.steps.noise import local_noise
from fedstream.steps.preprocessing import transform_of
from fedstream.steps.refusal import refusing, why_refused
from fedstream.steps.runtime import MetricsArtifact, step
from fedstream.steps.slices import SliceRecords, examples_of, read_labelled, read_unlabelled
from fedstream.steps.streamed import replaced, stream_examples, streaming_limit
from fedstream.store.state import RunState, log
from fedstream.stream.bounds import SliceTooLarge
from fedstream.stream.records import RawRecords
from fedstream.stream.unusable import without_skipped


@step
def local_train(
    context: Context,
    run: str,
    round: int,
    client: str,
    slice_key: str,
    attempt: str,
    usage: MetricsArtifact | None = None,
) -> str:
    """Train the model and write the update, then its manifest. In a closing round, only measure the model.

    Args:
        context: The context in which the step runs.
        run: Name of the run.
        round: Number of the round.
        client: Name of the client.
        slice_key: Key that ingest_from_kafka returned; empty if the client cannot take part.
        attempt: Id of this submission.
        usage: KFP artifact to fill with the resources that the training used: time, memory, devices. The manifest
            contains none of these, so that it is the same each time.

    Returns:
        One line about the result.
    """
    state = context.run(run)
    if round == 0:
        return f"{client}: nothing is trained in round 0, which gathers statistics"
    if not slice_key:
        return (
            f"{client}: cannot take part in round {round}: "
            f"{why_refused(state, round, client, attempt) or 'ingest_from_kafka says why'}"
        )
    if state.finished(round, client):
        return f"{client}: had already finished round {round}"
    with refusing(state, round, client, attempt, "train"):
        document = state.slice(round, client)
        if document is None:
            raise RecordError(f"slice {slice_key} is not in the store; ingest_from_kafka must run first")
        if wrong := why_unexpected(state, round, document, client):
            raise RecordError(
                f"slice {slice_key} is not the planned one: {wrong}; it was changed after ingest_from_kafka wrote it"
            )
        return _train(context, state, round, document, context.deadline(state.spec.round_deadline_s), usage)
    return f"{client}: does not take part in round {round}"


def _train(
    context: Context, state: RunState, round: int, document: SliceDoc, deadline: Deadline, usage: MetricsArtifact | None
) -> str:
    spec, client, base = state.spec, document.client, state.base(round)
    learner = context.learner(state, client)
    fallback = _falls_back(spec, client, learner)
    measure_only = state.selection(round).kind == "closing"
    examples = _examples(context, state, document, deadline, measure_only)
    keys, weights = (
        state.keys.at(round),
        global_weights(context, state, state.ledger.model_round(round - 1), base.weights_digest),
    )
    shared = select(weights, state.record.parts)
    kept = client_state(context, state, round, client) if kept_arrays(state.record, shared) else {}
    weights |= unprefixed(PERSONAL, kept)
    config = TrainingConfig(
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        learning_rate=spec.learning_rate or None,
        seed=client_seed(spec.seed, round, client),
        threads=spec.threads,
        mixed_precision=spec.mixed_precision,
        measure_only=measure_only,
        deadline=deadline,
        rule=local_noise(state, round, client, strategy_of(spec).local_rule(), context.noise_secret),
        received=_received(context, state, round),
        state=of_rule(kept),
        parts=state.record.parts,
    )
    result = mode_of(spec).train(learner, weights, examples, config)
    update, own = None, None
    if not config.measure_only:
        update, own = (to_bytes(arrays) if arrays else None for arrays in written(state.record, shared, result, kept))
    digest = sha256_hex(update) if update else None
    manifest = Manifest(
        run=state.run,
        round=round,
        client=client,
        base_digest=base.weights_digest,
        update_digest=digest,
        client_state_digest=sha256_hex(own) if own else None,
        num_examples=result.num_examples,
        pseudo_labelled=result.pseudo_labelled,
        epochs=result.epochs,
        slice_key=keys.slice(client),
        slice_digest=document.digest,
        slice_document=state.slice_digest(round, client),
        seed=config.seed,
        threads=spec.threads,
        device=result.device,
        cpu_fallback=fallback,
        submission=len(state.submissions) or None,
        code_version=__version__,
        measure_only=config.measure_only,
        incoming=result.incoming,
        trained=result.trained,
        training=result.training,
    )
    if own:
        state.store.put_new(keys.client_state(client, sha256_hex(own)), own)
    if update and digest:
        state.store.put_new(keys.update(client, digest), update)
        alone = _alone(context, state, round, client, examples, config) if spec.baseline else None
        manifest = manifest.model_copy(update={"alone": alone})
    _write_manifest(state, manifest)
    for name, value in result.figures.items():
        if usage:
            usage.log_metric(name, value)
    line = (
        f"{client}: {'measured' if config.measure_only else 'trained on'} {result.num_examples} examples"
        f"{f' and {result.pseudo_labelled} that it labelled itself' if result.pseudo_labelled else ''} on "
        f"{result.device}"
    )
    line += (
        f"{f' for {result.epochs} of {spec.epochs} epochs, until its deadline' if result.epochs else ''}"
        f"{', because no GPU was found' if fallback else ''} "
        f"({', '.join(f'{name} {value:g}' for name, value in result.figures.items())})"
    )
    log.info("round %d: %s", round, line)
    return line


def _alone(
    context: Context, state: RunState, round: int, client: str, examples: AnyExamples, config: TrainingConfig
) -> Metrics | None:
    """Train the initial model on these records alone, and return its metrics on the held-out records.

    It is trained for as many epochs as the whole run. This happens once, with the client's first update. The result is
    None for a later update, without held-out records, and if the training fails or does not end before the deadline.
    """
    if not examples.count(held_out=True) or any(state.finished(before, client) for before in range(1, round)):
        return None
    spec, initial = state.spec, global_weights(context, state, 0, state.ledger.commit(0).weights_digest)
    longer = replace(
        config,
        epochs=spec.epochs * spec.rounds,
        seed=client_seed(spec.seed, 0, client),
        rule=NO_RULE,
        received={},
        state={},
    )
    try:
        alone = mode_of(spec).train(context.learner(state, client), initial, examples, longer).trained
    except ModelError as error:
        log.warning("round %d: %s takes part, but has no baseline for the report: %s", round, client, error)
        return None
    log.info(
        "round %d: %s, trained alone for %d epochs, has %s",
        round,
        client,
        longer.epochs,
        alone.values if alone else "no metrics",
    )
    return alone


def _received(context: Context, state: RunState, round: int) -> Weights:
    """Return the arrays that are broadcast with the global model of a round; empty if there are none."""
    key, digest = state.base_keys(round).broadcast, state.base(round).broadcast_digest
    return from_bytes(context.bytes_of(key, digest), key) if digest else {}


def _falls_back(spec: RunSpec, client: str, learner: Learner) -> bool:
    """Return whether a client that requests a GPU has none and falls back to the CPU.

    Raises:
        ModelError: The client has no GPU, and its placement does not allow the fallback.
    """
    placement = spec.placement_of(client)
    seen = learner.why_no_gpu() if placement.gpu_type else ""
    if seen and not placement.cpu_fallback:
        raise ModelError(
            f"its placement asks for {placement.gpu_count} {placement.gpu_type}, but {seen}: "
            "run local_train from the image "
            "fedstream-python-gpu, check the node's driver (docs/gpu.md), or submit the run again with "
            "cpu_fallback in the placement"
        )
    return bool(seen)


def _examples(
    context: Context, state: RunState, document: SliceDoc, deadline: Deadline, measure_only: bool
) -> AnyExamples:
    client = state.record.client(document.client)
    try:
        read = _read(context, state, document, deadline, measure_only)
    except SliceTooLarge as error:
        log.info("%s; each pass reads them anew", str(error).partition(",")[0])
        return stream_examples(context, state, document, deadline)
    return context.examples.get(
        f"{context.slice_id(document)}/{context.unlabelled_id(document) if read.unlabelled else ''}"
        f"/{client.held_out_rate}/{state.spec.seed}/{state.run}",
        lambda: examples_of(state.record, client, read, transform_of(state, client)),
    )


def _read(
    context: Context, state: RunState, document: SliceDoc, deadline: Deadline, measure_only: bool
) -> SliceRecords:
    broker, client = context.broker_of(state, document.client), state.record.client(document.client)
    limit = streaming_limit(state.record, client)
    labelled = context.records.get(
        context.slice_id(document),
        lambda: _unchanged(
            without_skipped(
                read_labelled(broker, state.record, client, document.fed, deadline, limit),
                offsets_of(document.skipped),
            ),
            document.digest,
        ),
    )
    if measure_only or not (unlabelled := document.unlabelled):
        return SliceRecords(labelled)
    others = context.records.get(
        context.unlabelled_id(document),
        lambda: _unchanged(read_unlabelled(broker, client, document.unlabelled_fed, deadline), unlabelled.digest),
    )
    return SliceRecords(labelled, others)


def _unchanged(records: RawRecords, digest: str) -> RawRecords:
    if records.digest != digest:
        raise replaced(format_ranges(records.ranges), records.digest, digest)
    return records


def _write_manifest(state: RunState, manifest: Manifest) -> None:
    try:
        state.put_new(state.keys.at(manifest.round).manifest(manifest.client), manifest)
    except ObjectConflict:
        log.info(
            "another submission has finished client %s in round %d; its manifest counts",
            manifest.client,
            manifest.round,
        )
