"""What a trace says, in plain words: for the command line, and as a page for a data protection officer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedstream.report.html import MAX_ROWS, templates
from fedstream.text import count, spans

if TYPE_CHECKING:
    from fedstream.audit.heirs import TracedVersion
    from fedstream.audit.trace import Trace
    from fedstream.audit.uses import TracedRun, Use


@dataclass(frozen=True)
class Measure:
    """Something to do about it.

    Attributes:
        title: What it achieves.
        why: What the reader should know before.
        commands: The commands that do it.
    """

    title: str
    why: str
    commands: list[str]


def render_trace(trace: Trace) -> str:
    """Return the page of a trace, as one HTML file."""
    return (
        templates()
        .get_template("trace.html.j2")
        .render(
            trace=trace,
            answer=answer(trace),
            grave=bool(trace.learned),
            measures=measures(trace),
            how=how,
            state=state,
            origin=origin,
            summary=summary,
            max_rows=MAX_ROWS,
        )
    )


def answer(trace: Trace) -> str:
    """Return the answer in a sentence or two."""
    if not trace.runs:
        return "No model has used it." if trace.records == 1 else "No model has used them."
    what = "it" if trace.records == 1 else "them"
    runs = [traced for traced in trace.runs if any(use.trained for use in traced.uses)]
    if trace.learned:
        served = sum(version.served for version in trace.learned)
        verb = "has" if len(trace.learned) == 1 else "have"
        still = f"{served:,} of them {'is' if served == 1 else 'are'} served" if served else "none of them is served"
        if len(trace.learned) == 1:
            still = "it is served" if served else "it is not served"
        return f"{count(len(trace.learned), 'published model')} {verb} learned from {what}; {still}."
    if runs:
        verb = "has" if len(runs) == 1 else "have"
        return f"{count(len(runs), 'run')} {verb} trained on {what}, but no published model builds on that."
    return f"No model has learned from {what}. Models were measured on {what} in {count(len(trace.runs), 'run')}."


def summary(traced: TracedRun) -> str:
    """Return how a run used the records, in a few words."""
    said = []
    for trained, verb in ((True, "trained on"), (False, "held out, so only measured on,")):
        if rounds := traced.rounds(trained=trained):
            said.append(f"{verb} in round{'s' if len(rounds) > 1 else ''} {spans(rounds)}")
    if traced.undone:
        rounds = traced.undone
        undone = f"round{'s' if len(rounds) > 1 else ''} {spans(rounds)}"
        said.append(f"{undone} {'were' if len(rounds) > 1 else 'was'} undone by a rollback")
    if traced.evaluated:
        said.append("in its evaluation topic, on which every model is measured")
    if traced.inherited_from:
        said.append(f"started from {traced.inherited_from}, which has learned from the records")
    return "; ".join(said)


def how(use: Use) -> str:
    """Return what an update did with the records."""
    parts = [(use.trained, "trained on"), (use.held_out, "held out")]
    said = [(f"{number:,} {what}" if use.trained + use.held_out > 1 else what) for number, what in parts if number]
    return ", ".join(said) + ("" if use.counts else "; undone by a rollback")


def state(version: TracedVersion) -> str:
    """Return by what names a version is served; empty if it is not."""
    return ", ".join([*(["newest version"] if version.latest else []), *version.aliases])


def origin(version: TracedVersion) -> str:
    """Return where a version comes from."""
    begun = f", which started from {version.inherited_from}" if version.inherited_from else ""
    return f"round {version.round} of run {version.run}{begun}"


def measures(trace: Trace) -> list[Measure]:
    """Return what to do about the models that have learned from the records, in order; empty if there are none."""
    found = []
    if named := [version for version in trace.learned if version.aliases]:
        found.append(
            Measure(
                "Take the names away from these models",
                "Programs that follow a name go over to the version that it then stands for. "
                "A server that loaded a version by its number keeps it until it is restarted.",
                [command for version in named for command in _moves(version, trace.clean.get(version.model))],
            )
        )
    if trace.learned:
        found.append(
            Measure(
                "Delete the versions that have learned from the records",
                "This cannot be undone. After the newest version, the one before it is the newest. Copies that were "
                "downloaded have to be deleted where they are.",
                [f"fedstream model remove {version.name} --yes" for version in trace.learned],
            )
        )
    trained = [traced for traced in trace.runs if traced.rounds(trained=True)]
    if back := [traced for traced in trained if traced.clean_round is not None]:
        found.append(
            Measure(
                "Go back to the last model without the records",
                "Later rounds stay on record, but the run no longer builds on them. Do not submit the same run again: "
                "its plan names the same records.",
                [f"fedstream rollback {traced.run} --to {traced.clean_round}" for traced in back],
            )
        )
    if trained:
        clients = sorted({use.client for traced in trained for use in traced.uses})
        found.append(
            Measure(
                "Withdraw the records",
                "Each data owner withdraws its announcement, deletes the records from its own topic, and announces the "
                "others again. A run that is planned afterwards does not see them.",
                [f"fedstream stream withdraw --client {client}" for client in clients],
            )
        )
        found.append(
            Measure(
                "Train again without the records",
                "A new run needs a name of its own. Its other options are those that the report of the old run prints.",
                [f"fedstream run --name {traced.run[:57]}-again --model {traced.model}" for traced in trained],
            )
        )
    return found


def _moves(version: TracedVersion, clean: int | None) -> list[str]:
    """Return the commands that take the aliases away from a version; removing it moves the newest version."""
    return [
        f"fedstream model promote {version.model}@{clean} {alias}"
        if clean
        else f"fedstream model demote {version.model}@{alias}"
        for alias in version.aliases
    ]
