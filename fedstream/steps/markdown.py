"""Pages in Markdown for the Kubeflow UI."""

from __future__ import annotations

from fedstream.run import MatchedClient, RunRecord


def plan_page(record: RunRecord, note: str) -> str:
    """Return the page of plan_training: what comes next, who takes part, and what became of each announcement."""
    spec = record.spec
    lines = [
        f"# Run {_cell(spec.run)}",
        f"{note[0].upper()}{note[1:]}.",
        f"Model `{_cell(spec.model)}` ({record.model.weights_digest[:12]}), strategy {spec.strategy}, "
        f"{spec.epochs} epochs of batches of {spec.batch_size} a round.",
        "## Clients that take part",
        _table(
            ["client", "records", "held out", "columns", "slice", "brokers"],
            [
                [c.client, c.records, f"{c.held_out_rate:.0%}", _columns(record, c), c.ranges, c.bootstrap_servers or "default"]
                for c in record.clients
            ],
        ),
    ]
    for what, names in (("Columns", record.features), ("Classes", record.classes)):
        if names:
            lines.append(f"{what}, in the run's order: {_cell(', '.join(names))}.")
    if record.evaluation:
        lines.append(f"Each global model is measured on {record.evaluation.records} records of `{_cell(record.evaluation.ranges)}`.")
    lines += [
        "## Announcements",
        _table(
            ["client", "partition", "offset", "takes part", "why"],
            [[r.client, r.partition, r.offset, "yes" if r.accepted else "no", r.reason] for r in record.announcements],
        ),
    ]
    return "\n\n".join(lines) + "\n"


def _columns(record: RunRecord, client: MatchedClient) -> str:
    """Say how a client's columns came into the run's order."""
    if not client.features:
        return "not checked: it names none"
    return "as the run's" if client.features == record.features else "reordered by name"


def _table(head: list[str], rows: list[list[object]]) -> str:
    body = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body])


def _cell(value: object) -> str:
    """Escape what would end a table cell, or be read as HTML: names and reasons come from announcements."""
    text = str(value).replace("\n", " ").replace("|", "\\|")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
