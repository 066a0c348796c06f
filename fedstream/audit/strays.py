"""Find objects in the folder of a run that do not belong to it.

The notes of the run's submissions, which no commit confirms, are checked too.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fedstream.audit.evidence import Evidence
from fedstream.errors import SpecError
from fedstream.record.commit import Aggregation, Commit
from fedstream.record.documents import Opening, Refusal, Submission
from fedstream.record.layout import RunKeys
from fedstream.record.names import NAME
from fedstream.record.run import RunRecord
from fedstream.record.spec import carried_out
from fedstream.store.store import ObjectInfo

ATTEMPT = r"[A-Za-z0-9_-]{1,128}"

OF_STATISTICS = rf"statistics\.json|statistics/{NAME}\.json|(?:opened|refusals)/.+"
"""Objects of round 0, if it gathers statistics."""

BESIDE: dict[str, Callable[[Commit], object]] = {
    "server_state.safetensors": lambda commit: commit.kind == "training" and commit.server_state_digest,
    "broadcast.safetensors": lambda commit: commit.kind in ("initial", "training") and commit.broadcast_digest,
    "aggregation.json": lambda commit: commit.kind == "training" and commit.aggregation != Aggregation(),
}
"""What an aggregation may make beside the global model, and whether a commit says that it did."""


def check_strays(evidence: Evidence, record: RunRecord, commits: list[Commit], listed: list[ObjectInfo]) -> None:
    """Report each object in a run's folder that cannot belong to the run.

    Args:
        evidence: Collects the problems.
        record: The run's spec.json.
        commits: All readable commits; the round after them can be in progress.
        listed: Objects of the folder, listed before the commits were read; a run in progress can have more by now.
    """
    keys = RunKeys(record.spec.run)
    submissions = _check_submissions(evidence, record)
    for info in listed:
        if info.key == keys.spec or info.key in submissions:
            continue
        found = re.fullmatch(r"([0-9]{4,6})/(.+)", info.key.removeprefix(keys.rounds))
        number = int(found[1]) if found else -1
        if not found or keys.at(number).root != f"{keys.rounds}{found[1]}" or number > len(commits):
            evidence.problem(info.key, "does not belong to a round of the run")
        elif what := _why_stray(evidence, record, commits[number] if number < len(commits) else None, number, found[2]):
            evidence.problem(info.key, what)


def _check_submissions(evidence: Evidence, record: RunRecord) -> list[str]:
    """Check what later submissions changed, which can only be operational values of the run, and return the keys."""
    keys, found = RunKeys(record.spec.run), list[str]()
    while evidence.store.exists(key := keys.submission(len(found) + 1)):
        found.append(key)
        if submission := evidence.document(Submission, key):
            evidence.same(key, "run", submission.run, record.spec.run)
            evidence.same(key, "number", submission.number, len(found))
            try:
                carried_out(record.spec, submission.values)
            except SpecError as error:
                evidence.problem(key, f"does not fit the run: {error}")
    return found


def _why_stray(evidence: Evidence, record: RunRecord, commit: Commit | None, number: int, name: str) -> str:
    """Return why an object cannot belong to its round; empty if it can. `name` is its key below the round's folder."""
    keys = RunKeys(record.spec.run).at(number)
    if name == "commit.json":
        return ""
    # The round that a rollback interrupted left its objects in the rollback's folder.
    kind = commit.kind if commit and commit.kind != "rollback" else "training"
    if name == "global.safetensors":
        return "" if kind != "closing" else "a closing round does not make a model"
    if name in BESIDE:
        under_way = commit is None or commit.kind == "rollback"
        return (
            ""
            if under_way or (commit and BESIDE[name](commit))
            else "is not an object that the commit of the round names"
        )
    if number == 0 and not (record.spec.gathers_statistics and re.fullmatch(OF_STATISTICS, name)):
        return "is not an object of round 0"
    if name == "statistics.json":
        return "" if number == 0 else "is not an object of this round"
    if name in ("selection.json", "verdicts.json"):
        return ""
    if found := re.fullmatch(rf"opened/({ATTEMPT})-([0-9]{{1,9}})\.json", name):
        return _why_bad_opening(evidence, f"{keys.root}/{name}", found[1], int(found[2]), number)
    return _why_bad_client_object(evidence, record, f"{keys.root}/{name}", name)


def _why_bad_opening(evidence: Evidence, key: str, attempt: str, slot: int, number: int) -> str:
    opening = evidence.document(Opening, key)
    said = (opening.attempt, opening.slot, opening.round) if opening else None
    return f"contains {said}, expected {(attempt, slot, number)}" if said and said != (attempt, slot, number) else ""


def _why_bad_client_object(evidence: Evidence, record: RunRecord, key: str, name: str) -> str:
    found = re.fullmatch(
        rf"(?:(?:slices|statistics)/(?P<slice>{NAME})|updates/(?P<manifest>{NAME})|refusals/{ATTEMPT}/(?P<refusal>{NAME}))\.json"
        rf"|(?:updates|client_states)/(?P<arrays>{NAME})-(?P<digest>[0-9a-f]{{64}})\.safetensors",
        name,
    )
    client = (
        next((found[group] for group in ("slice", "manifest", "refusal", "arrays") if found[group]), "")
        if found
        else ""
    )
    if not found or client not in {matched.client for matched in record.clients}:
        return "is not an object of a round, or does not belong to a client of the run"
    if found["refusal"] and (refusal := evidence.document(Refusal, key)) and refusal.client != client:
        return f"is a refusal of {refusal.client!r}"
    if found["digest"] and not evidence.accused(key) and (digest := evidence.digest(key)) != found["digest"]:
        return f"digest is {digest}"
    return ""
