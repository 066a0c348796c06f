"""Pages in Markdown for the Kubeflow UI."""

from __future__ import annotations

from fedstream.report.text import escape_markdown
from fedstream.run import AnnouncementRow, RunRecord

MAX_ROWS = 500
"""Announcements of a table; spec.json has them all."""

MAX_NAMES = 100
"""Names of features, and of classes, that are listed."""


def plan_page(record: RunRecord, note: str) -> str:
    """Return the page of plan_training: what comes next, who takes part, and what became of each announcement."""
    spec = record.spec
    refused = [row for row in record.announcements if row.related and not row.accepted]
    unrelated = sum(not row.related for row in record.announcements)
    lines = [f"# Run {escape_markdown(spec.run)}", *([escape_markdown(spec.purpose)] if spec.purpose else []), f"{note[0].upper()}{note[1:]}."]
    lines.append(
        f"Model `{escape_markdown(spec.model)}` ({record.model.weights_digest[:12]}), strategy {spec.strategy}, "
        f"{spec.epochs} epochs of batches of {spec.batch_size} a round."
    )
    if refused:
        lines += ["## Refused", _announcements(refused)]
    lines += [
        "## Clients that take part",
        _table(
            ["client", "records", "held out", "slice", "brokers"],
            [[c.client, c.records, f"{c.held_out_rate:.0%}", c.ranges, c.bootstrap_servers or "default"] for c in record.clients],
        ),
    ]
    if record.evaluation:
        lines.append(f"Each global model is measured on {record.evaluation.records} records of `{escape_markdown(record.evaluation.ranges)}`.")
    for what, names in (("Features", record.features), ("Classes", record.classes)):
        if names:
            lines.append(f"{what}: {', '.join(map(escape_markdown, names[:MAX_NAMES]))}.")
    lines += ["## Announcements that were taken", _announcements([row for row in record.announcements if row.related and row.accepted])]
    if unrelated:
        lines.append(f"Announcements that have nothing to do with this run: {unrelated:,}.")
    return "\n\n".join(lines) + "\n"


def _announcements(rows: list[AnnouncementRow]) -> str:
    table = _table(["client", "partition", "offset", "why"], [[row.client, row.partition, row.offset, row.reason] for row in rows[-MAX_ROWS:]])
    return table + (f"\n\n{len(rows) - MAX_ROWS:,} older ones are left out." if len(rows) > MAX_ROWS else "")


def _table(head: list[str], rows: list[list[object]]) -> str:
    body = ["| " + " | ".join(escape_markdown(str(value)) for value in row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body])
