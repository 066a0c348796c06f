"""plan_training: validate the spec, match announcements, and write spec.json and round 0.

The step also decides the number of slots of the loop.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fedstream.aggregation.outcome import strategy_of, too_few
from fedstream.aggregation.private import check_private
from fedstream.catalog.models import ensure_model
from fedstream.deadline import Deadline
from fedstream.errors import BrokerError, ObjectConflict, QuorumError, RunError, SpecError
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.decision import trained_rounds
from fedstream.record.description import ModelDescription
from fedstream.record.documents import Submission
from fedstream.record.exchange import parts_of
from fedstream.record.layout import ModelKeys
from fedstream.record.operational import operational
from fedstream.record.run import AnnouncementRow, ModelReference, RunRecord
from fedstream.record.selection import clients_asked, quorum
from fedstream.record.spec import RunSpec, changed_field, parse_spec
from fedstream.steps.admission import Heard
from fedstream.steps.beginnings import awaited, with_beginnings
from fedstream.steps.context import Context
from fedstream.steps.markdown import plan_page
from fedstream.steps.matching import Matching, match, reasons
from fedstream.steps.overlaps import shared_records
from fedstream.steps.retry import patiently
from fedstream.steps.round_zero import write_round_zero
from fedstream.steps.runtime import step
from fedstream.store.state import RunState, log
from fedstream.stream.announcement import DATA_CONTROL_TOPIC
from fedstream.stream.broker import Broker, Brokers

CONTROL_DEADLINE_S = 60.0
"""Time limit to read one control topic, in seconds.

The broker of a laptop delivers tens of thousands of messages in that time.
"""

AWAY_S = 60.0
"""Seconds that all brokers together can be unavailable while a run is planned; a restart takes less."""

SPEC_BYTES = 8 * 1024 * 1024
"""Maximum size of spec.json in bytes.

