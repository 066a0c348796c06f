"""Values of a form that do not go together, whichever of them was entered first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedstream.record.spec import RunSpec

CONSTANTS = "leave out `statistics` and the step standardise, and scale with constants of your own"


def why_not_together(spec: RunSpec) -> str:
    """Return which values of a run exclude each other, and what to do, or an empty string."""
    return _why_not_data(spec) or _why_not_live(spec) or _why_not_clients(spec)


def _why_not_data(spec: RunSpec) -> str:
    if spec.leave_one_out and not spec.evaluation_topic:
        return "leave_one_out measures models on an evaluation topic; name one in evaluation_topic"
    if spec.privacy.where and spec.gathers_statistics:
        return f"a run with `privacy` gathers no statistics, because its epsilon would not include them; {CONSTANTS}"
    return ""


def _why_not_live(spec: RunSpec) -> str:
    if spec.indefinite and not spec.feed.live:
        return 'indefinite needs new records to go on with; set feed to {"kind": "new"}'
    if spec.feed.live and spec.gathers_statistics:
        return f"a live run gathers no statistics, because its records come later; {CONSTANTS}"
    if spec.feed.live and spec.feed.timeout_s > spec.round_deadline_s:
        return (
            f"feed.timeout_s is {spec.feed.timeout_s:g}, which is more than round_deadline_s, "
            f"{spec.round_deadline_s:g}; raise that, too"
        )
    return ""


def _why_not_clients(spec: RunSpec) -> str:
    if spec.clients and spec.min_clients > len(spec.clients):
        return f"min_clients is {spec.min_clients}, but only {len(spec.clients)} clients are named"
    if strangers := sorted(spec.sites.keys() - set(spec.clients)) if spec.clients else []:
        return f"sites names {strangers[0]!r}, which is not among the clients"
    return ""
