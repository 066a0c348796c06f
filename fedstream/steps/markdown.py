"""Markdown pages for the Kubeflow UI."""

from __future__ import annotations

from fedstream.record.run import AnnouncementRow, MatchedClient, RunRecord
from fedstream.text import markdown, markdown_code

MAX_ROWS = 500
"""Maximum number of announcements in a table; spec.json contains all of them."""

MAX_NAMES = 100
"""Maximum number of features, and of classes, that are listed."""


def plan_page(record: RunRecord, note: str) -> str:
    """Return the page of plan_training: what comes next, the clients, and the outcome of each announcement."""
    spec = record.spec
    refused = [row for row in record.announcements if row.related and not row.accepted]
    unrelated = sum(not row.related for row in record.announcements)
    lines = [
        f"# Run {markdown(spec.run)}",
        *([markdown(spec.purpose)] if spec.purpose else []),
        f"{markdown(note[0].upper() + note[1:])}.",
    ]
    lines.append(
        f"Model {markdown_code(spec.model)} ({record.model.weights_digest[:12]}), strategy {spec.strategy}, "
        f"{spec.epochs} epochs of batches of {spec.batch_size} a round."
    )
    if refused:
        lines += ["## Refused", _announcements(refused)]
    lines += [
        "## Clients that take part",
        _table(
            ["client", "records", "held out", "columns", "slice", "brokers"],
            [
                [
                    c.client,
                    c.records,
                    f"{c.held_out_rate:.0%}",
                    _columns(record, c),
                    f"{c.ranges}{f'; without labels {c.unlabelled}' if c.unlabelled else ''}",
                    c.bootstrap_servers or "default",
                ]
                for c in record.clients
            ],
        ),
    ]
    if record.evaluation:
        lines.append(
            f"Each global model is measured on {record.evaluation.records} records of "
            f"{markdown_code(record.evaluation.ranges)}."
        )
    for what, names in (("Columns", record.features), ("Classes", record.classes)):
        if names:
            lines.append(f"{what}, in the run's order: {', '.join(map(markdown, names[:MAX_NAMES]))}.")
    lines += [
        "## Announcements that were taken",
        _announcements([row for row in record.announcements if row.related and row.accepted]),
    ]
    if unrelated:
        lines.append(f"Announcements that have nothing to do with this run: {unrelated:,}.")
    return "\n\n".join(lines) + "\n"


def _columns(record: RunRecord, client: MatchedClient) -> str:
    """Describe how a client's columns relate to the run's order."""
    if not client.features:
        return "not checked: it names none"
    return "as the run's" if client.features == record.features else "reordered by name"


def _announcements(rows: list[AnnouncementRow]) -> str:
    table = _table(
        ["client", "partition", "offset", "why"],
        [[row.client, row.partition, row.offset, row.reason] for row in rows[-MAX_ROWS:]],
    )
    return table + (f"\n\n{len(rows) - MAX_ROWS:,} older ones are left out." if len(rows) > MAX_ROWS else "")


def _table(head: list[str], rows: list[list[object]]) -> str:
    body = ["| " + " | ".join(markdown(str(value)) for value in row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body])