Each step of each client reads it. A hundred clients with their announcements take 100 KiB.
"""

ROUND_NODES, CLIENT_NODES = 33, 18
"""Number of Argo nodes of one active round, and of each client in it (measured; see docs/decisions.md)."""


@step
def plan_training(
    context: Context, values: dict[str, Any], node_budget: int, markdown_path: str | None = None
) -> list[int]:
    """Plan a run, or continue one that is on record, and return the loop's slots.

    1. Validate the form values.
    2. Match announcements and write spec.json, or compare with the one on record.
    3. Put the operational values in force.
    4. Write round 0.
    5. Count the slots.

    Args:
        context: The context in which the step runs.
        values: Fields of RunSpec.
        node_budget: Maximum number of Argo nodes of one submission, since Argo's status has a size limit.
        markdown_path: Path of the page of matched clients; None for no page.

    Returns:
        Slot numbers 0, 1, ...; at least one, since a local loop over an empty list is an error.

    Raises:
        SpecError: A field is invalid, or differs from the run on record.
        RunError: A client that the run names does not match, or fewer clients match than the quorum.
    """
    spec = checked_spec(values)
    state = context.run(spec.run)
    state.store.check()
    record = _record(context, state, spec)
    put_in_force(state, spec)
    write_round_zero(state, record)
    slots, note = _slots(state, spec, node_budget)
    log.info(note)
    if markdown_path:
        with open(markdown_path, "w", encoding="utf-8") as page:
            page.write(plan_page(record, note))
    return list(range(slots))


def checked_spec(values: dict[str, Any]) -> RunSpec:
    """Validate form values, including the strategy and its parameters, and the guarantee of a private run.

    The result contains the defaults of omitted strategy parameters, so that they go on record too.

    Raises:
        SpecError: A value is invalid.
    """
    spec = parse_spec(values)
    strategy = strategy_of(spec)
    check_private(spec, strategy)
    return spec.model_copy(update={"strategy_config": strategy.model_dump(mode="json")})


def _record(context: Context, state: RunState, spec: RunSpec) -> RunRecord:
    if not state.store.exists(state.keys.spec):
        model = ensure_model(state.store, spec.model, spec.threads, spec.placement.gpu_memory_mib or None)
        parts = parts_of(spec.exchange, model)
        matching = awaited(context, spec, lambda: _matching(context, spec, model))
        record = RunRecord(
            spec=spec,
            model=ModelReference(
                name=spec.model,
                keras_digest=model.keras_digest,
                weights_digest=model.weights_digest,
                description_digest=sha256_hex(
                    state.store.get(ModelKeys(spec.model).initial(model.keras_digest, "json"))
                ),
            ),
            clients=matching.clients,
            evaluation=matching.evaluations[0] if matching.evaluations else None,
            announcements=matching.rows,
            features=matching.names.features,
            classes=matching.names.classes,
            parts=parts,
        )
        try:
            state.store.put_new(state.keys.spec, _spec_bytes(record))
        except ObjectConflict:
            log.info("another submission of run %s was planned first; its plan counts", spec.run)
    check_on_record(state, spec)
    return state.record


def _matching(context: Context, spec: RunSpec, model: ModelDescription) -> Matching:
    """Return the clients that take part, after checking that they are enough."""
    matching = match(spec, model, _hear(context, spec))
    clients = [with_beginnings(context.brokers, client) for client in matching.clients]
    _check(context.brokers, spec, model, matching := replace(matching, clients=clients))
    return matching


def _spec_bytes(record: RunRecord) -> bytes:
    """Return the bytes of spec.json.

    Raises:
        RunError: It would be larger than SPEC_BYTES, which every step has to read.
    """
    data = canonical_json(record.model_dump(mode="json"))
    if len(data) > SPEC_BYTES:
        raise RunError(
            f"the plan of {len(record.clients):,} clients takes {len(data):,} bytes, "
            f"more than the maximum of {SPEC_BYTES:,}; "
            "name fewer clients, or have them announce fewer ranges of offsets"
        )
    return data


def put_in_force(state: RunState, spec: RunSpec) -> None:
    """Put the operational values of this submission on record, if others are in force.

    Later steps read the values from there.
    """
    while (before := operational(state.spec)) != (values := operational(spec)):
        number = len(state.submissions) + 1
        submission = Submission(run=state.run, number=number, values=values)
        try:
            state.store.put_new_json(state.keys.submission(number), submission.model_dump(mode="json"))
            changed = [name for name, value in values.items() if value != before[name]]
            log.info(
                "run %s continues with new values of %s; see %s",
                state.run,
                ", ".join(changed),
                state.keys.submission(number),
            )
        except ObjectConflict:
            log.info("another submission of run %s changed its operational values at the same time", state.run)
        state.forget_submissions()


def check_on_record(state: RunState, spec: RunSpec) -> None:
    """Check that a run can continue with this spec, if it is on record.

    Raises:
        SpecError: The run is on record with another spec; the message names the field.
    """
    if state.store.exists(state.keys.spec) and (change := changed_field(state.record.spec, spec)):
        raise SpecError(
            f"run {spec.run!r} is on record with another spec: {change}; use the values on record, or another run name"
        )


def _hear(context: Context, spec: RunSpec) -> list[Heard]:
    messages, patience = [], context.deadline(AWAY_S)
    for servers in spec.bootstrap_servers:
        try:
            heard = _heard_at(context.brokers.at(servers), patience)
        except BrokerError:
            if not servers:
                raise
            log.warning("the brokers %s of a site do not answer; its clients do not take part", servers, exc_info=True)
            continue
        messages += [Heard(servers, partition, offset, data) for partition, offset, data in heard]
    return messages


def _heard_at(broker: Broker, patience: Deadline) -> list[tuple[int, int, bytes]]:
    return patiently(patience, lambda _: broker.read_announcements(DATA_CONTROL_TOPIC, CONTROL_DEADLINE_S))


def _check(brokers: Brokers, spec: RunSpec, model: ModelDescription, matching: Matching) -> None:
    if spec.target_metric not in {"loss", *model.metrics}:
        raise SpecError(
            f"target_metric: model {spec.model!r} does not report {spec.target_metric!r}; "
            f"it reports {', '.join(['loss', *model.metrics])}"
        )
    if spec.unsupervised:
        _check_unsupervised(spec, model, matching)
    matched = {client.client for client in matching.clients}
    if missing := [client for client in spec.clients if client not in matched]:
        raise RunError(
            "; ".join(f"client {client!r} cannot take part: {reasons(matching, client)}" for client in missing)
        )
    if len(matched) < (needed := max(1, spec.min_clients)):
        raise QuorumError(f"{len(matched)} clients match and the quorum is {needed}. {_why_none(matching.rows)}")
    asked = clients_asked(spec, len(matched))
    if why := too_few(spec, quorum(spec, asked)):
        raise SpecError(
            f"{why}, but a round asks {asked} clients and its quorum is {quorum(spec, asked)}; "
            "raise min_clients, or use other parameters"
        )
    _check_evaluation(spec, matching)
    evaluation = matching.evaluations[0] if matching.evaluations else None
    if shared := shared_records(matching.clients, evaluation, brokers.default_servers):
        raise RunError(
            f"{shared}; a record has one use in a run: name the clients to ask with `clients`, "
            "or announce other records with `fedstream stream send`"
        )


def _check_unsupervised(spec: RunSpec, model: ModelDescription, matching: Matching) -> None:
    if model.class_count is None or len(model.output_shape) != 1:
        raise SpecError(
            f"unsupervised: model {spec.model!r} with loss {model.loss} does not tell the classes of records apart, "
            "so its predictions cannot be labels; train it on labelled records alone"
        )
    if matching.clients and not any(client.unlabelled for client in matching.clients):
        raise RunError(
            "unsupervised: no client that takes part announces records without labels (unsupervised_topic); "
            "send some, or train on labelled records alone"
        )


def _check_evaluation(spec: RunSpec, matching: Matching) -> None:
    if spec.evaluation_topic and not matching.evaluations:
        why = f" ({matching.evaluation_refusals[0]})" if matching.evaluation_refusals else ""
        raise RunError(
            f"evaluation topic {spec.evaluation_topic!r} has no announcement that fits the model{why}; "
            "send its records with `fedstream stream send`"
        )
    if len(matching.evaluations) > 1:
        ways = "; ".join(f"{way.ranges} by {way.client!r}" for way in matching.evaluations[:5])
        raise RunError(
            f"evaluation topic {spec.evaluation_topic!r} is announced in {len(matching.evaluations)} ways, "
            f"and anyone may announce: {ways}. "
            "Say which one counts by its offsets, in evaluation_topic"
        )


def _why_none(rows: list[AnnouncementRow]) -> str:
    refused = [f"{row.client} at offset {row.offset}: {row.reason}" for row in rows if not row.accepted]
    return (
        "Announcements refused: " + "; ".join(refused[-5:])
        if refused
        else f"No announcement is in {DATA_CONTROL_TOPIC}; send a stream with `fedstream stream send`"
    )


def _slots(state: RunState, spec: RunSpec, node_budget: int) -> tuple[int, str]:
    coming = state.next_round(spec.rounds)
    if not coming:
        return (
            1,
            f"run {spec.run} is finished: {state.ledger.commits()[-1].decision.reason}; only publishing remains",
        )
    trained = trained_rounds(state.ledger.commits())
    left = (spec.rounds if spec.indefinite else max(0, spec.rounds - trained)) + spec.federated_evaluation
    asked = clients_asked(spec, len(state.record.clients))
    slots = max(1, min(left, node_budget // (ROUND_NODES + CLIENT_NODES * asked)))
    note = f"round {coming[0]} is next; {left} rounds are left" + (
        " (the last one only measures)" if spec.federated_evaluation else ""
    )
    if slots < left:
        note += (
            f"; this submission runs {slots} of them, because {node_budget} nodes are not enough for more; "
            "submit the same run again to continue it"
        )
    return slots, note
