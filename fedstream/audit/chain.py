"""Read the chain of a run's commits, and find out which of its objects were changed."""

from __future__ import annotations

from itertools import pairwise

from fedstream.audit.evidence import Evidence, Link
from fedstream.record.commit import Commit
from fedstream.record.layout import RunKeys


def read_chain(evidence: Evidence, keys: RunKeys) -> tuple[list[Commit], list[Link]]:
    """Return the readable commits, beginning with round 0, and the chain of the spec and these commits."""
    commits: list[Commit] = []
    chain = [Link(keys.spec, evidence.digest(keys.spec))]
    written = {info.key for info in evidence.store.list(keys.rounds) if info.key.endswith("/commit.json")}
    while (key := keys.at(len(commits)).commit) in written:
        commit = evidence.document(Commit, key)
        if commit is None:
            return commits, chain
        evidence.same(key, "run", commit.run, keys.run)
        evidence.same(key, "round", commit.round, len(commits))
        if commit.round != len(commits):
            return commits, chain
        commits.append(commit)
        chain.append(Link(key, evidence.digest(key), commit.parent))
    if later := sorted(written - {link.key for link in chain}):
        evidence.problem(key, f"is missing, but there is {later[0]}")
    return commits, chain


def check_links(evidence: Evidence, chain: list[Link], claims: dict[str, set[str]], vouched: set[str]) -> None:
    """Report the objects that were changed: of two objects that do not match, the one that no other object confirms.

    Args:
        evidence: Collects the problems.
        chain: The spec and all commits.
        claims: Key of a version's manifest -> digests of the commits in it.
        vouched: Keys of the manifests that latest.json confirms.
    """
    named = set[str]().union(*claims.values())
    known = {digest for link in chain for digest in (link.digest, link.parent)}
    stray = [(key, digest) for key, digests in sorted(claims.items()) for digest in sorted(digests - known)]
    whole = [before.digest == after.parent for before, after in pairwise(chain)]
    for number, (before, after) in enumerate(pairwise(chain)):
        if whole[number]:
            continue
        last = number + 1 == len(whole)
        sound = after.parent in named or (after.digest in named if last else whole[number + 1])
        if sound or (last and not stray):
            evidence.problem(before.key, f"digest is {before.digest}, but {after.key} follows {after.parent}")
        if not sound:
            evidence.problem(after.key, f"parent is {after.parent}, but {before.key} has digest {before.digest}")
    for key, digest in stray:
        if all(whole):
            evidence.problem(chain[-1].key, f"no commit has the digest that {key} refers to ({digest})")
        if key not in vouched:
            evidence.problem(key, f"refers to a commit that does not exist ({digest})")


def check_expected(evidence: Evidence, chain: list[Link], expected: str) -> None:
    """Check that the chain contains a commit whose digest was kept outside the bucket.

    Only such a digest can show that the last rounds were removed.
    """
    if expected not in {link.digest for link in chain[1:]}:
        evidence.problem(
            chain[-1].key,
            f"no commit of the run has the expected digest {expected}: commits were removed or replaced since "
            "it was kept",
        )
