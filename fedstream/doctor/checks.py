"""The doctor's checks and findings, and the function that runs them. Each check is one independent function."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from fedstream.errors import FedstreamError, UsageError

State = Literal["ok", "fault", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One line of a doctor's report.

    Attributes:
        check: Name of the check.
        state: `ok` if the subject works, `fault` if it does not, `skipped` if it was not checked.
        text: What was found; for a fault also what to do.
    """

    check: str
    state: State
    text: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


class SkippedError(Exception):
    """A check is unnecessary or impossible; the message says why."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: Name of the check.
        look: Returns what was found, or a list of findings; a FedstreamError is a fault.
        needs: Names of the checks that must pass first.
        parts: Names of the parts of a check that returns several findings; the check is skipped if all of them are.
    """

    name: str
    look: Callable[[], str | list[Finding]]
    needs: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def skipped(self, skip: Sequence[str]) -> bool:
        """Return whether to skip this check, by its name, the first words of its name, or all of its parts."""
        return is_named(self.name, skip) or (bool(self.parts) and all(is_named(part, skip) for part in self.parts))


def is_named(name: str, names: Sequence[str]) -> bool:
    """Return whether a check is in a list of names, in full or by its first words."""
    return any(name == one or name.startswith(f"{one} ") for one in names)


def refuse_unknown(checks: Sequence[Check], skip: Sequence[str]) -> None:
    """Check that each name to skip is the name of a check.

    Raises:
        UsageError: A name is unknown; the message lists the first words of all checks.
    """
    names = [name for check in checks for name in (check.name, *check.parts)]
    if unknown := [one for one in skip if not any(is_named(name, [one]) for name in names)]:
        known = ", ".join(dict.fromkeys(name.split()[0] for name in names))
        raise UsageError(
            f"--skip: there is no check {unknown[0]!r}; pass the first words of a check, which are {known}"
        )


def examine(
    checks: Sequence[Check], until: float, skip: Sequence[str] = (), tell: Callable[[Finding], None] = lambda _: None
) -> list[Finding]:
    """Run the checks in order and return the findings.

    The checks run in this thread, so that they can clean up after Ctrl-C.

    Args:
        checks: Checks to run.
        until: End of the time limit on the monotonic clock, in seconds; a started check keeps its own deadlines.
        skip: Names, or their first words, of checks to skip.
        tell: Called with each finding as soon as it is known.

    Raises:
        UsageError: A name in `skip` is not that of a check.
    """
    refuse_unknown(checks, skip)
    findings: list[Finding] = []
    works: dict[str, bool] = {}
    for check in checks:
        found = _examine(check, works, until, skip)
        works[check.name] = all(finding.state == "ok" for finding in found)
        for finding in found:
            tell(finding)
        findings += found
    return findings


def _examine(check: Check, works: dict[str, bool], until: float, skip: Sequence[str]) -> list[Finding]:
    if check.skipped(skip):
        return [Finding(check.name, "skipped", "as requested")]
    if broken := [name for name in check.needs if not works.get(name)]:
        return [Finding(check.name, "skipped", f"requires these checks to pass first: {', '.join(broken)}")]
    if time.monotonic() >= until:
        return [Finding(check.name, "skipped", "the time limit was reached; increase --deadline")]
    try:
        found = check.look()
    except SkippedError as reason:
        return [Finding(check.name, "skipped", str(reason))]
    except FedstreamError as error:
        return [Finding(check.name, "fault", " ".join(str(error).split()))]
    return found if isinstance(found, list) else [Finding(check.name, "ok", found)]
