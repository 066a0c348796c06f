"""What a private run has spent: the epsilon of the rounds that asked the same client, for a given delta.

The accountant is that of dp-accounting, with Rényi differential privacy (Mironov 2017, arXiv 1702.07476) and the
conversion of Canonne, Kamath and Steinke 2020 (arXiv 2004.00010, proposition 12).

* **Central noise** has the standard deviation z C on a sum that one client moves by at most C. Two sets of records are
  neighbours if one client's are replaced by nothing, so that its change is zero, while the list of clients stays as it
  is ("zero-out": Kairouz et al. 2021, arXiv 2103.00039, definition 1.1).
* **Local noise** has the standard deviation z C on one client's change. It protects any records against any others,
  which can move the change by 2 C, so the multiplier that counts is z / 2.
* **No amplification by sampling.** `client_fraction` samples without replacement, but from the run's public seed, and
  the ledger says who was asked. A sample that is known hides nobody. But a round costs only the clients that it asks,
  so what counts is how often the client was asked that was asked most often.

Rounds that a rollback undid count too, because their models were released.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from fedstream.record.commit import Commit, Decision
from fedstream.record.privacy import Privacy
from fedstream.record.run import RunRecord
from fedstream.record.selection import select

PARTS = 1_000_000
"""An epsilon is rounded up to a multiple of 1 / PARTS, so that it is the same on every processor."""


def epsilon(privacy: Privacy, rounds: int) -> float:
    """Return the epsilon of a client that a number of rounds asked.

    Args:
        privacy: the run's noise and delta.
        rounds: number of rounds, at least 0.
    """
    multiplier = privacy.noise_multiplier / (2 if privacy.local else 1)
    return _epsilon(multiplier, rounds, privacy.delta) if rounds else 0.0


@lru_cache(maxsize=10_000)
def _epsilon(multiplier: float, rounds: int, delta: float) -> float:
    import dp_accounting  # takes 1.5 s, for scipy
    from dp_accounting import rdp

    accountant = rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_SPECIAL)
    accountant.compose(dp_accounting.GaussianDpEvent(multiplier), rounds)
    exact: float = accountant.get_epsilon(delta)
    return math.ceil(exact * PARTS) / PARTS


def spent(privacy: Privacy, commits: Sequence[Commit], asked: Iterable[str] = ()) -> float:
    """Return the epsilon that a run has spent.

    Args:
        privacy: the run's noise and delta.
        commits: all commits of the run so far.
        asked: clients of one more round, which is not committed yet.
    """
    rounds = Counter(entry.client for commit in commits if commit.kind == "training" for entry in commit.clients)
    rounds.update(asked)
    return epsilon(privacy, max(rounds.values(), default=0))


def why_exhausted(record: RunRecord, commits: Sequence[Commit]) -> str:
    """Return why the budget does not allow a private run another round, or an empty string.

    Args:
        record: the run.
        commits: all commits of the run so far.
    """
    privacy = record.spec.privacy
    if not privacy.where:
        return ""
    asked = select(record.spec, len(commits), [client.client for client in record.clients])
    if (after := spent(privacy, commits, asked)) <= privacy.max_epsilon:
        return ""
    return (
        f"privacy budget: epsilon {spent(privacy, commits):.4g} is spent, another round would make it {after:.4g}, "
        f"and max_epsilon is {privacy.max_epsilon:g}"
    )


def within_budget(record: RunRecord, commits: Sequence[Commit], decision: Decision) -> Decision:
    """Return the decision after a run's last commit: to stop if the budget does not allow another round.

    Args:
        record: the run.
        commits: all commits of the run, with the one that gets the decision.
        decision: the decision that follows from the measurements.
    """
    reason = why_exhausted(record, commits) if decision.action == "continue" else ""
    return Decision(action="stop", reason=reason) if reason else decision
