"""Run a federated training of virtual clients in this process.

The steps, the strategies and the ledger are those of a real run. The streams are in memory, and the store is in memory
or in a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fedstream.catalog.additions import current
from fedstream.catalog.models import add_model, ensure_model
from fedstream.errors import UsageError
from fedstream.local.inprocess import NO_BUDGET, run_inprocess
from fedstream.local.logs import check_log, logged_to
from fedstream.local.paths import default_state_dir
from fedstream.local.runs import Progress
from fedstream.model.builtin import PREFIX
from fedstream.model.learner import Learners
from fedstream.privacy.secret import FILE_VARIABLE, noise_secret, secret_file
from fedstream.record.names import NAME
from fedstream.record.spec import RunSpec
from fedstream.simulation.attackers import AttackedWorker
from fedstream.simulation.federation import EVALUATION, Federation, Setting, form_federation
from fedstream.simulation.source import Source
from fedstream.steps.context import Context
from fedstream.steps.outcome import outcome
from fedstream.steps.plan import check_on_record, checked_spec
from fedstream.store.store import Store
from fedstream.stream.broker import Broker
from fedstream.stream.memory import MemoryBrokers
from fedstream.stream.send import send_dataset
from fedstream.worker.worker import LocalWorker, Worker

LEARNERS = Learners()
"""The open models of this process, so that a second simulation starts without tracing the model again."""

LEFT_OUT = ("clients", "evaluation_topic", "data_restriction", "slices", "own_topics", "placement", "sites")
"""Fields of RunSpec that a simulation has no use for, or sets itself."""

DEFAULTS: dict[str, Any] = {"run": "simulation", "publish": "never"}
"""Values of RunSpec that differ from a real run's defaults."""


def simulate(
    source: Source,
    setting: Setting,
    values: Mapping[str, Any],
    store: Store,
    log: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """Run a simulation to its end, or continue one that is in the store, and return the outcome.

    Args:
        source: The data set.
        setting: How the records are divided, and who attacks.
        values: Fields of RunSpec, except LEFT_OUT. If `model` is missing, it is the built-in model for the samples. If
            `validation_rate` is missing and there are test records, no client holds out any.
        store: Store of the run.
        log: File for the log of the steps; None for no log.
        progress: Shows the progress of the run.

    Raises:
        UsageError: A value does not fit, or the run is in the store with other values or other clients.
        FedstreamError: The run failed for any reason; it can be started again.
    """
    spec = _spec(source, values)
    store.check()
    federation = form_federation(source, setting, spec.seed)
    model = ensure_model(store, spec.model, spec.threads, spec.placement.gpu_memory_mib or None)
    source = source.shaped(model.input_shape)
    if log:
        check_log(log)
    context = Context(store, MemoryBrokers(), learners=LEARNERS, noise_secret=_own_secret)
    check_on_record(context.run(spec.run), spec)
    _check_same(context, spec.run, _send(context.brokers.at(""), source, federation))
    worker: Callable[[Context], Worker] = LocalWorker
    if federation.attack:
        worker = partial(AttackedWorker, attack=federation.attack, attackers=federation.attackers)
    with progress(store, spec), logged_to(log):
        version = run_inprocess(spec.model_dump(mode="json"), NO_BUDGET, context, worker)
    return outcome(store, spec.run, spec.rounds, version)


def added(store: Store, model: Any) -> str:
    """Return the name of a model in the store, and add it first if it is new there.

    Args:
        store: The store.
        model: Name of a built-in model or of a model in the store, the path of a .keras file, a
            `package.module:function`, or a compiled keras.Model.

    Raises:
        UsageError: There is no such model.
        ModelError: The model cannot be trained here.
    """
    text = isinstance(model, str | Path)
    if text and (str(model).startswith(PREFIX) or (re.fullmatch(NAME, str(model)) and current(store, str(model)))):
        return str(model)
    from fedstream.model.files import save_keras
    from fedstream.model.source import read_model

    data = read_model(str(model)) if text else save_keras(model)
    name = Path(str(model).partition(":")[0]).stem.rpartition(".")[2] if text else model.name
    add_model(store, name, data)
    return name


def _own_secret() -> bytes | None:
    """Return the secret of the environment, or that in the user's state folder, which is made when it is first used."""
    return noise_secret() or noise_secret({FILE_VARIABLE: str(secret_file(default_state_dir()))})


def _spec(source: Source, values: Mapping[str, Any]) -> RunSpec:
    if foreign := [name for name in LEFT_OUT if name in values]:
        raise UsageError(f"{foreign[0]} cannot be set in a simulation, whose clients and records are made here")
    own: dict[str, Any] = {"evaluation_topic": EVALUATION, "validation_rate": 0.0} if source.test else {}
    given = {name: value for name, value in values.items() if value is not None}
    return checked_spec(DEFAULTS | own | ({} if given.get("model") else {"model": source.model}) | given)


def _send(broker: Broker, source: Source, federation: Federation) -> dict[str, str]:
    """Send the records of all clients and return their ranges, by client."""
    named: dict[str, Any] = {"features": source.features, "classes": source.classes}
    sent = {
        owner: send_dataset(broker, owner, owner, source.x[own], source.y[own], **named).topic
        for owner, own in federation.owners.items()
    }
    if source.test:
        sent[EVALUATION] = send_dataset(broker, EVALUATION, EVALUATION, *source.test, **named).topic
    return sent


def _check_same(context: Context, run: str, sent: dict[str, str]) -> None:
    """Check that a run on record has the same clients with the same numbers of records."""
    state = context.run(run)
    if not state.store.exists(state.keys.spec):
        return
    planned = {client.client: client.ranges for client in state.record.clients}
    if state.record.evaluation:
        planned[EVALUATION] = state.record.evaluation.ranges
    for name in sorted(planned.keys() | sent.keys()):
        if planned.get(name) != sent.get(name):
            before, now = (ranges.get(name, "no records") for ranges in (planned, sent))
            raise UsageError(
                f"run {run!r} is on record with another data set, partition or attack: {name} had {before} and now has "
                f"{now}; use the values on record, or another run name"
            )
