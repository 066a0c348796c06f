"""What a run spent of its privacy budget, and what that does and does not protect, in words."""

from __future__ import annotations

from fedstream.report.view import RunView

COVERED = {
    "central": "It covers the models against whoever sees only these: not the metrics and counts, and not the updates, "
    "which whoever can read the store sees without noise.",
    "local": "It covers the updates, and so the models, against everyone: not the metrics and counts that the clients "
    "report.",
}


def privacy_note(view: RunView) -> str:
    """Return what a private run spent, in plain text; empty for a run without noise."""
    privacy = view.record.spec.privacy
    if not privacy.where:
        return ""
    spent = max((float(item.commit.figures.get("epsilon", 0)) for item in view.rounds), default=0.0)
    return (
        f"The run is differentially private for its clients, with {privacy.where} noise: it spent epsilon {spent:.4g} "
        f"of {privacy.max_epsilon:g} at delta {privacy.delta:g} (noise multiplier {privacy.noise_multiplier:g}). "
        f"{COVERED[privacy.where]}"
    )
