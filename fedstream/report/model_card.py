"""The model card of a published model in Markdown, following Mitchell et al. 2019. It states only what is on record."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fedstream.record.documents import Metrics
from fedstream.record.run import MatchedClient
from fedstream.record.selection import clients_asked, quorum
from fedstream.report.elements import RoundView
from fedstream.report.interval import METHOD, interval
from fedstream.report.markdown import code, table
from fedstream.report.privacy import privacy_note
from fedstream.report.tables import AloneRow, alone_rows, alone_summary, class_rows, client_rows, contributors
from fedstream.report.view import RunView
from fedstream.text import count, markdown, score, spans

MAX_ROWS = 200
"""Maximum number of clients that are listed; the HTML report and the ledger contain all of them."""

MAX_DEVICES = 20
"""Maximum number of kinds of devices that are listed; clients report their own."""

MAX_ABSENT = 20
"""Maximum number of absent clients that are listed with the reason; the HTML report lists more."""

MAX_NAMES = 100
"""Maximum number of names of features, and of classes, that are listed."""


def render_model_card(view: RunView, round: int) -> str:
    """Return the model card of one round's global model.

    Args:
        view: The run.
        round: Round whose model is published.
    """
    item = view.rounds[round]
    sections = [
        _head(view, item),
        _model(view, item),
        _data(view, round),
        _training(view, round),
        _metrics(view, item),
        _limits(view, item),
        _lineage(view, item),
    ]
    return "\n\n".join(line for section in sections for line in section) + "\n"


def _head(view: RunView, item: RoundView) -> list[str]:
    name = view.record.model.name
    front = [
        "---",
        "library_name: keras",
        "tags:",
        "- federated-learning",
        f"- {json.dumps(view.record.spec.strategy)}",
    ]
    if item.metrics:
        front += [
            "model-index:",
            f"- name: {json.dumps(name)}",
            "  results:",
            "  - task:",
            "      type: federated-training",
            "    dataset:",
        ]
        front += [
            f"      name: {json.dumps(_measured_on(view, item.metrics))}",
            f"      type: {json.dumps(view.run)}",
            "    metrics:",
        ]
        front += [
            f"    - type: {json.dumps(metric)}\n      value: {value!r}" for metric, value in item.metrics.values.items()
        ]
    owners = count(len(contributors(view, item.number)), "client")
    said = (
        f"Global model of round {item.number} of the federated run `{view.run}`, "
        f"trained with {view.record.spec.strategy} on the records of {owners}."
    )
    purpose = [markdown(view.record.spec.purpose)] if view.record.spec.purpose else []
    dates = [f"Planned {view.planned:%Y-%m-%d %H:%M} UTC" if view.planned else ""]
    dates += [f"finished {view.ended:%Y-%m-%d %H:%M} UTC" if view.ended else ""]
    when = ", ".join(date for date in dates if date)
    return ["\n".join([*front, "---"]), f"# {markdown(name)}", *purpose, said, *([f"{when}."] if when else [])]


def _model(view: RunView, item: RoundView) -> list[str]:
    rows: list[tuple[str, object]] = []
    if model := view.model:
        variables = f"{count(len(model.variables), 'variable')}, {count(model.parameters, 'value')}"
        rows += [
            ("input", _shape(model.input_shape)),
            ("output", _shape(model.output_shape)),
            *([("outputs, the last of which decides", ", ".join(model.outputs))] if model.outputs else []),
            ("weights", variables),
            ("loss", model.loss),
        ]
    rows += [
        ("initial model", view.record.model.keras_digest),
        ("published weights", item.commit.weights_digest),
        ("fedstream", item.commit.code_version),
    ]
    return ["## Model", table(["what", "value"], rows)]


def _data(view: RunView, round: int) -> list[str]:
    used = contributors(view, round)
    total, rows = sum(used.values()), []
    for row in client_rows(view)[:MAX_ROWS]:
        name, part = row.client.name, used.get(row.client.name, 0)
        numbers = spans(number for number, _ in row.client.trained if number <= round)
        rows.append(
            (
                code(name),
                f"{row.client.matched.records:,}",
                numbers or "none",
                f"{part / total:.1%}" if total else "–",
                code(row.client.matched.ranges),
            )
        )
    lines = [
        "## Data",
        f"{count(len(view.clients), 'client')} announced "
        f"{count(sum(client.matched.records for client in view.clients), 'record')} "
        f"{'before their streams grew' if view.spec.feed.live else 'in total'}. "
        "The records stay in the clients' Kafka: neither the object store nor this model's files contain any.",
        table(
            ["client", "records announced", "updates counted in rounds", "weight", "topic:partition:start:end"], rows
        ),
        f"A client's weight is its share of the {count(total, 'example')} in all accepted updates up to round {round}.",
        *_unlabelled([row.client.matched for row in client_rows(view)[:MAX_ROWS]]),
        *_named("Features", view.record.features),
        *_named("Classes", view.record.classes),
    ]
    return (
        [*lines, f"{len(view.clients) - MAX_ROWS:,} more clients are left out here."]
        if len(view.clients) > MAX_ROWS
        else lines
    )


def _unlabelled(clients: Sequence[MatchedClient]) -> list[str]:
    found = [f"{code(client.client)} {code(client.unlabelled)}" for client in clients if client.unlabelled]
    return [f"Records without labels that the model labelled itself: {'; '.join(found)}."] if found else []


def _named(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return [f"{what}: {', '.join(code(name) for name in names[:MAX_NAMES])}{more}."]


def _training(view: RunView, round: int) -> list[str]:
    spec = view.record.spec
    done = sum(item.commit.kind == "training" and item.counts for item in view.rounds[: round + 1])
    rows: list[tuple[str, object]] = [
        ("strategy", spec.strategy),
        ("rounds behind this model", done),
        ("epochs per round", spec.epochs),
        ("batch size", spec.batch_size),
        ("learning rate", spec.learning_rate or "as compiled into the model"),
        (
            "clients asked per round",
            f"{spec.client_fraction:.0%} of all, at least {quorum(spec, clients_asked(spec, len(view.clients)))}",
        ),
        ("seed", spec.seed),
        ("threads", spec.threads),
        ("precision", "mixed" if spec.mixed_precision else "float32"),
    ]
    manifests = [client.manifest for client in view.clients if client.manifest]
    devices = sorted(
        {f"{manifest.device}{' (no GPU available)' if manifest.cpu_fallback else ''}" for manifest in manifests}
    )
    return ["## Training", table(["what", "value"], [*rows, ("devices", ", ".join(devices[:MAX_DEVICES]) or "–")])]


def _metrics(view: RunView, item: RoundView) -> list[str]:
    if not item.metrics:
        return ["## Metrics", "This model was not evaluated."]
    lines = [
        "## Metrics",
        f"Measured on {_measured_on(view, item.metrics)}. {METHOD}",
        table(
            ["metric", "value", "95 % interval"],
            [
                (name, score(value), interval(name, value, item.metrics.num_examples) or "–")
                for name, value in item.metrics.values.items()
            ],
        ),
    ]
    measured = next((later for later in view.rounds if later.number == item.number + 1), None)
    entries = (
        [entry for entry in measured.accepted if entry.incoming and view.metric in entry.incoming.values]
        if measured
        else []
    )
    if len(entries) > 1:
        ordered = sorted((entry.incoming.values[view.metric], entry.client) for entry in entries if entry.incoming)
        (low, lowest), (high, highest) = ordered[0], ordered[-1]
        ends = f"between {score(low)} ({code(lowest)}) and {score(high)} ({code(highest)})"
        lines.append(f"On the held-out records of each client, {markdown(view.metric)} is {ends}.")
    if rows := class_rows(item.metrics, view.classes):
        cells = [
            (
                row.name,
                f"{row.records:,}",
                *("–" if part is None else score(part) for part in (row.recall, row.precision)),
                row.sure or "–",
            )
            for row in rows
        ]
        lines += [
            "### By class",
            table(["class", "records", "recall", "precision", "95 % interval of the recall"], cells),
        ]
    return [*lines, *_alone(view)]


def _alone(view: RunView) -> list[str]:
    rows = alone_rows(view)[:MAX_ROWS]
    if not rows:
        return []
    said = (
        f"{markdown(view.metric)} on a client's held-out records. Alone: the initial model, "
        "trained on that client's records alone for as many "
        f"epochs as the whole run. Together: the last global model that the client received. {alone_summary(rows)}"
    )
    cells = [
        (
            code(row.client),
            f"{row.held_out:,}",
            *(f"{score(value)}{f' ({sure})' if sure else ''}" for value, sure in _pairs(row)),
        )
        for row in rows
    ]
    return ["### Alone and together", said, table(["client", "held-out records", "alone", "together"], cells)]


def _pairs(row: AloneRow) -> list[tuple[float, str]]:
    return [(row.alone, row.alone_sure), (row.together, row.together_sure)]


def _measured_on(view: RunView, metrics: Metrics) -> str:
    if view.record.evaluation:
        return (
            f"{count(metrics.num_examples, 'record')} of the evaluation topic, "
            f"{markdown(view.record.evaluation.ranges)}"
        )
    return (
        f"{count(metrics.num_examples, 'record')} that the clients held out of their training (federated "
        "evaluation, weighted by records)"
    )


def _limits(view: RunView, item: RoundView) -> list[str]:
    limits = []
    if item.metrics and view.record.spec.federated_evaluation:
        limits.append(
            "It was evaluated on held-out records of the clients that trained it. "
            "Its performance on other records is not known."
        )
    if item.metrics and item.number == view.best:
        models = count(len(view.series(view.metric)), "measured model")
        metric = markdown(view.metric)
        limits.append(
            f"It was chosen as the best of {models} by the {metric} that is given above, "
            "which is therefore somewhat optimistic."
        )
    if idle := [client.name for client in view.clients if client.name not in contributors(view, item.number)]:
        limits.append(f"It contains no update of {_names(idle)}.")
    limits += [f"{markdown(str(absence))}." for absence in view.attendance.absent[:MAX_ABSENT]]
    if (more := len(view.attendance.absent) - MAX_ABSENT) > 0:
        limits.append(f"{count(more, 'more absence')}: see the report.")
    if missed := [row.name for row in class_rows(item.metrics, view.classes) if row.recall == 0]:
        limits.append(f"It never predicts class {', '.join(map(markdown, missed))} correctly.")
    if view.pending:
        limits.append(f"The run is not finished: {view.trained} of {view.asked} training rounds are done.")
    elif view.trained < view.asked:
        limits.append(f"Training ended after {view.trained} of {view.asked} rounds: {markdown(view.decision)}.")
    limits.append(
        markdown(privacy_note(view))
        or "Updates were averaged without added noise, so the run does not provide differential privacy."
    )
    return ["## Limits", "\n".join(f"- {limit}" for limit in limits)]


def _lineage(view: RunView, item: RoundView) -> list[str]:
    rows = [("run", code(view.run)), ("round", item.number), ("commit", item.digest), ("spec.json", view.spec_digest)]
    if view.head:
        rows.append((f"last commit (round {view.head.number})", view.head.digest))
    return [
        "## Lineage",
        table(["what", "value"], rows),
        f"To verify it bit for bit:\n\n```\nfedstream verify {view.run} --stream\n```",
    ]


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(code(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "scalar"
